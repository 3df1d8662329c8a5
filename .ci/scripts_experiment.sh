# shellcheck shell=bash disable=SC2154 # scripts.sh, which sources this, sets the variables
# Checks deploy/experiment.sh with a stub of the AWS CLI and one of the command line `nearedge`. Sourced by scripts.sh, never run.

rm -r "$bucket"
mkdir "$bucket"
cat >"$tools/nearedge" <<'NEAREDGE'
#!/usr/bin/env bash
echo "nearedge $*" >>"$LOG"
case $CASE in
errors) printf 'error   %s:1:2  features\n\n%s: 1 errors, 0 warnings\n' "$3" "$3"; exit 1 ;;
warnings) printf 'warning %s:1:2  features\n\n%s: 0 errors, 1 warnings\n' "$3" "$3"; exit 1 ;;
unreadable) echo "experiment check: $3: line 1, column 1: invalid JSON" >&2; exit 2 ;;
old-unreadable)
  all=$*
  old=${all##*--against }
  [ "$old" = "$all" ] || { echo "experiment check: ${old%% *}: line 1, column 1: invalid JSON" >&2; exit 2; }
  ;;
crash) echo 'error: could not compile' >&2; exit 101 ;;
esac
[[ $* != *--against* ]] || printf 'new-checkout: 0.0 %% of all visitors move, 9.9 %% join, 0.0 %% leave\n\n'
echo "$3: 0 errors, 0 warnings"
NEAREDGE
chmod +x "$tools/nearedge"
printf '#!/bin/sh\nNEAREDGE=nearedge exec "%s/deploy/experiment.sh" "$@"\n' "$tools" >"$tools/deploy/experiments"
chmod +x "$tools/deploy/experiments"
definition=$tools/experiments.json object=$bucket/experiments.json
# defined TEXT: makes TEXT the definition in the bucket.
defined() { rm -rf "$object.versions"; printf '%s' "$1" >"$object"; }
# holds TEXT: the definition in the bucket is TEXT.
holds() { [ "$(cat "$object"; echo .)" = "$1." ] || failed "expected the definition $1, found: $(cat "$object")"; }
# says TEXT: the last output contains this.
says() { grep -qF -- "$1" <<<"$output" || failed "expected \"$1\", found: $output"; }
rule() { printf '{"features": {"test_version": {"defaultValue": null, "rules": [%s]}}}' "$1"; }
ab='{"key": "a", "variations": ["v1", "v2"], "coverage": 0.10, "meta": [{"key": "control"}, {"key": "treatment"}]}'

rule "$ab" >"$definition"
stops disabled 'put the definition with --key experiments.json' experiments put "$definition"
stops normal 'the function lambdaapi reads experiments.json' experiments put "$definition" --key other.json
stops normal 's3://site/experiments.json does not exist: write a definition' experiments ramp a 0.5
stops errors 'experiments.json has errors: nothing was written' experiments put "$definition"
stops unreadable 'invalid JSON: nothing was written' experiments put "$definition"
stops crash 'could not compile' experiments put "$definition"
stops warnings '1 warnings: nothing was written; correct them, or add --yes' experiments put "$definition"
works normal experiments put "$definition" --dry-run
says '+ aws s3api put-object --bucket site --key experiments.json'
says '--content-type application/json --cache-control max-age=0'
says '--if-none-match \* '
not_called put-object
works disabled experiments put "$definition" --key experiments.json
says 'does not use it yet: run deploy.sh set Experiments=experiments.json'
holds "$(rule "$ab")"
called 'nearedge experiment check .* --feature test_version --test-versions v1,v2'
echo 'ok  experiment.sh put writes the first definition'

works normal experiments show
says 'a           features.test_version.rules[0]  0.5 0.5  0.1       -      v1 (control), v2 (treatment)'
says '2 old versions, in s3://site/experiments.json.versions/'
says "$ab"
echo 'ok  experiment.sh show prints a table and the definition'

works normal experiments ramp a 0.25 --dry-run
says 'a: coverage 0.1 becomes 0.25 in features.test_version.rules[0]'
says '9.9 % join'
says '+          "coverage": 0.25,'
says "--key experiments.json.versions/20261126T201050Z-$(md5sum <"$object" | cut -c1-32) --body OLD "
says '--key experiments.json --body NEW --content-type application/json '
says '--if-match \"'
not_called put-object
works normal experiments ramp a 0.25
says 'active: the function has loaded it'
says 'aws s3 cp s3://site/experiments.json.versions/20261126T201050Z-'
holds "$(rule "${ab/0.10/0.25}")"
[ "$(cat "$object.versions"/*)" = "$(rule "$ab")" ] || failed "expected the old version in $object.versions"
echo 'ok  experiment.sh ramp writes with If-Match, and keeps the old version'
stops normal 'that takes visitors out' experiments ramp a 0.2
stops normal 'the definition has no experiment b: it has a' experiments ramp b 0.5
stops normal 'the definition has no experiment b: it has a' experiments stop b
stops normal 'a has no variation v2: it has control, treatment' experiments promote a v2
works normal experiments ramp a 0.25
says 'nothing to change'
not_called put-object
works old-unreadable experiments ramp a 0.3
says 'how many visitors move is unknown'

