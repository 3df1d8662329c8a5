#!/usr/bin/env bash
# Checks the walk-through's seven commands and the origin's main rules against a distribution or the local cloud.
#
#   deploy/smoke.sh BASE_URL [API_URL]
#
#   BASE_URL               the distribution, such as https://dxxxx.cloudfront.net or http://127.0.0.1:3000
#   API_URL                the API behind it; needed for the first five commands
#
# Environment:
#   LAMBDA_AUTH            the secret, required with API_URL
#   VARIANT_A, VARIANT_B   two variants to compare (v1, v2)
#   PAGE, PICTURE          objects that both variants have (test.html, test.png)
#   SITE                   folder with the bucket's content, to compare objects with its files
#   KNOWN                  checks whose names begin with this are skipped if they fail: known defects of the environment
#
# It makes about sixty requests and changes nothing. Exit status: 0 all checks passed, 1 a check failed, 2 it could not start.
set -uo pipefail

# shellcheck source-path=SCRIPTDIR source=cli.sh
. "$(dirname "$0")/cli.sh"

case "${1:-}" in
'' | -h | --help) usage; exit 2 ;;
esac
cdn=${1%/} api=${2:-}
api=${api%/}
secret=${LAMBDA_AUTH:-}
a=${VARIANT_A:-v1} b=${VARIANT_B:-v2} page=${PAGE:-test.html} picture=${PICTURE:-test.png} site=${SITE:-}
command -v curl >/dev/null || die 'curl is missing: install it' 2
[ -z "$api" ] || [ -n "$secret" ] || die 'API_URL needs the secret: LAMBDA_AUTH=… deploy/smoke.sh BASE_URL API_URL' 2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(
  umask 077
  printf '%s\n' "$secret" >"$work/plain"
  secret_header <"$work/plain" >"$work/secret"
)
passed=0 failed=0 skipped=0

pass() { passed=$((passed + 1)); printf 'ok      %s\n' "$1"; }
fail() { # NAME REASON
  if [ -n "${KNOWN:-}" ] && [[ $1 == "$KNOWN"* ]]; then
    skip "$1" "known: $2"
  else
    failed=$((failed + 1))
    printf 'FAILED  %s\n        %s\n' "$1" "$2"
  fi
}
skip() { skipped=$((skipped + 1)); printf 'skipped %s\n        %s\n' "$1" "$2"; }

# request URL [CURL-OPTION…]: stores the response in $status, $work/head and $work/body. Without a response, status is 000.
request() {
  local url=$1
  shift
  : >"$work/head"
  : >"$work/body"
  status=$(curl -sS --max-time 15 -D "$work/head" -o "$work/body" -w '%{http_code}' "$@" "$url" 2>"$work/error") || true
  cat "$work/head" "$work/body" >>"$work/everything"
}
header() { tr -d '\r' <"$work/head" | awk -v name="$1" 'tolower($0) ~ "^" name ":" { sub(/^[^:]*: */, ""); print; exit }'; }
response() { printf '%s %s %s' "$status" "$(head -c 120 "$work/body" | tr -d '\0' | tr '\n' ' ')" "$(head -1 "$work/error")"; }

