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
#   AUTH_HEADER            name of the header with the secret, if the function's auth_header is set (lambda_auth)
#   VERSION_HEADER         name of the header with the variant, if the function's version_header is set (test_version)
#   VARIANT_A, VARIANT_B   two variants to compare (v1, v2)
#   PAGE                   object that both variants have and that differs (test.html, index.html, or a page of SITE)
#   PICTURE                second object of VARIANT_B (test.png, or a file that the page refers to)
#   REDIRECT_FROM          path that a rule of _redirects redirects, with its query string (none)
#   REDIRECT_TO            the Location that it must have
#   GUARDED_PATH           path that a rule of access.json guards: 401 or 403 without a token or a link (none)
#   GUARDED_TOKEN          token with which GUARDED_PATH must be 200, sent as Authorization: Bearer (none); does not pass a function URL
#   SITE                   folder with the bucket's content, to compare objects with its files
#   KNOWN                  checks whose names begin with this are skipped if they fail: known defects of the environment
#
# It makes about sixty requests and changes nothing. Exit status: 0 all checks passed, 1 a check failed, 2 it could not start.
set -uo pipefail

# shellcheck source-path=SCRIPTDIR source=cli.sh
. "$(dirname "$0")/cli.sh"

case "${1:-}" in
'') usage >&2; exit 2 ;;
-h | --help) usage; exit 0 ;;
esac
[ $# -le 2 ] || die "unexpected argument '$3': use smoke.sh BASE_URL [API_URL], and see smoke.sh --help for the variables" 2
for url in "$@"; do
  [[ $url =~ ^https?://[^/]+ ]] || die "'$url' is not a URL: use smoke.sh https://dxxxx.cloudfront.net [API_URL]" 2
done
cdn=${1%/} api=${2:-}
api=${api%/}
secret=${LAMBDA_AUTH:-}
auth_header=${AUTH_HEADER:-lambda_auth} version_header=${VERSION_HEADER:-test_version}
a=${VARIANT_A:-v1} b=${VARIANT_B:-v2} page=${PAGE:-} picture=${PICTURE:-} site=${SITE:-}
redirect_from=${REDIRECT_FROM:-} redirect_to=${REDIRECT_TO:-} guarded=${GUARDED_PATH:-} token=${GUARDED_TOKEN:-}
command -v curl >/dev/null || die 'curl is missing: install it' 2
[ -z "$api" ] || [ -n "$secret" ] || die 'API_URL needs the secret: LAMBDA_AUTH=… deploy/smoke.sh BASE_URL API_URL' 2
for name in "$auth_header" "$version_header"; do
  [[ $name =~ ^[A-Za-z0-9._-]+$ ]] || die "'$name' is not a header name: set AUTH_HEADER and VERSION_HEADER to those of the function, such as x-lambda-auth" 2
done
[ "$auth_header" != "$version_header" ] || die "AUTH_HEADER and VERSION_HEADER are both $auth_header: the secret and the variant need two headers" 2
[ -z "$site" ] || [ -d "$site" ] || die "SITE=$site is not a folder" 2
[ -n "$redirect_from" ] && [ -z "$redirect_to" ] && die 'REDIRECT_FROM needs REDIRECT_TO, the Location that the rule leads to' 2
[ -z "$redirect_to" ] || [ -n "$redirect_from" ] || die 'REDIRECT_TO needs REDIRECT_FROM, the path that a rule redirects' 2
[ -z "$token" ] || [ -n "$guarded" ] || die 'GUARDED_TOKEN needs GUARDED_PATH, the path that it opens' 2
for path in "$redirect_from" "$guarded"; do
  [[ $path =~ ^(/[!-~]*)?$ ]] || die "'$path' is not a path: start REDIRECT_FROM and GUARDED_PATH with /, percent-encoded as in a URL" 2
done
[ "$a" != "$b" ] || die "VARIANT_A and VARIANT_B are both $a: name two variants" 2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(
  umask 077
  printf '%s\n' "$secret" >"$work/plain"
  secret_header "$auth_header" <"$work/plain" >"$work/secret"
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

# expect_missing NAME KEY: a 404 with the body `no file: KEY`, or what the settings missing_status and error_document make of it.
expect_missing() {
  local body
  body=$(head -c 300 "$work/body" | tr -d '\0')
  if [ "$body" = "no file: $2" ] && { [ "$status" = 404 ] || [ "$status" = 200 ]; }; then
    pass "$1$([ "$status" = 404 ] || echo ' (missing_status=200)')"
  elif [ "$status" = 404 ] && [ -n "$body" ] && [[ $body != 'no file: '* ]] && [[ $body != '{"message"'* ]]; then
    pass "$1 (with the error document)"
  else
    fail "$1" "expected 404 and 'no file: $2', got: $(response)"
  fi
}

# Whether the site has no index.html outside the variants, by the response to / (with any error_document or missing_status).
no_index() {
  [ -z "$site" ] || [ ! -f "$site/index.html" ] || return 1
  [ "$(head -c 300 "$work/body")" = 'no file: index.html' ] || { [ "$status" = 404 ] && ! grep -q '^{"message"' "$work/body"; }
}

# --- what to compare -----------------------------------------------------------------------------------------------------------

# Prints a key, percent-encoded as in a URL.
encoded() {
  printf '%s' "$1" | od -An -v -tx1 | tr ' ' '\n' | awk 'BEGIN { for (i = 33; i < 127; i++) { char = sprintf("%c", i); hex = sprintf("%02x", i)
    if (char ~ /[A-Za-z0-9._~\/-]/) plain[hex] = char } } NF { printf "%s", ($1 in plain) ? plain[$1] : "%" toupper($1) }'
}
# obtain VARIANT KEY FILE: stores the expected bytes of an object in FILE, from SITE or else from the second origin.
obtain() {
  if [ -n "$site" ]; then
    status="no file in $site"
    [ -s "$site/$1/$2" ] && cp "$site/$1/$2" "$3"
  else
    request "$cdn/$1/$(encoded "$2")"
    [ "$status" = 200 ] && [ -s "$work/body" ] && cp "$work/body" "$3"
  fi
}
# Prints the pages to try, one per line.
pages() {
  if [ -n "$page" ]; then
    printf '%s\n' "$page"
  else
    printf '%s\n' test.html index.html
    [ -z "$site" ] || (cd "$site/$b" 2>/dev/null && find . -name '*.html' -type f | sed 's#^\./##' | sort | head -50)
  fi
}
# Prints the second objects to try, one per line: test.png and what the page refers to.
pictures() {
  if [ -n "$picture" ]; then
    printf '%s\n' "$picture"
  else
    local folder=''
    case $page in */*) folder=${page%/*}/ ;; esac
    echo test.png
    grep -oE "(src|href)=[\"']?[A-Za-z0-9._/-]+\\.[A-Za-z0-9]+[\"' >]" "$page_b" | sed -E "s/^[a-z]+=[\"']?//; s/.\$//" | grep -vE '^//|\.\./|\.html?$' |
      awk -v folder="$folder" -v variant="/$b/" 'index($0, variant) == 1 { $0 = substr($0, length(variant)) } { print sub(/^\//, "") ? $0 : folder $0 }' | awk '!seen[$0]++' | head -10
  fi
}

printf 'smoke: %s%s, variants %s and %s\n' "$cdn" "${api:+ and $api}" "$a" "$b"
request "$cdn/"
[ "$status" != 000 ] || die "no response from $cdn: $(head -1 "$work/error")" 2
if [ "$status" = 403 ] && [ "$(head -c 300 "$work/body")" = 'request is forbidden' ]; then
  die "$cdn responds 403 'request is forbidden': BASE_URL is the API, or the distribution sends a secret that the function does not accept (docs/runbook.md, The secret)" 2
fi
if [ -n "$api" ]; then
  request "$api/" -K "$work/secret"
  [ "$status" != 000 ] || die "no response from $api: $(head -1 "$work/error")" 2
  [ "$status" != 403 ] || die "$api does not accept LAMBDA_AUTH in the header $auth_header: $(response): set AUTH_HEADER if the function's auth_header is another; deploy.sh status prints the command that reads the secret" 2
fi

# The first page that both variants have and that differs.
page_a="$work/page-a" page_b="$work/page-b" picture_b="$work/picture-b"
found='' tried=''
while read -r each; do
  obtain "$a" "$each" "$work/a" || { tried="$tried /$a/$each: $status;"; continue; }
  obtain "$b" "$each" "$work/b" || { tried="$tried /$b/$each: $status;"; continue; }
  if [ -z "$found" ] || ! cmp -s "$work/a" "$work/b"; then
    found=$each
    cp "$work/a" "$page_a"
    cp "$work/b" "$page_b"
    cmp -s "$page_a" "$page_b" || break
  fi
done < <(pages)
[ -n "$found" ] || die "no page to compare:${tried%;}. Set PAGE to an object that both variants have, such as PAGE=shop.html, or VARIANT_A and VARIANT_B to the variants' folders" 2
page=$found
while read -r each; do
  if [ -n "$each" ] && [ "$each" != "$page" ] && obtain "$b" "$each" "$picture_b"; then
    picture=$each
    break
  fi
done < <(pictures)
[ -z "$picture" ] || [ -s "$picture_b" ] || die "PICTURE=$picture: /$b/$picture: $status. Set PICTURE to another object of $b" 2
printf 'comparing %s%s; set PAGE and PICTURE for others\n' "$page" "${picture:+ and $picture}"
page_url=$(encoded "$page") picture_url=$(encoded "$picture")

if [ -z "$site" ]; then
  pass "the second origin serves /$a/$page and /$b/$page"
fi
if cmp -s "$page_a" "$page_b"; then
  fail 'the variants differ' "/$a/$page and /$b/$page are identical: set PAGE to an object that differs"
fi

echo '-- the seven commands'
if [ -n "$api" ]; then
  request "$api/"
  expect '1  no secret: 403' 403 'request is forbidden'
  request "$api/" -K "$work/secret"
  if no_index; then
    skip '2  secret: 200' 'the site has no index.html outside the variants: viewers without a variant get 404'
  else
    if [ -n "$site" ]; then expect_file '2  secret: 200, index.html' "$site/index.html"; else expect '2  secret: 200' 200; fi
    cp "$work/body" "$work/index"
  fi
  request "$api/$page_url" -K "$work/secret" -H "$version_header:$b"
  expect_file "3  $b: its page" "$page_b"
  if [ -n "$picture" ]; then
    request "$api/$picture_url" -K "$work/secret" -H "$version_header:$b"
    expect_file "4  $b: its picture, byte for byte" "$picture_b"
  else
    skip "4  $b: its picture, byte for byte" "set PICTURE to a second object of $b"
  fi
  request "$api/$page_url" -K "$work/secret" -H "$version_header:$a" -H redirect:true
  expect '5  redirect: 302' 302
  expect_header '5  redirect: Location' location "https?://.*/$a/$page_url"
else
  skip '1-5 the API' 'set API_URL and LAMBDA_AUTH'
fi
request "$cdn/"
if [ -s "$work/index" ]; then
  expect_file 'the CDN serves the same index.html' "$work/index"
elif no_index; then
  skip 'the CDN serves index.html: 200' 'the site has none outside the variants'
else
  expect 'the CDN serves index.html: 200' 200
fi
request "$cdn/smoke-no-such-folder/" -H "$version_header:$a"
expect_missing 'a trailing / selects index.html' "$a/smoke-no-such-folder/index.html"
# A name with an extension: spa_fallback never serves its shell for it.
request "$cdn/smoke-no-such-object.txt" -H "$version_header:smoke-no-such-version"
expect_missing 'unknown version: 404' 'smoke-no-such-version/smoke-no-such-object.txt'
request "$cdn/$page_url" -H "$version_header:$a"
expect_file "6  $a through the CDN: its page" "$page_a"
request "$cdn/$page_url" -H "$version_header:$a" -H redirect:true -I
expect '7  redirect through the CDN: 302' 302

echo '-- variants'
location=$(header location)
expect_header 'redirect: no-store' cache-control '.*no-store.*'
if [ -n "$location" ]; then
  request "$location"
  expect_file 'the redirect leads to the object' "$page_a"
  looped='a client that repeats its headers gets no redirect loop'
  if [ -n "$guarded" ]; then
    skip "$looped" "with access.json the folders of variants lead to the function, not to S3"
  else
    request "$cdn/$page_url" -H "$version_header:$a" -H redirect:true -L --max-redirs 3
    expect_file "$looped" "$page_a"
  fi
fi
request "$cdn/$page_url" -H "$version_header:$b" -H redirect:false
expect_file 'redirect: false does not redirect' "$page_b"
mixed=0
for _ in 1 2 3 4 5 6 7 8; do
  request "$cdn/$page_url" -H "$version_header:$a"
  cmp -s "$work/body" "$page_a" || mixed=$((mixed + 1))
  request "$cdn/$page_url" -H "$version_header:$b"
  cmp -s "$work/body" "$page_b" || mixed=$((mixed + 1))
done
sixteen='sixteen alternating requests: each gets its variant'
if [ $mixed = 0 ]; then pass "$sixteen"; else fail "$sixteen" "$mixed responses are not the requested object"; fi
expect_header "Vary names $version_header" vary "(.*, *)?$(printf %s "$version_header" | tr '[:upper:]' '[:lower:]')( *,.*)?"
request "$cdn/$page_url" -H "$version_header:../x"
expect 'invalid version: 400' 400
request "$cdn/smoke-no-such-object.txt" -H "$version_header:$a"
expect_missing 'missing object: 404' "$a/smoke-no-such-object.txt"
expect_header 'missing object: no-store' cache-control '.*no-store.*'

echo '-- HTTP'
request "$cdn/$page_url" -H "$version_header:$a"
etag=$(header etag) bytes=$(wc -c <"$page_a" | tr -d ' ')
request "$cdn/$page_url" -H "$version_header:$a" -H "If-None-Match: $etag"
expect 'If-None-Match: 304' 304 ''
request "$cdn/$page_url" -H "$version_header:$a" -H 'If-None-Match: "another"'
expect_file 'If-None-Match with another ETag: the object' "$page_a"
request "$cdn/$page_url" -H "$version_header:$a" -H 'If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT'
expect 'If-Modified-Since: 304' 304 ''
first=10 last=19
[ "$bytes" -ge 20 ] || first=0 last=$((bytes - 1))
request "$cdn/$page_url" -H "$version_header:$a" -r "$first-$last"
tail -c "+$((first + 1))" "$page_a" | head -c "$((last - first + 1))" >"$work/part"
if [ "$status" = 206 ] && cmp -s "$work/body" "$work/part"; then
  pass "range: 206, its $((last - first + 1)) bytes"
else
  fail 'range: 206, its bytes' "expected 206 and bytes $first to $last of the object, got: $(response)"
fi
expect_header 'range: Content-Range' content-range "bytes $first-$last/$bytes"
request "$cdn/$page_url" -H "$version_header:$a" -r "$bytes-"
expect 'range past the end: 416' 416
request "$cdn/$page_url" -H "$version_header:$a" -I
if [ "$status" = 200 ] && [ "$(header etag)" = "$etag" ]; then pass 'HEAD: 200, the same ETag'; else fail 'HEAD: 200, the same ETag' "got: $(response)"; fi
request "$cdn/$page_url" -H "$version_header:$a" -X DELETE
case $status in
403 | 405) pass "DELETE: $status" ;;
*) fail 'DELETE is rejected' "expected 403 (CDN) or 405 (origin), got: $(response)" ;;
esac

echo '-- the secret'
request "$cdn/$page_url" -H "$version_header:$a" -H "$auth_header: guessed"
expect_file "the CDN overwrites a viewer's $auth_header" "$page_a"
if [ -n "$api" ]; then
  request "$api/$page_url" -K "$work/secret" -X DELETE
  expect 'DELETE at the API: 405' 405
  expect_header 'DELETE at the API: Allow lists GET' allow '.*GET.*'
  request "$api/$page_url" -H "$auth_header: guessed"
  expect 'wrong secret at the API: 403' 403 'request is forbidden'
  request "$api/$page_url" -K "$work/secret" -H "$auth_header: guessed"
  expect 'the secret and a wrong one at the API: 403' 403 'request is forbidden'
fi
if [ -n "$redirect_from" ]; then
  echo '-- redirects'
  request "$cdn$redirect_from"
  case $status in
  301 | 302 | 303 | 307 | 308) pass "$redirect_from: $status" ;;
  *) fail "$redirect_from: a redirect" "expected 301, 302, 303, 307 or 308, got: $(response)" ;;
  esac
  if [ "$(header location)" = "$redirect_to" ]; then
    pass "$redirect_from: its Location"
  else
    fail "$redirect_from: its Location" "expected $redirect_to, got '$(header location)'"
  fi
