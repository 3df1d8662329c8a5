#!/usr/bin/env bash
# Builds the zip for arm64 and runs the walk-through with it under qemu. If Rust's standard library for arm64 is not installed, the
# script builds it from Debian's package of its source; `rustup target add aarch64-unknown-linux-gnu` avoids that.
#
#   apt-get install qemu-user libc6-arm64-cross xz-utils && cargo build --workspace && .ci/arm64.sh
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
cloud=
trap 'if [ -n "$cloud" ]; then kill -TERM -- "-$cloud" 2>/dev/null || true; fi; rm -rf "$work"' EXIT

version=$(rustc --version | cut -d' ' -f2)
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/aarch64-unknown-linux-gnu/lib" ]; then
  source=target/rust-src-$version
  if [ ! -d "$source" ]; then
    # The mirror that this machine uses.
    # shellcheck disable=SC2016 # apt replaces the variable
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -1)
    mirror=${mirror%/}
    curl -sSf "$mirror/dists/trixie-backports/main/binary-arm64/Packages.xz" | xz -dc |
      awk -v RS= -v version="$version" '$0 ~ "^Package: rust-src\n" && $0 ~ "\nVersion: " version "\\+"' >"$work/package"
    file=$(sed -n 's/^Filename: //p' "$work/package") sum=$(sed -n 's/^SHA256: //p' "$work/package")
    [ -n "$file" ] || { echo "FAILED: Debian has no rust-src $version; run rustup target add aarch64-unknown-linux-gnu"; exit 1; }
    curl -sSf -o "$work/rust-src.deb" "$mirror/$file"
    echo "$sum  $work/rust-src.deb" | sha256sum --check --quiet
    mkdir "$work/source"
    dpkg-deb --fsys-tarfile "$work/rust-src.deb" | tar -x -C "$work/source" --strip-components=4 --wildcards './usr/src/*/library/*'
    mkdir -p target && mv "$work/source" "$source"
  fi
  # Cargo builds the standard library on its nightly channel only, and expects the source where rustup installs it.
  export RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_unwind __CARGO_TESTS_ONLY_SRC_ROOT=$PWD/$source/library
fi
deploy/build.sh arm64
unset RUSTC_BOOTSTRAP CARGO_UNSTABLE_BUILD_STD __CARGO_TESTS_ONLY_SRC_ROOT

python3 -m zipfile -e target/deploy/nearedge-arm64.zip "$work"
chmod +x "$work/bootstrap"
printf '#!/bin/sh\nexec qemu-aarch64 -L /usr/aarch64-linux-gnu %s\n' "$work/bootstrap" >"$work/emulated"
chmod +x "$work/emulated"
setsid target/debug/nearedge --bootstrap "$work/emulated" --edge 127.0.0.1:14000 --gateway 127.0.0.1:14001 --s3 127.0.0.1:14002 --console 127.0.0.1:14003 >"$work/log" 2>&1 &
cloud=$!
for _ in $(seq 150); do
  grep -q 'nearedge is ready' "$work/log" && break
  sleep 0.2
done
LAMBDA_AUTH=lambdaapi_test SITE=emulator/site deploy/smoke.sh http://127.0.0.1:14000 http://127.0.0.1:14001 || { cat "$work/log"; exit 1; }