# expect NAME STATUS [BODY]: checks the status and, if given, the exact body.
expect() {
  if [ "$status" != "$2" ]; then
    fail "$1" "expected status $2, got: $(response)"
  elif [ $# -gt 2 ] && [ "$(head -c 300 "$work/body")" != "$3" ]; then
    fail "$1" "expected '$3', got: $(response)"
  else
    pass "$1"
  fi
}
# expect_file NAME FILE: checks for status 200 and the bytes of FILE.
expect_file() {
  if [ "$status" = 200 ] && [ -s "$work/body" ] && cmp -s "$work/body" "$2"; then pass "$1"; else fail "$1" "expected 200 and the bytes of the object, got: $(response)"; fi
}
# expect_header NAME HEADER PATTERN: an extended regular expression that matches the whole value.
expect_header() {
  if header "$2" | grep -qxE -- "$3"; then pass "$1"; else fail "$1" "expected $2 to match $3, got '$(header "$2")'"; fi
}

printf 'smoke: %s%s, variants %s and %s\n' "$cdn" "${api:+ and $api}" "$a" "$b"
request "$cdn/"
[ "$status" != 000 ] || die "no response from $cdn: $(head -1 "$work/error")" 2

# The expected objects: the files of SITE or, without it, what the second origin serves.
for variant in "$a" "$b"; do
  for object in "$page" "$picture"; do
    expected="$work/$variant-$(basename "$object")"
    if [ -n "$site" ]; then
      cp "$site/$variant/$object" "$expected" || exit 2
    else
      request "$cdn/$variant/$object"
      cp "$work/body" "$expected"
      expect "the second origin serves /$variant/$object" 200
    fi
  done
done
page_a="$work/$a-$(basename "$page")" page_b="$work/$b-$(basename "$page")" picture_b="$work/$b-$(basename "$picture")"
if cmp -s "$page_a" "$page_b"; then
  fail 'the variants differ' "/$a/$page and /$b/$page are identical: set PAGE to an object that differs"
fi

echo '-- the seven commands'
if [ -n "$api" ]; then
  request "$api/"
  expect '1  no secret: 403' 403 'request is forbidden'
  request "$api/" -K "$work/secret"
  if [ -n "$site" ]; then expect_file '2  secret: 200, index.html' "$site/index.html"; else expect '2  secret: 200' 200; fi
  cp "$work/body" "$work/index"
  request "$api/$page" -K "$work/secret" -H "test_version:$b"
  expect_file "3  $b: its page" "$page_b"
  request "$api/$picture" -K "$work/secret" -H "test_version:$b"
  expect_file "4  $b: its picture, byte for byte" "$picture_b"
  request "$api/$page" -K "$work/secret" -H "test_version:$a" -H redirect:true
  expect '5  redirect: 302' 302
  expect_header '5  redirect: Location' location "https?://.*/$a/$page"
else
  skip '1-5 the API' 'set API_URL and LAMBDA_AUTH'
fi
request "$cdn/"
if [ -s "$work/index" ]; then expect_file 'the CDN serves the same index.html' "$work/index"; else expect 'the CDN serves index.html: 200' 200; fi
request "$cdn/smoke-no-such-folder/" -H "test_version:$a"
expect 'a trailing / selects index.html' 404 "no file: $a/smoke-no-such-folder/index.html"
request "$cdn/smoke-no-such-object" -H 'test_version:smoke-no-such-version'
expect 'unknown version: 404' 404 'no file: smoke-no-such-version/smoke-no-such-object'
request "$cdn/$page" -H "test_version:$a"
expect_file "6  $a through the CDN: its page" "$page_a"
request "$cdn/$page" -H "test_version:$a" -H redirect:true -I
expect '7  redirect through the CDN: 302' 302

echo '-- variants'
location=$(header location)
expect_header 'redirect: no-store' cache-control '.*no-store.*'
if [ -n "$location" ]; then
  request "$location"
  expect_file 'the redirect leads to the object' "$page_a"
  request "$cdn/$page" -H "test_version:$a" -H redirect:true -L --max-redirs 3
  expect_file 'a client that repeats its headers gets no redirect loop' "$page_a"
fi
request "$cdn/$page" -H "test_version:$b" -H redirect:false
expect_file 'redirect: false does not redirect' "$page_b"
mixed=0
for _ in 1 2 3 4 5 6 7 8; do
  request "$cdn/$page" -H "test_version:$a"
  cmp -s "$work/body" "$page_a" || mixed=$((mixed + 1))
  request "$cdn/$page" -H "test_version:$b"
  cmp -s "$work/body" "$page_b" || mixed=$((mixed + 1))
done
sixteen='sixteen alternating requests: each gets its variant'
if [ $mixed = 0 ]; then pass "$sixteen"; else fail "$sixteen" "$mixed responses are not the requested object"; fi
expect_header 'Vary names test_version' vary '.*test_version.*'
request "$cdn/$page" -H 'test_version:../x'
expect 'invalid version: 400' 400
request "$cdn/smoke-no-such-object" -H "test_version:$a"
expect 'missing object: 404' 404 "no file: $a/smoke-no-such-object"
expect_header 'missing object: no-store' cache-control '.*no-store.*'

echo '-- HTTP'
request "$cdn/$page" -H "test_version:$a"
etag=$(header etag) bytes=$(wc -c <"$page_a" | tr -d ' ')
request "$cdn/$page" -H "test_version:$a" -H "If-None-Match: $etag"
expect 'If-None-Match: 304' 304 ''
request "$cdn/$page" -H "test_version:$a" -H 'If-None-Match: "another"'
expect_file 'If-None-Match with another ETag: the object' "$page_a"
request "$cdn/$page" -H "test_version:$a" -H 'If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT'
expect 'If-Modified-Since: 304' 304 ''
request "$cdn/$page" -H "test_version:$a" -r 10-19
expect 'range: 206, its ten bytes' 206 "$(tail -c +11 "$page_a" | head -c 10)"
expect_header 'range: Content-Range' content-range "bytes 10-19/$bytes"
request "$cdn/$page" -H "test_version:$a" -r "$bytes-"
expect 'range past the end: 416' 416
request "$cdn/$page" -H "test_version:$a" -I
if [ "$status" = 200 ] && [ "$(header etag)" = "$etag" ]; then pass 'HEAD: 200, the same ETag'; else fail 'HEAD: 200, the same ETag' "got: $(response)"; fi
request "$cdn/$page" -H "test_version:$a" -X DELETE
case $status in
403 | 405) pass "DELETE: $status" ;;
*) fail 'DELETE is rejected' "expected 403 (CDN) or 405 (origin), got: $(response)" ;;
esac

echo '-- the secret'
request "$cdn/$page" -H "test_version:$a" -H 'lambda_auth: guessed'
expect_file "the CDN overwrites a viewer's lambda_auth" "$page_a"
if [ -n "$api" ]; then
  request "$api/$page" -K "$work/secret" -X DELETE
  expect 'DELETE at the API: 405' 405
  expect_header 'DELETE at the API: Allow lists GET' allow '.*GET.*'
  request "$api/$page" -H 'lambda_auth: guessed'
  expect 'wrong secret at the API: 403' 403 'request is forbidden'
  request "$api/$page" -K "$work/secret" -H 'lambda_auth: guessed'
  expect 'the secret and a wrong one at the API: 403' 403 'request is forbidden'
fi
if [ -z "$secret" ]; then
  skip 'no response contains the secret' 'set LAMBDA_AUTH'
elif grep -qaF -f "$work/plain" "$work/everything"; then
  fail 'no response contains the secret' 'at least one does'
else
  pass 'no response contains the secret'
fi

printf 'smoke: %d passed, %d failed, %d skipped in %d s\n' $passed $failed $skipped $SECONDS
[ $failed = 0 ]
