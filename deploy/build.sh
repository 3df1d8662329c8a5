#!/usr/bin/env bash
# The zip that Lambda runs: the same bytes from the same commit and tools, wherever it is built.
#
#   deploy/build.sh [arm64|x86_64]…   (arm64)
#
# It leaves in target/deploy, for each architecture, nearedge-ARCH.zip and beside it its SHA-256 (.sha256) and what is in it
# (.cdx.json, a bill of materials as CycloneDX has it). It needs cargo, and Python's pip for zig, which links against the
# glibc of Amazon Linux 2023 from any machine: `pip install cargo-zigbuild`, or else it is put into target/deploy/tools.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
out="$root/target/deploy" tools="$root/target/deploy/tools"
# Amazon Linux 2023 has glibc 2.34 (https://docs.aws.amazon.com/linux/al2023/ug/compare-with-al2.html).
glibc=2.34

die() { printf 'build.sh: %s\n' "$1" >&2; exit "${2:-1}"; }
case "${1:-}" in -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;; esac
[ $# -gt 0 ] || set -- arm64
for arch in "$@"; do
  case $arch in arm64 | x86_64) ;; *) die "Lambda has no $arch: use arm64 or x86_64" 2 ;; esac
done

command -v cargo >/dev/null || die 'cargo is missing: install Rust from https://rustup.rs' 2
mkdir -p "$out"
if ! cargo zigbuild --help >/dev/null 2>&1; then
  command -v python3 >/dev/null || die 'cargo-zigbuild is missing, and python3, to get it: pip install cargo-zigbuild' 2
  [ -x "$tools/bin/cargo-zigbuild" ] || { python3 -m venv "$tools" && "$tools/bin/pip" install --quiet --disable-pip-version-check 'cargo-zigbuild==0.24.*' 'ziglang==0.17.*'; } ||
    die 'cargo-zigbuild cannot be had: pip install cargo-zigbuild' 2
  PATH="$tools/bin:$PATH"
fi
if ! cargo cyclonedx --version >/dev/null 2>&1; then
  [ -x "$tools/cargo/bin/cargo-cyclonedx" ] || cargo install --quiet --locked --root "$tools/cargo" cargo-cyclonedx ||
    die 'cargo-cyclonedx cannot be had: cargo install cargo-cyclonedx' 2
  PATH="$tools/cargo/bin:$PATH"
fi

# Paths of this machine would be in the panic messages: they become the same everywhere.
home=${CARGO_HOME:-$HOME/.cargo} sysroot=$(rustc --print sysroot)
remap="--remap-path-prefix=$root=/nearedge --remap-path-prefix=$home=/cargo --remap-path-prefix=$sysroot=/rust"
SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 315532800)
export SOURCE_DATE_EPOCH

cd "$root"
for arch in "$@"; do
  case $arch in arm64) target=aarch64-unknown-linux-gnu ;; x86_64) target=x86_64-unknown-linux-gnu ;; esac
  # CARGO_UNSTABLE_BUILD_STD: who builds the standard library along needs none that is installed.
  if [ ! -d "$sysroot/lib/rustlib/$target/lib" ] && [ -z "${CARGO_UNSTABLE_BUILD_STD:-}" ]; then
    die "the standard library for $target is not installed: rustup target add $target (or build for this machine: deploy/build.sh x86_64)" 2
  fi
  # -p: what the local cloud needs of the same crates stays out.
  CARGO_ENCODED_RUSTFLAGS=${remap// --remap/$'\x1f'--remap} CFLAGS="-ffile-prefix-map=$root=/nearedge -ffile-prefix-map=$home=/cargo" \
    cargo zigbuild --release --locked -p nearedge --bin bootstrap --target "$target.$glibc" --target-dir "$root/target/zig"
  program="$root/target/zig/$target/release/bootstrap"
  python3 "$here/artifact.py" "$program" "$arch" "$glibc" "$out/nearedge-$arch.zip"

  # It writes one beside each manifest of the workspace; the function's is the one at the top.
  cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$target" --no-build-deps --override-filename bom-of-nearedge
  mv bom-of-nearedge.json "$out/nearedge-$arch.cdx.json"
  find . -name bom-of-nearedge.json -not -path './target/*' -delete
done
printf 'made with %s, %s\n' "$(rustc --version)" "$(cargo-zigbuild --version)"
