#!/usr/bin/env bash
# Checks deploy/ without an AWS account: the templates with cfn-lint for the regions of their partition, the dry run and the errors of
# each command, the AWS calls of some commands, and that the tables in docs/runbook.md are the output of cost.py.
#
#   pip install cfn-lint && .ci/scripts.sh
set -euo pipefail
cd "$(dirname "$0")/../deploy"

cfn-lint --regions us-east-1 eu-west-1 --template aws.yaml
cfn-lint --regions cn-north-1 cn-northwest-1 --template aws-cn.yaml

# A PATH without `aws`: a dry run needs neither the AWS CLI nor credentials.
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
for tool in bash basename dirname cat cut date sed awk grep sort tail head tr od mktemp rm sha256sum env curl; do
  ln -s "$(command -v "$tool")" "$tools/"
done
# dry COMMAND…: the command succeeds without the AWS CLI. $plan is its output.
dry() {
  plan=$(env -i PATH="$tools" HOME="$tools" "$@" 2>&1) || { echo "FAILED: $*: $plan"; exit 1; }
  echo "ok  $*"
}
# refused STATUS TEXT COMMAND…: the command exits with this status, and its output contains the text.
refused() {
  local status=$1 text=$2 output code=0
  shift 2
  output=$(env -i PATH="$tools" HOME="$tools" "$@" 2>&1) || code=$?
  if [ "$code" != "$status" ] || ! grep -q -- "$text" <<<"$output"; then
    echo "FAILED: $*: expected exit code $status and \"$text\", found exit code $code: $output"
    exit 1
  fi
  echo "ok  $* exits with $status"
}
dry ./deploy.sh up --dry-run
grep -q 'aws cloudformation deploy .*aws.yaml' <<<"$plan"
dry env AWS_REGION=cn-north-1 ./deploy.sh up --dry-run --set Alias=ab.example.com.cn
grep -q 'aws cloudformation deploy .*aws-cn.yaml' <<<"$plan"
dry ./deploy.sh set --dry-run MemorySize=512
dry ./deploy.sh site --dry-run ../emulator/site --immutable '*.png' --delete
dry ./deploy.sh status --dry-run
dry ./deploy.sh back --dry-run
dry ./deploy.sh purge --dry-run
dry ./deploy.sh down --dry-run
dry ./rotate.sh --dry-run
dry ./rotate.sh --dry-run --secret-version 1
dry ./variant.sh off v2 --as v1 --dry-run
dry ./variant.sh on v2 --dry-run
for script in deploy rotate smoke variant; do
  help=$(env -i PATH="$tools" "./$script.sh" --help) || true
  grep -q "$script.sh" <<<"$help" || { echo "FAILED: $script.sh --help: expected its usage, found: $help"; exit 1; }
done
refused 2 'aws is missing' ./deploy.sh status
refused 2 'unknown command' ./deploy.sh deploy
refused 2 'use Name=Value' ./deploy.sh up --set MemorySize
refused 2 'NOT_SET is not set' ./deploy.sh up --set-from LambdaAuth=NOT_SET
refused 2 'the folder to upload' ./deploy.sh site --dry-run
refused 2 'needs the variant to serve instead' ./variant.sh off v2
refused 2 'no response from' ./smoke.sh http://127.0.0.1:9
refused 2 'needs the secret' ./smoke.sh http://127.0.0.1:9 http://127.0.0.1:9

# A stub of `aws`: it logs its arguments and prints the output that $CASE selects.
mkdir "$tools/stub"
cp -r ../deploy "$tools/deploy"
cat >"$tools/stub/aws" <<'AWS'
#!/usr/bin/env bash
echo "aws $*" >>"$LOG"
case $* in
sts*) [ "$CASE" != no-credentials ] || { echo 'Unable to locate credentials' >&2; exit 253; }; echo 111111111111 ;;
*describe-stacks*)
  [ "$CASE" != throttled ] || { echo 'An error occurred (Throttling): Rate exceeded' >&2; exit 254; }
  printf '%s\t%s\t%s\n' output FunctionName lambdaapi output FunctionVersion 7 parameter Architecture x86_64 \
    parameter ArtifactKey nearedge/0123456789.zip parameter ArtifactBucket artifacts parameter Rollout LambdaCanary10Percent10Minutes
  ;;