# ended CODE TEXT CASE ARGUMENT…: a change ends with this exit code and text.
ended() {
  local status=$1 text=$2 code=0
  output=$(stubbed "$3" experiments "${@:4}") || code=$?
  [ "$code" = "$status" ] || failed "${*:4} ($3): expected exit code $status, found $code: $output"
  says "$text"
  echo "ok  experiment.sh ${*:4} ends with $status ($3): $text"
}
before=$(cat "$object")
ended 3 'somebody else has changed s3://site/experiments.json' race ramp a 0.5
holds "$before"
ended 2 'this AWS CLI has no --if-match' old-cli ramp a 0.5
ended 4 'the function cannot use it, and keeps the last good one' unusable ramp a 0.5
ended 4 'the function has not logged within 1 s' silent ramp a 0.6 --wait 1
ended 0 'not waiting' silent ramp a 0.7 --wait 0
ended 0 'continuing in spite of 1 warnings' warnings ramp a 0.8 --yes

# edited DEFINITION COMMAND ARGUMENT… EXPECTED: the command turns one definition into the other.
edited() {
  defined "$1"
  works normal experiments "${@:2:$#-2}"
  holds "${*: -1}"
}
edited "$(rule '{"variations": ["v1", "v2"]}')" ramp test_version 1.0 "$(rule '{"variations": ["v1", "v2"]}')"
edited $'{"features": {"test_version": {"rules": [\n  {\n    "key": "a",\n    "variations": ["v1", "v2"],\n    "coverage": 0\n  }\n]}}}\n' ramp a 0.5 \
  $'{"features": {"test_version": {"rules": [\n  {\n    "key": "a",\n    "variations": ["v1", "v2"],\n    "coverage": 0.5\n  }\n]}}}\n'
edited "$(rule '{ "key":"a", "variations":["v1","v2"], "weights":[0.5,0.5] }')" ramp a 0.5 --force \
  "$(rule '{ "key":"a", "variations":["v1","v2"], "weights":[0.5,0.5], "coverage":0.5 }')"
edited "$(rule "$ab, {\"force\": \"v1\"}")" stop a "$(rule '{"force": "v1"}')"
edited "$(rule "{\"force\": \"v1\"} , $ab")" stop a "$(rule '{"force": "v1"}')"
edited "$(rule "$ab, $ab")" stop a "$(rule '')"
edited "$(rule "$ab")" promote a treatment "$(rule '{"force": "v2"}')"
edited "$(rule '{"id": "r", "key": "a", "condition": {"country": "CN"}, "variations": ["v1", "v2"], "weights": [1, 0]}')" promote a 1 \
  "$(rule '{"id": "r", "condition": {"country": "CN"}, "force": "v2"}')"
edited '{"features": {"test_version": {"defaultValue": "v1", "rules": [{"key": "a", "variations": ["v1", null]}]}}}' promote a 1 \
  '{"features": {"test_version": {"defaultValue": null, "rules": []}}}'
edited '{"features": {"t": {"rules": [{"key": "a", "variations": [1, 2], "coverage": 0.1}]}, "u": {"rules": [{"key": "a", "variations": ["\"]}", "y"]}]}}}' promote a 0 \
  '{"features": {"t": {"rules": [{"force": 1}]}, "u": {"rules": [{"force": "\"]}"}]}}}'
edited '{"features": {}, "experiments": [{"key": "a", "variations": [{}, {"urlRedirect": "/b"}], "coverage": 0.1, "urlPatterns": []}]}' promote a 1 \
  '{"features": {}, "experiments": [{"key": "a", "variations": [{}, {"urlRedirect": "/b"}], "force": 1, "urlPatterns": []}]}'
edited '{"features": {}, "experiments": [{"key": "a", "variations": [{}, {"urlRedirect": "/b"}]}]}' stop a '{"features": {}, "experiments": []}'
echo 'ok  ramp, stop and promote change only their part of the file'
defined "$(rule '{"key": "a", "variations": ["v1", null]}, {"force": "v3"}')"
stops normal 'which a rule cannot force while rules follow' experiments promote a 1
defined "$(rule '{"key": "a", "variations": ["v1", "v2"], "ranges": [[0, 0.1], [0.1, 0.2]]}')"
stops normal 'has ranges, which replace coverage' experiments ramp a 0.5
defined "$(rule '{"key": "a", "variations": ["v1", "v2"], "meta": [{"key": "off", "passthrough": true}]}')"
stops normal 'use experiment.sh stop a' experiments promote a off
defined '{'
stops normal 'is not valid JSON' experiments stop a
