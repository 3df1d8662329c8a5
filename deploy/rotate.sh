#!/usr/bin/env bash
# A new secret without a lost request: the function accepts both, the distribution sends the new one, the old one goes.
#
#   deploy/rotate.sh                       makes the new secret itself
#   NEW_LAMBDA_AUTH=… deploy/rotate.sh     takes this one
#   deploy/rotate.sh --secret-version ID   takes this version of the secret in Secrets Manager
#
#   --stack NAME      the stack (nearedge, or STACK)
#   --dry-run         only print what would be run
#   --no-metrics      do not wait until CloudWatch counts no request with the old secret (metrics are off, or not to be had)
#
# It can be run again after whatever stopped it: what has been done is seen and not done twice. Each step is one update of
# the stack and takes as long as a rollout, or as the distribution's edges take to learn of it.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=aws.sh
. "$here/aws.sh"

version='' metrics=yes
while [ $# -gt 0 ]; do
  case $1 in
  --dry-run) dry_run=yes ;;
  --no-metrics) metrics='' ;;
  --stack | --secret-version)
    [ $# -gt 1 ] || die "$1 needs a value: rotate.sh --help" 2
    if [ "$1" = --stack ]; then stack=$2; else version=$2; fi
    shift
    ;;
  -h | --help) usage; exit 0 ;;
  *) die "there is no $1: rotate.sh --help" 2 ;;
  esac
  shift
done
ready
need_stack

set_stack() {
  "$here/deploy.sh" set --stack "$stack" ${dry_run:+--dry-run} "$@"
  [ -n "$dry_run" ] || learn
}
function=$(output FunctionName) api=$(output ApiAddress)
# A setting of the version that answers; empty when it is not set.
live_setting() {
  local value
  value=$(aws lambda get-function-configuration --function-name "$function" --qualifier live --query "Environment.Variables.$1" --output text)
  [ "$value" = None ] || printf '%s' "$value"
}
# Whether the API opens to the secret on standard input. No answer and an error are no yes.
opens() {
  [ -n "$dry_run" ] || case $(secret_header | curl -sS --max-time 15 -o /dev/null -w '%{http_code}' -K - "$api/") in
  2?? | 3?? | 404) ;;
  *) return 1 ;;
  esac
}

from_manager=$(output SecretSource)
[ "$from_manager" != parameter ] || from_manager=''
[ -z "$dry_run" ] || from_manager=$version
if [ -n "$from_manager" ] && [ -z "$version" ]; then
  die 'the secret is in Secrets Manager: put a new version there (aws secretsmanager put-secret-value) and give its id with --secret-version' 2
elif [ -n "$from_manager" ] && [ -z "$(parameter SecretVersionId)" ]; then
  die 'the stack takes whatever version is current, so that a new one is in force at once on one side only: deploy.sh set SecretVersionId=… with the one that it has now, then rotate' 2
elif [ -z "$from_manager" ] && [ -n "$version" ]; then
  die 'the secret is a parameter of the stack, not in Secrets Manager: leave --secret-version out' 2
fi

echo '1 of 3: the function accepts the new secret too'
next=''
[ -n "$dry_run" ] || next=$(live_setting lambda_auth_next)
if [ -n "$next" ]; then
  note 'it accepts a second one already: going on from there'
  # The one that is on its way already, and no other: the distribution may be sending it.
  [ "$version" = "$(parameter SecretNextVersionId)" ] || die "a rotation to version $(parameter SecretNextVersionId) is under way: give that as --secret-version first" 2
  [ -z "${NEW_LAMBDA_AUTH:-}" ] || [ "$NEW_LAMBDA_AUTH" = "$next" ] || die 'a rotation to another secret is under way: run rotate.sh without NEW_LAMBDA_AUTH first' 2
  NEW_LAMBDA_AUTH=$next
elif [ -n "$version" ]; then
  set_stack SecretSent=current SecretNextVersionId="$version"
else
  NEW_LAMBDA_AUTH=${NEW_LAMBDA_AUTH:-$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')}
  export NEW_LAMBDA_AUTH
  set_stack SecretSent=current --set-from LambdaAuthNext=NEW_LAMBDA_AUTH
fi
[ -n "$dry_run" ] || NEW_LAMBDA_AUTH=$(live_setting lambda_auth_next)
[ -n "$dry_run" ] || [ -n "$NEW_LAMBDA_AUTH" ] || die 'the version that answers has no second secret: nothing else was changed; see deploy.sh status'
export NEW_LAMBDA_AUTH
printf '%s' "$NEW_LAMBDA_AUTH" | opens || die "the API does not take the new secret: nothing else was changed; rotate.sh goes on from here once it does"

echo '2 of 3: the distribution sends the new secret'
if [ -n "$dry_run" ] || [ "$(parameter SecretSent)" != next ]; then set_stack SecretSent=next; fi
run aws cloudfront wait distribution-deployed --id "$(output DistributionId)"
if [ -n "$dry_run" ]; then
  echo '# wait until CloudWatch counts no request with the old secret for three minutes'
elif [ -n "$metrics" ]; then
  # The counts of a minute are there some minutes later. UTC, as CloudWatch has it.
  quiet=''
  for _ in $(seq 60); do
    sum=$(aws cloudwatch get-metric-statistics --namespace nearedge --metric-name SecretCurrent --dimensions "Name=service,Value=$function" \
      --start-time "$(($(date +%s) - 360))" --end-time "$(($(date +%s) - 180))" --period 180 --statistics Sum --query 'sum(Datapoints[].Sum)' --output text)
    case $sum in 0 | 0.0 | None) quiet=yes; break ;; esac
    note "still $sum requests in three minutes with the old secret"
    sleep 30
  done
  [ -n "$quiet" ] || die 'requests with the old secret go on for half an hour: another distribution, or a client of the API, sends it. Both are accepted; run rotate.sh again when that has been mended'
fi

echo '3 of 3: the old secret goes'
if [ -n "$version" ]; then
  set_stack SecretVersionId="$version" SecretNextVersionId= SecretSent=current
else
  set_stack --set-from LambdaAuth=NEW_LAMBDA_AUTH LambdaAuthNext= SecretSent=current
fi
printf '%s' "$NEW_LAMBDA_AUTH" | opens || die 'the API does not take the new secret any more: deploy.sh back, then look at deploy.sh status'
echo 'done: the new secret is the only one'
