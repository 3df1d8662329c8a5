#!/usr/bin/env bash
# Checks the lock files with cargo-deny and deny.toml: licences, sources, banned crates, and the known-bad versions pinned there.
#
#   .ci/supply.sh                 needs only the registry
#   .ci/supply.sh --advisories    checks the RustSec database too, which it downloads from GitHub
set -euo pipefail
cd "$(dirname "$0")/.."

checks=(licenses bans sources)
[ "${1:-}" != --advisories ] || checks+=(advisories)
# An unoptimised build takes half the time and is fast enough.
command -v cargo-deny >/dev/null || cargo install --locked --quiet --debug cargo-deny@0.20.2
for manifest in Cargo.toml benches/compare/Cargo.toml; do
  cargo deny --locked --manifest-path "$manifest" --config deny.toml check --hide-inclusion-graph "${checks[@]}"
done