"cloudformation deploy "*)
  all=$*
  parameters=${all##*file://}
  cat "${parameters%% *}" >>"$LOG"
  ;;
*get-alias*AdditionalVersionWeights*) [ "$CASE" != rollout ] || echo 8 ;;
*get-alias*) [ "$CASE" != after-back ] && echo 7 || echo 6 ;;
*list-deployments*) [ "$CASE" != rollout ] || printf 'd-OURS\td-THEIRS\n' ;;
*get-deployment*d-OURS*) echo nearedge-RolloutApplication-1 ;;
*get-deployment*d-THEIRS*) echo nearedge-staging-RolloutApplication-1 ;;
*list-versions*) printf '%s\t' '$LATEST' 4 5 6 7 8 ;;
*list-tags*) [ "$CASE" != second-time ] && echo None || echo 6 ;;
*get-function-configuration*) echo arn:aws:lambda:eu-west-1:111111111111:function:lambdaapi ;;
esac
AWS
chmod +x "$tools/stub/aws"
# stubbed CASE SCRIPT ARGUMENT…: runs a script of deploy/ with the stub.
stubbed() {
  local case=$1 script=$2
  shift 2
  : >"$tools/log"
  env -i PATH="$tools/stub:$tools" HOME="$tools" AWS_REGION=eu-west-1 LOG="$tools/log" CASE="$case" "$tools/deploy/$script" "$@" 2>&1
}
# called PATTERN: the script has called aws with such arguments.
called() {
  grep -q -- "$1" "$tools/log" || { echo "FAILED: expected a call of aws that matches $1, found:"; cat "$tools/log"; exit 1; }
}
# works CASE SCRIPT ARGUMENT…: the script succeeds.
works() {
  local output
  output=$(stubbed "$@") || { echo "FAILED: ${*:2} ($1): $output"; exit 1; }
}
# stops CASE TEXT SCRIPT ARGUMENT…: the script fails with this text and changes nothing.
stops() {
  local output
  if output=$(stubbed "$1" "${@:3}"); then echo "FAILED: ${*:3} ($1): expected an error, found success: $output"; exit 1; fi
  grep -q -- "$2" <<<"$output" || { echo "FAILED: ${*:3} ($1): expected \"$2\", found: $output"; exit 1; }
  if grep -qE 'deploy |update-alias|put-|mb ' "$tools/log"; then
    echo "FAILED: ${*:3} ($1): expected no change, found the calls:"
    cat "$tools/log"
    exit 1
  fi
  echo "ok  ${*:3} stops ($1)"
}
stops no-credentials 'no valid AWS credentials' deploy.sh status
stops throttled 'cannot read the stack' deploy.sh up
stops normal 'nearedge-x86_64.zip' deploy.sh up
stops normal 'is a secret' deploy.sh set LambdaAuth=hunter2
stops after-back 'would redeploy the code of version 7' deploy.sh set MemorySize=512
works after-back deploy.sh set MemorySize=512 --force
called '"Rollout=AllAtOnce"'
called '"Rollout=LambdaCanary10Percent10Minutes"'
called '"MemorySize=512"'
echo 'ok  set --force shifts all traffic at once, and restores the rollout in steps'
works normal deploy.sh set MemorySize=512
called '"Release=01234567-'
if grep -q Rollout= "$tools/log"; then echo 'FAILED: set: expected an unchanged rollout'; exit 1; fi
echo 'ok  set shifts traffic in steps'
works normal deploy.sh back
called 'update-alias .*--function-version 6 '
called 'tags left=7$'
echo 'ok  back selects the previous version'
works second-time deploy.sh back
called 'update-alias .*--function-version 5 '
called 'tags left=6 7$'
echo 'ok  back skips the versions that an earlier back has left'
works rollout deploy.sh back
called 'update-alias .*--function-version 7 '
called 'tags left=8$'
called 'stop-deployment --deployment-id d-OURS'
if grep -q 'stop-deployment .*d-THEIRS' "$tools/log"; then echo "FAILED: back: stopped the rollout of another stack"; exit 1; fi
echo 'ok  back ends a rollout and keeps the version that it started from'

for arguments in '' '--cdn-hits 0.9'; do
  # shellcheck disable=SC2086 # words
  python3 cost.py $arguments >"$tools/table"
  awk -v mark="<!-- deploy/cost.py${arguments:+ }$arguments -->" '$0 == mark { on = 1; next } on && !/^\|/ { exit } on' ../docs/runbook.md |
    diff - "$tools/table" || { echo "FAILED: a table in docs/runbook.md differs from the output of deploy/cost.py $arguments (lines with >)"; exit 1; }
done
echo 'ok  the cost tables in docs/runbook.md'
