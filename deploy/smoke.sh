#!/usr/bin/env bash
# The walk-through's seven commands and the origin's main rules, against a running distribution or the local cloud.
#
#   deploy/smoke.sh BASE_URL [API_URL]
#
#   BASE_URL     the distribution, such as https://dxxxx.cloudfront.net, or http://127.0.0.1:3000
#   API_URL      the API behind it; with it the first five commands are run too
#   LAMBDA_AUTH  the secret, for the API (environment)
#   VARIANT_A, VARIANT_B   two variants to compare (v1, v2)
#   PAGE, PICTURE          objects that both have (test.html, test.png)
#   KNOWN        the beginning of checks whose failure is known and is not the origin's: they are skipped
#   SITE         a folder that is what the bucket holds: objects are then compared with its files
#
# It reads and never writes, makes some sixty requests, and exits 0 when every check holds, 1 when one does not,
# 2 when it cannot begin.
set -uo pipefail

case "${1:-}" in
'' | -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 2 ;;
esac
cdn=${1%/} api=${2:-}
api=${api%/}
secret=${LAMBDA_AUTH:-}
a=${VARIANT_A:-v1} b=${VARIANT_B:-v2} page=${PAGE:-test.html} picture=${PICTURE:-test.png} site=${SITE:-}
command -v curl >/dev/null || { echo 'smoke: curl is missing: install it' >&2; exit 2; }
if [ -n "$api" ] && [ -z "$secret" ]; then
  echo 'smoke: API_URL is given, so the secret is needed: LAMBDA_AUTH=… deploy/smoke.sh BASE_URL API_URL' >&2
  exit 2
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The secret goes to curl in a file: a command line can be read by others.
(
  umask 077
  printf '%s\n' "$secret" >"$work/plain"
  sed -e 's/[\\"]/\\&/g' -e 's/.*/header = "lambda_auth: &"/' "$work/plain" >"$work/secret"
)
passed=0 failed=0 skipped=0

ok() { passed=$((passed + 1)); printf 'ok      %s\n' "$1"; }
bad() {
  if [ -n "${KNOWN:-}" ] && [[ $1 == "$KNOWN"* ]]; then
    skip "$1" "known: $2"
  else
    failed=$((failed + 1))
    printf 'FAILED  %s\n        %s\n' "$1" "$2"
  fi
}
skip() { skipped=$((skipped + 1)); printf 'skipped %s\n        %s\n' "$1" "$2"; }

# ask URL [curl's options]: the answer in $status, $work/head and $work/body. No answer is the status 000.
ask() {
  local url=$1
  shift
  : >"$work/head"
  : >"$work/body"
  status=$(curl -sS --max-time 15 -D "$work/head" -o "$work/body" -w '%{http_code}' "$@" "$url" 2>"$work/error") || true
  cat "$work/head" "$work/body" >>"$work/everything"
}
header() { tr -d '\r' <"$work/head" | awk -v name="$1" 'tolower($0) ~ "^" name ":" { sub(/^[^:]*: */, ""); print; exit }'; }
said() { printf '%s %s %s' "$status" "$(head -c 120 "$work/body" | tr -d '\0' | tr '\n' ' ')" "$(head -1 "$work/error")"; }

