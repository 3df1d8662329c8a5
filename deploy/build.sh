#!/usr/bin/env bash
# Builds the zip that Lambda runs. The build is reproducible: the same commit and tools give the same bytes on any machine.
#
#   deploy/build.sh [arm64|x86_64]…   (arm64)
#
# For each architecture it writes to target/deploy: nearedge-ARCH.zip, its SHA-256 (.sha256) and its bill of materials
# (.cdx.json, CycloneDX). It first checks its prerequisites and names all that are missing: cargo, a C compiler for the build
# scripts of dependencies, python3, and Rust's standard library for the target. Three more tools are installed into
# target/deploy/tools unless they are on the PATH: cargo-zigbuild with zig, which links against the glibc of Amazon Linux 2023
# on any machine, zopfli, whose zip is 3 % smaller than zlib's, and cargo-cyclonedx.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=cli.sh
. "$(dirname "$0")/cli.sh"

root=$(dirname "$here")
out="$root/target/deploy" tools="$root/target/deploy/tools" python="$root/target/deploy/tools/python"
# glibc of Amazon Linux 2023 (https://docs.aws.amazon.com/linux/al2023/ug/compare-with-al2.html).
glibc=2.34

case "${1:-}" in -h | --help) usage; exit 0 ;; esac
[ $# -gt 0 ] || set -- arm64
for arch in "$@"; do
  case $arch in arm64 | x86_64) ;; *) die "unknown architecture $arch: use arm64 or x86_64" 2 ;; esac
done

# Everything that can fail without a build is checked before the first download.
missing=()
need() { missing+=("$1"); }
target_of() { case $1 in arm64) echo aarch64-unknown-linux-gnu ;; x86_64) echo x86_64-unknown-linux-gnu ;; esac; }
# older FOUND NEEDED: whether a version, such as 1.94.1, is older.
older() {
  awk -v found="$1" -v needed="$2" 'BEGIN {
    split(found, f, "."); split(needed, n, ".")
    for (i = 1; i <= 3; i++) if (f[i] + 0 != n[i] + 0) exit f[i] + 0 > n[i] + 0
    exit 1
  }'
}
sysroot='' rust=$(sed -n 's/^rust-version *= *"\(.*\)"$/\1/p' "$root/Cargo.toml" | head -1)
if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
  need 'Rust: install it from https://rustup.rs'
elif ! sysroot=$(rustc --print sysroot 2>/dev/null); then
  need 'a Rust toolchain: run rustup default stable'
elif older "$(rustc --version | cut -d' ' -f2 | cut -d- -f1)" "$rust"; then
  need "Rust $rust or newer, found $(rustc --version): run rustup update stable"
fi
if [ -n "$sysroot" ]; then
  for arch in "$@"; do
    target=$(target_of "$arch")
    # With CARGO_UNSTABLE_BUILD_STD cargo builds the standard library itself.
    if [ ! -d "$sysroot/lib/rustlib/$target/lib" ] && [ -z "${CARGO_UNSTABLE_BUILD_STD:-}" ]; then
      other=''
      [ ! -d "$sysroot/lib/rustlib/$(target_of x86_64)/lib" ] || other='; or build for x86_64: deploy/build.sh x86_64'
      need "Rust's standard library for $target: run rustup target add $target (without rustup, see deploy/README.md)$other"
    fi
  done
fi
# rustc links build scripts with `cc`, unless the configuration of cargo names another linker.
command -v cc >/dev/null || { [ -n "${CC:-}" ] && command -v "${CC%% *}" >/dev/null; } ||
  need 'a C compiler (cc): install gcc or clang (Debian: apt-get install gcc libc6-dev; Amazon Linux: dnf install gcc; macOS: xcode-select --install)'
PATH="$PATH:$tools/cargo/bin" packages=()
if ! command -v python3 >/dev/null; then
  need 'python3: install Python 3.9 or newer'
else
  has_zig() { [ -n "${CARGO_ZIGBUILD_ZIG_PATH:-}" ] || command -v zig >/dev/null || python3 -m ziglang version >/dev/null 2>&1; }
  # Another package has a module of the same name, without ZipFile.
  has_tools() { command -v cargo-zigbuild >/dev/null && has_zig && python3 -c 'from zopfli import ZipFile' 2>/dev/null; }
  if ! has_tools; then
    # All of them in one environment: its python3 hides the packages of another.
    PATH="$python/bin:$PATH"
    has_tools || packages=('cargo-zigbuild==0.24.*' 'ziglang==0.17.*' 'zopflipy==1.*')
  fi
  [ ${#packages[@]} -eq 0 ] || python3 -c 'import ensurepip, venv' 2>/dev/null ||
    need "Python's modules venv and pip (Debian: apt-get install python3-venv), or run: pip install cargo-zigbuild ziglang zopflipy"
fi
if [ ${#missing[@]} -gt 0 ]; then
  for each in "${missing[@]}"; do note "missing: $each"; done
  die 'nothing was built: install what is missing and run this again' 2
fi

mkdir -p "$out"
if [ ${#packages[@]} -gt 0 ]; then
  note "installing ${packages[*]} into target/deploy/tools, once"
  # Anew, whatever an interrupted installation has left.
  rm -rf "$python"
  hash -r
  if ! { python3 -m venv "$python" && "$python/bin/pip" install --disable-pip-version-check "${packages[@]}"; }; then
    rm -rf "$python"
    die 'cannot install tools, see the error above: run pip install cargo-zigbuild ziglang zopflipy' 2
  fi
  hash -r
fi
if ! cargo cyclonedx --version >/dev/null 2>&1; then
  note 'compiling cargo-cyclonedx into target/deploy/tools, once; it takes one to two minutes'
  cargo install --locked --root "$tools/cargo" cargo-cyclonedx ||
    die 'cannot install cargo-cyclonedx, see the error above: run cargo install cargo-cyclonedx' 2
fi

# Panic messages contain source paths: map those of this machine to fixed ones.
home=${CARGO_HOME:-$HOME/.cargo}
remap="--remap-path-prefix=$root=/nearedge --remap-path-prefix=$home=/cargo --remap-path-prefix=$sysroot=/rust"
SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 315532800)
export SOURCE_DATE_EPOCH

cd "$root"
for arch in "$@"; do
  target=$(target_of "$arch")
  note "building for $arch ($target); a first build takes minutes"
  # -p keeps out the features that the local cloud enables in shared dependencies.
  CARGO_ENCODED_RUSTFLAGS=${remap// --remap/$'\x1f'--remap} CFLAGS="-ffile-prefix-map=$root=/nearedge -ffile-prefix-map=$home=/cargo" \
    cargo zigbuild --release --locked -p nearedge --bin bootstrap --target "$target.$glibc" --target-dir "$root/target/zig"
  binary="$root/target/zig/$target/release/bootstrap"
  python3 "$here/artifact.py" "$binary" "$arch" "$glibc" "$out/nearedge-$arch.zip"

  note "writing the bill of materials nearedge-$arch.cdx.json"
  # cargo-cyclonedx writes a file beside each manifest of the workspace; the one at the root describes the function.
  cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$target" --no-build-deps --override-filename bom-of-nearedge
  mv bom-of-nearedge.json "$out/nearedge-$arch.cdx.json"
  find . -name bom-of-nearedge.json -not -path './target/*' -delete
done
printf 'built with %s, %s\n' "$(rustc --version)" "$(cargo-zigbuild --version)"