fi

# S3's own 403 has no Cache-Control: it would mean that the request bypassed the function.
if [ -n "$guarded" ]; then
  echo '-- access'
  for path in "$guarded" "/$a$guarded" "/$b$guarded" "/$guarded" "/smoke-no-such-folder/..$guarded"; do
    request "$cdn$path" --path-as-is
    case $status in
    401 | 403)
      pass "$path without a token: $status"
      expect_header "$path without a token: no-store" cache-control '.*no-store.*'
      ;;
    *) fail "$path without a token: 401 or 403" "got: $(response | head -c 60)" ;;
    esac
  done
  if [ -n "$token" ]; then
    (umask 077 && printf 'Bearer %s\n' "$token" | secret_header Authorization >"$work/token")
    request "$cdn$guarded" -K "$work/token"
    expect "$guarded with GUARDED_TOKEN: 200" 200
    expect_header "$guarded with GUARDED_TOKEN: not for shared caches" cache-control '.*(private|no-store).*'
    request "$cdn$guarded"
    case $status in
    401 | 403) pass "$guarded again without a token: $status" ;;
    *) fail "$guarded again without a token: 401 or 403" "a cache kept it, got: $(response | head -c 60)" ;;
    esac
  else
    skip "$guarded with a token: 200" 'set GUARDED_TOKEN'
  fi
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