# expect NAME STATUS [BODY]: the status, and the body to the byte where one is given.
expect() {
  if [ "$status" != "$2" ]; then
    bad "$1" "status $2 expected, got: $(said)"
  elif [ $# -gt 2 ] && [ "$(head -c 300 "$work/body")" != "$3" ]; then
    bad "$1" "'$3' expected, got: $(said)"
  else
    ok "$1"
  fi
}
# holds NAME FILE: status 200 and the bytes of FILE.
holds() {
  if [ "$status" = 200 ] && [ -s "$work/body" ] && cmp -s "$work/body" "$2"; then ok "$1"; else bad "$1" "other bytes: $(said)"; fi
}
# carries NAME HEADER PATTERN: an extended regular expression, for the whole value.
carries() {
  if header "$2" | grep -qxE -- "$3"; then ok "$1"; else bad "$1" "$2 is '$(header "$2")', not $3"; fi
}

printf 'smoke: %s%s, variants %s and %s\n' "$cdn" "${api:+ and $api}" "$a" "$b"
ask "$cdn/"
if [ "$status" = 000 ]; then
  echo "smoke: $cdn does not answer: $(head -1 "$work/error")" >&2
  exit 2
fi

# What the bucket holds: the files, or else what the second origin serves.
for variant in "$a" "$b"; do
  for object in "$page" "$picture"; do
    held="$work/$variant-$(basename "$object")"
    if [ -n "$site" ]; then
      cp "$site/$variant/$object" "$held" || exit 2
    else
      ask "$cdn/$variant/$object"
      cp "$work/body" "$held"
      expect "straight from the bucket: /$variant/$object" 200
    fi
  done
done
page_a="$work/$a-$(basename "$page")" page_b="$work/$b-$(basename "$page")" picture_b="$work/$b-$(basename "$picture")"
if cmp -s "$page_a" "$page_b"; then
  bad 'the variants differ' "/$a/$page and /$b/$page are the same bytes: name a PAGE that differs"
fi

echo '-- the seven commands'
if [ -n "$api" ]; then
  ask "$api/"
  expect '1  no secret: 403' 403 'request is forbidden'
  ask "$api/" -K "$work/secret"
  if [ -n "$site" ]; then holds '2  the secret: 200, index.html' "$site/index.html"; else expect '2  the secret: 200' 200; fi
  cp "$work/body" "$work/index"
  ask "$api/$page" -K "$work/secret" -H "test_version:$b"
  holds "3  $b: its page" "$page_b"
  ask "$api/$picture" -K "$work/secret" -H "test_version:$b"
  holds "4  $b: its picture, byte for byte" "$picture_b"
  ask "$api/$page" -K "$work/secret" -H "test_version:$a" -H redirect:true
  expect '5  redirect: 302' 302
  carries '5  redirect: its Location' location "https?://.*/$a/$page"
else
  skip '1-5 the API' 'give API_URL and LAMBDA_AUTH'
fi
ask "$cdn/"
if [ -s "$work/index" ]; then holds 'the same index.html through the CDN' "$work/index"; else expect 'index.html through the CDN: 200' 200; fi
ask "$cdn/smoke-no-such-folder/" -H "test_version:$a"
expect 'a folder stands for its index.html' 404 "no file: $a/smoke-no-such-folder/index.html"
ask "$cdn/smoke-no-such-object" -H 'test_version:smoke-no-such-version'
expect 'a version that is not there: 404' 404 'no file: smoke-no-such-version/smoke-no-such-object'
ask "$cdn/$page" -H "test_version:$a"
holds "6  $a through the CDN: its page" "$page_a"
ask "$cdn/$page" -H "test_version:$a" -H redirect:true -I
expect '7  redirect through the CDN: 302' 302

echo '-- variants'
location=$(header location)
carries 'a Location is not kept' cache-control '.*no-store.*'
if [ -n "$location" ]; then
  ask "$location"
  holds 'the redirect leads to the object' "$page_a"
  ask "$cdn/$page" -H "test_version:$a" -H redirect:true -L --max-redirs 3
  holds 'a client that sends its headers again is not led in a circle' "$page_a"
fi
ask "$cdn/$page" -H "test_version:$b" -H redirect:false
holds 'redirect: false is no redirect' "$page_b"
mixed=0
for turn in 1 2 3 4 5 6 7 8; do
  ask "$cdn/$page" -H "test_version:$a"
  cmp -s "$work/body" "$page_a" || mixed=$((mixed + 1))
  ask "$cdn/$page" -H "test_version:$b"
  cmp -s "$work/body" "$page_b" || mixed=$((mixed + 1))
done
if [ $mixed = 0 ]; then ok 'sixteen in turn: nobody gets the other variant'; else bad "$turn pairs in turn" "$mixed of 16 answers were another variant's or none"; fi
carries 'Vary names what chooses the answer' vary '.*test_version.*'
ask "$cdn/$page" -H 'test_version:../x'
expect 'a version that is none: 400' 400
ask "$cdn/smoke-no-such-object" -H "test_version:$a"
expect 'a missing object: 404' 404 "no file: $a/smoke-no-such-object"
carries 'a missing object is not kept' cache-control '.*no-store.*'

echo '-- HTTP'
ask "$cdn/$page" -H "test_version:$a"
etag=$(header etag) bytes=$(wc -c <"$page_a" | tr -d ' ')
ask "$cdn/$page" -H "test_version:$a" -H "If-None-Match: $etag"
expect 'If-None-Match: 304' 304 ''
ask "$cdn/$page" -H "test_version:$a" -H 'If-None-Match: "another"'
holds 'another ETag: the object' "$page_a"
ask "$cdn/$page" -H "test_version:$a" -H 'If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT'
expect 'If-Modified-Since: 304' 304 ''
ask "$cdn/$page" -H "test_version:$a" -r 10-19
expect 'a range: 206, ten bytes of it' 206 "$(tail -c +11 "$page_a" | head -c 10)"
carries 'a range: Content-Range' content-range "bytes 10-19/$bytes"
ask "$cdn/$page" -H "test_version:$a" -r "$bytes-"
expect 'a range past the end: 416' 416
ask "$cdn/$page" -H "test_version:$a" -I
if [ "$status" = 200 ] && [ "$(header etag)" = "$etag" ]; then ok 'HEAD: 200, the same ETag'; else bad 'HEAD: 200, the same ETag' "$(said)"; fi
ask "$cdn/$page" -H "test_version:$a" -X DELETE
case $status in
403 | 405) ok "DELETE: $status" ;;
*) bad 'DELETE is refused' "403 of the CDN's or 405 expected, got: $(said)" ;;
esac

echo '-- the secret'
ask "$cdn/$page" -H "test_version:$a" -H 'lambda_auth: guessed'
holds "the CDN's own header replaces a viewer's" "$page_a"
if [ -n "$api" ]; then
  ask "$api/$page" -K "$work/secret" -X DELETE
  expect 'DELETE at the API: 405' 405
  carries 'and the methods that there are' allow '.*GET.*'
  ask "$api/$page" -H 'lambda_auth: guessed'
  expect 'a guess at the API: 403' 403 'request is forbidden'
  ask "$api/$page" -K "$work/secret" -H 'lambda_auth: guessed'
  expect 'the secret and a guess: 403' 403 'request is forbidden'
fi
if [ -z "$secret" ]; then
  skip 'no answer holds the secret' 'give LAMBDA_AUTH'
elif grep -qaF -f "$work/plain" "$work/everything"; then
  bad 'no answer holds the secret' 'one did'
else
  ok 'no answer holds the secret'
fi

printf 'smoke: %d passed, %d failed, %d skipped in %d s\n' $passed $failed $skipped $SECONDS
[ $failed = 0 ]
