#!/usr/bin/env bash
# Builds the zip that Lambda runs. The build is reproducible: the same commit and tools give the same bytes on any machine.
#
#   deploy/build.sh [arm64|x86_64]…   (arm64)
#
# For each architecture it writes to target/deploy: nearedge-ARCH.zip, its SHA-256 (.sha256) and its bill of materials
# (.cdx.json, CycloneDX). It needs cargo, and cargo-zigbuild, which links against the glibc of Amazon Linux 2023 on any
# machine: `pip install cargo-zigbuild`. If cargo-zigbuild is missing, the script installs it into target/deploy/tools.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=cli.sh
. "$(dirname "$0")/cli.sh"

root=$(dirname "$here")
out="$root/target/deploy" tools="$root/target/deploy/tools"
# glibc of Amazon Linux 2023 (https://docs.aws.amazon.com/linux/al2023/ug/compare-with-al2.html).
glibc=2.34

case "${1:-}" in -h | --help) usage; exit 0 ;; esac
[ $# -gt 0 ] || set -- arm64
for arch in "$@"; do
  case $arch in arm64 | x86_64) ;; *) die "unknown architecture $arch: use arm64 or x86_64" 2 ;; esac
done

command -v cargo >/dev/null || die 'cargo is missing: install Rust from https://rustup.rs' 2
mkdir -p "$out"
if ! cargo zigbuild --help >/dev/null 2>&1; then
  command -v python3 >/dev/null || die 'cargo-zigbuild and python3, which would install it, are missing: pip install cargo-zigbuild' 2
  [ -x "$tools/bin/cargo-zigbuild" ] || { python3 -m venv "$tools" && "$tools/bin/pip" install --quiet --disable-pip-version-check 'cargo-zigbuild==0.24.*' 'ziglang==0.17.*'; } ||
    die 'cannot install cargo-zigbuild: run pip install cargo-zigbuild' 2
  PATH="$tools/bin:$PATH"
fi
if ! cargo cyclonedx --version >/dev/null 2>&1; then
  [ -x "$tools/cargo/bin/cargo-cyclonedx" ] || cargo install --quiet --locked --root "$tools/cargo" cargo-cyclonedx ||
    die 'cannot install cargo-cyclonedx: run cargo install cargo-cyclonedx' 2
  PATH="$tools/cargo/bin:$PATH"
fi

# Panic messages contain source paths: map those of this machine to fixed ones.
home=${CARGO_HOME:-$HOME/.cargo} sysroot=$(rustc --print sysroot)
remap="--remap-path-prefix=$root=/nearedge --remap-path-prefix=$home=/cargo --remap-path-prefix=$sysroot=/rust"
SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 315532800)
export SOURCE_DATE_EPOCH

cd "$root"
for arch in "$@"; do
  case $arch in arm64) target=aarch64-unknown-linux-gnu ;; x86_64) target=x86_64-unknown-linux-gnu ;; esac
  # With CARGO_UNSTABLE_BUILD_STD cargo builds the standard library itself.
  if [ ! -d "$sysroot/lib/rustlib/$target/lib" ] && [ -z "${CARGO_UNSTABLE_BUILD_STD:-}" ]; then
    die "no standard library for $target: run rustup target add $target, or build for this machine with deploy/build.sh x86_64" 2
  fi
  # -p keeps out the features that the local cloud enables in shared dependencies.
  CARGO_ENCODED_RUSTFLAGS=${remap// --remap/$'\x1f'--remap} CFLAGS="-ffile-prefix-map=$root=/nearedge -ffile-prefix-map=$home=/cargo" \
    cargo zigbuild --release --locked -p nearedge --bin bootstrap --target "$target.$glibc" --target-dir "$root/target/zig"
  binary="$root/target/zig/$target/release/bootstrap"
  python3 "$here/artifact.py" "$binary" "$arch" "$glibc" "$out/nearedge-$arch.zip"

  # cargo-cyclonedx writes a file beside each manifest of the workspace; the one at the root describes the function.
  cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$target" --no-build-deps --override-filename bom-of-nearedge
  mv bom-of-nearedge.json "$out/nearedge-$arch.cdx.json"
  find . -name bom-of-nearedge.json -not -path './target/*' -delete
done
printf 'built with %s, %s\n' "$(rustc --version)" "$(cargo-zigbuild --version)"
