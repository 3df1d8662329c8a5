#!/usr/bin/env bash
# Fails if the stripped binary is larger than the limits below: Lambda loads all of it at a cold start.
#
#   .ci/size.sh [BINARY]    (target/release/bootstrap)
set -euo pipefail
binary=${1:-target/release/bootstrap}
most=9900000 most_zipped=4600000
bytes=$(stat -c %s "$binary")
zipped=$(python3 - "$binary" <<'PY'
import io, sys, zipfile
out = io.BytesIO()
with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
    archive.write(sys.argv[1], "bootstrap")
print(len(out.getvalue()))
PY
)
echo "$binary: $bytes bytes (limit $most), zipped $zipped bytes (limit $most_zipped)"
[ "$bytes" -le "$most" ] && [ "$zipped" -le "$most_zipped" ]
