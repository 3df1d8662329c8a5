#!/usr/bin/env bash
# Compares the vendored files of uPlot with its npm package.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
version=$(grep -o 'uplot@[0-9.]*[0-9]' emulator/console/vendor/README.md | head -1)
(cd "$folder" && npm pack --silent "$version" >/dev/null && tar xf uplot-*.tgz)
for file in dist/uPlot.iife.min.js dist/uPlot.min.css LICENSE; do
  cmp "$folder/package/$file" "emulator/console/vendor/$(basename "$file")"
done
echo "ok  $version"
