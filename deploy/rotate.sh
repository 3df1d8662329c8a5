#!/usr/bin/env bash
# Rotates the secret without losing a request: the function accepts both secrets while the distribution switches to the new one.
#
#   deploy/rotate.sh                       generate the new secret
#   NEW_LAMBDA_AUTH=… deploy/rotate.sh     use this one
#   deploy/rotate.sh --secret-version ID   use this version of the secret in Secrets Manager
#
#   --stack NAME      stack name (environment variable STACK, or nearedge)
#   --dry-run         print the commands; read and change nothing
#   --no-metrics      do not wait until CloudWatch counts no request with the old secret (metrics off or not available)
#
# Run it again after an interruption: it detects the completed steps and continues. Each step is one stack update and takes
# as long as a rollout, or as the deployment to CloudFront's edge locations.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=aws.sh
. "$(dirname "$0")/aws.sh"

version='' metrics=yes
NEW_LAMBDA_AUTH=${NEW_LAMBDA_AUTH:-}
set_option() {
  case $1 in
  --no-metrics) metrics='' ;;
  --secret-version) need_value "$@"; version=$2 ;;
  *) return 1 ;;
  esac
}
parse_arguments "$@"
most_words 0
[ -z "$version" ] || [ -z "$NEW_LAMBDA_AUTH" ] || die 'use NEW_LAMBDA_AUTH for a parameter or --secret-version for Secrets Manager, not both' 2
require_account
require_stack

case $(front_door) in
FunctionUrl) die 'CloudFront sends no secret to the function URL, so there is none to rotate. The stack may keep one for a move back: replace it with deploy.sh set --set-from LambdaAuth=VARIABLE, or remove it with deploy.sh set LambdaAuth=' 2 ;;
FunctionUrlWithHttpApi) die 'a move between the front doors has begun: finish it first, or go back to HttpApiWithFunctionUrl (docs/runbook.md, Move between doors)' 2 ;;
esac

set_stack() {
  "$here/deploy.sh" set --stack "$stack" ${dry_run:+--dry-run} "$@"
  [ -n "$dry_run" ] || load_stack
}
function=$(output FunctionName) api=$(output ApiAddress)
# The stack has no such parameter until an update with the template that declares it.
header=$(fact parameter AuthHeader)
header=${header:-lambda_auth}
step() { printf 'step %s of 3: %s%s\n' "$1" "${dry_run:+would }" "$2"; }
# Whether the API accepts SECRET. A 404 has passed the check of the secret; a 5xx or no response proves nothing.
accepts() { # SECRET
  would 'check that the API accepts the new secret'
  [ -n "$dry_run" ] || case $(printf '%s' "$1" | secret_header "$header" | curl -sS --max-time 15 -o /dev/null -w '%{http_code}' -K - "$api/") in
  2?? | 3?? | 404) ;;
  *) return 1 ;;
  esac
}

from_manager=$(output SecretSource)
[ "$from_manager" != parameter ] || from_manager=''
[ -z "$dry_run" ] || from_manager=$version
if [ -n "$from_manager" ] && [ -z "$version" ]; then
  die 'the secret is in Secrets Manager: add a new version (aws secretsmanager put-secret-value) and pass its id with --secret-version' 2
elif [ -n "$from_manager" ] && [ -z "$(parameter SecretVersionId)" ]; then
  die 'the stack uses whichever secret version is current, so a new one would take effect on one side first: pin the present one (deploy.sh set SecretVersionId=…), then rotate' 2
elif [ -z "$from_manager" ] && [ -n "$version" ]; then
  die 'the secret is a stack parameter, not in Secrets Manager: omit --secret-version' 2
fi

step 1 'make the function accept the old and the new secret'
next=''
[ -n "$dry_run" ] || next=$(live_setting lambda_auth_next)
if [ -n "$next" ]; then
  note 'it already accepts a second secret: continuing that rotation'
  # Another secret must not replace it: the distribution may already send it.
  [ "$version" = "$(parameter SecretNextVersionId)" ] || die "a rotation to version $(parameter SecretNextVersionId) has begun: finish it first, with that version as --secret-version" 2
  [ -z "$NEW_LAMBDA_AUTH" ] || [ "$NEW_LAMBDA_AUTH" = "$next" ] || die 'a rotation to another secret has begun: finish it first, by running rotate.sh without NEW_LAMBDA_AUTH' 2
  NEW_LAMBDA_AUTH=$next
elif [ -n "$version" ]; then
  set_stack SecretSent=current SecretNextVersionId="$version"
else
  [ -n "$NEW_LAMBDA_AUTH" ] || would 'generate the new secret'
  [ -n "$NEW_LAMBDA_AUTH" ] || NEW_LAMBDA_AUTH=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
  export NEW_LAMBDA_AUTH
  set_stack SecretSent=current --set-from LambdaAuthNext=NEW_LAMBDA_AUTH
fi
[ -n "$dry_run" ] || NEW_LAMBDA_AUTH=$(live_setting lambda_auth_next)
[ -n "$dry_run" ] || [ -n "$NEW_LAMBDA_AUTH" ] || die 'the live version has no second secret; nothing else was changed: see deploy.sh status'
export NEW_LAMBDA_AUTH
accepts "$NEW_LAMBDA_AUTH" || die 'the API does not accept the new secret; nothing else was changed: run rotate.sh again once the API accepts it'

step 2 'make the distribution send the new secret'
if [ -n "$dry_run" ] || [ "$(parameter SecretSent)" != next ]; then set_stack SecretSent=next; fi
run aws cloudfront wait distribution-deployed --id "$(output DistributionId)"
if [ -n "$dry_run" ]; then
  [ -z "$metrics" ] || would 'wait until CloudWatch counts no request with the old secret for three minutes'
elif [ -n "$metrics" ]; then
  drained=''
  for _ in $(seq 60); do
    sum=$(metric_sum nearedge SecretCurrent "Name=service,Value=$function")
    case $sum in 0 | 0.0 | None) drained=yes; break ;; esac
    note "$sum requests with the old secret in three minutes; waiting"
    sleep 30
  done
  [ -n "$drained" ] || die 'requests still arrive with the old secret after half an hour: another distribution or an API client sends it. Both secrets are accepted; correct that sender and run rotate.sh again'
fi

step 3 'make the function accept the new secret only'
if [ -n "$version" ]; then
  set_stack SecretVersionId="$version" SecretNextVersionId= SecretSent=current
else
  set_stack --set-from LambdaAuth=NEW_LAMBDA_AUTH LambdaAuthNext= SecretSent=current
fi
accepts "$NEW_LAMBDA_AUTH" || die 'the API no longer accepts the new secret: run deploy.sh back, then see deploy.sh status'
[ -n "$dry_run" ] || echo 'done: only the new secret is accepted'
