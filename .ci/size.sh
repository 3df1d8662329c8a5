#!/usr/bin/env bash
# Fails if the built function is larger than the limits below: Lambda loads all of it at a cold start.
#
#   .ci/size.sh ZIP    from deploy/build.sh
set -euo pipefail
zip=$1
most=9900000 most_zipped=4450000
bytes=$(python3 -c 'import sys, zipfile; print(zipfile.ZipFile(sys.argv[1]).getinfo("bootstrap").file_size)' "$zip")
zipped=$(stat -c %s "$zip")
echo "$zip: $bytes bytes (limit $most), zipped $zipped bytes (limit $most_zipped)"
[ "$bytes" -le "$most" ] && [ "$zipped" -le "$most_zipped" ]
