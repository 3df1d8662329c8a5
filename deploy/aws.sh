# shellcheck shell=bash
# Stack, credentials and cache invalidation for deploy.sh, experiment.sh, rotate.sh and variant.sh. Sourced, never run.

# shellcheck source-path=SCRIPTDIR source=cli.sh
. "$(dirname "${BASH_SOURCE[0]}")/cli.sh"

# Private to this user (mode 700): deploy.sh writes parameters with secrets here.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A dry run reads and changes nothing: it knows neither the stack nor the bucket. It prints conditions and intentions as comments,
# and outputs of the stack by their names.

# plan COMMAND…: a dry run prints the command, quoted for a shell.
plan() {
  [ -n "$dry_run" ] || return 0
  printf '+'
  printf ' %q' "$@"
  printf '\n'
}
# run COMMAND…: runs a command that changes something; a dry run prints it.
run() { if [ -n "$dry_run" ]; then plan "$@"; else "$@"; fi; }
# would TEXT: a dry run prints what the next commands would do, and under which condition.
would() { [ -z "$dry_run" ] || printf '# would %s\n' "$1"; }
# done_note TEXT: reports a change that was made; a dry run makes none.
done_note() { [ -n "$dry_run" ] || note "$1"; }
# query PLACEHOLDER COMMAND…: runs a command that reads something; a dry run prints PLACEHOLDER instead.
query() {
  local placeholder=$1
  shift
  if [ -n "$dry_run" ]; then printf '%s\n' "$placeholder"; else "$@"; fi
}

# Sets `region` and `partition` from the environment or, if the AWS CLI is installed, from its configuration.
require_region() {
  region=${AWS_REGION:-${AWS_DEFAULT_REGION:-}}
  if [ -z "$region" ] && command -v aws >/dev/null; then region=$(aws configure get region || true); fi
  [ -n "$region" ] || die 'no region: set AWS_REGION, such as AWS_REGION=eu-west-1 or AWS_REGION=cn-north-1' 2
  [[ $region =~ ^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$ ]] || die "AWS_REGION=$region: expected a region, such as eu-west-1 or cn-north-1" 2
  export AWS_REGION=$region AWS_DEFAULT_REGION=$region AWS_PAGER=''
  # shellcheck disable=SC2034 # deploy.sh reads it
  case $region in
  cn-north-1 | cn-northwest-1) partition=aws-cn ;;
  cn-*) die "AWS_REGION=$region: AWS China has the regions cn-north-1 and cn-northwest-1" 2 ;;
  *) partition=aws ;;
  esac
}
# Checks the AWS CLI, the region and the credentials. Sets `region`, `partition` and `account`.
require_account() {
  if [ -z "$dry_run" ] && ! command -v aws >/dev/null; then
    die 'aws is missing: install the AWS CLI (https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html), or use --dry-run' 2
  fi
  require_region
  # shellcheck disable=SC2034 # deploy.sh reads it
  if [ -n "$dry_run" ]; then
    account=ACCOUNT
    # rotate.sh runs deploy.sh, which need not repeat it.
    [ -n "${NEAREDGE_DRY_RUN:-}" ] || printf '# dry run for the stack %s in %s: nothing is read or changed; names stand for values of the stack\n' "$stack" "$region"
    export NEAREDGE_DRY_RUN=yes
  elif ! account=$(aws sts get-caller-identity --query Account --output text 2>"$work/error"); then
    die "no valid AWS credentials: run \`aws configure\` or \`aws sso login\`, or set AWS_PROFILE ($(tail -1 "$work/error"))" 2
  fi
}

# Status, outputs and parameters of the stack: kind, name and value, separated by tabs, one per line.
facts=''
# Loads `facts`; returns 1 if the stack does not exist. Any other error exits: `up` creates a secret for a new stack, and
# must not replace that of an existing one.
load_stack() {
  facts=$(aws cloudformation describe-stacks --stack-name "$stack" --output text \
    --query "Stacks[0].[[['status', '', StackStatus]], Outputs[].['output', OutputKey, OutputValue], Parameters[].['parameter', ParameterKey, ParameterValue]][]" 2>"$work/error") && return
  grep -q 'does not exist' "$work/error" || die "cannot read the stack $stack from CloudFormation: $(tail -1 "$work/error")"
  return 1
}
fact() { awk -F '\t' -v kind="$1" -v name="$2" '$1 == kind && $2 == name { print $3 }' <<<"$facts"; }
output() { query "$1" fact output "$1"; }
parameter() { query "$1" fact parameter "$1"; }
stack_exists() { [ -z "$dry_run" ] && { [ -n "$facts" ] || load_stack; }; }
require_stack() { [ -n "$dry_run" ] || stack_exists || die "no stack $stack in $region: create it with deploy.sh up, or name another with --stack"; }
# During a rollout this is the old version; the alias's routing configuration holds the new one.
live_version() { query VERSION aws lambda get-alias --function-name "$(output FunctionName)" --name live --query FunctionVersion --output text; }
# live_setting NAME [VERSION]: prints a setting of the live version, or of VERSION; nothing if it is not set.
live_setting() {
  local value
  value=$(aws lambda get-function-configuration --function-name "$(output FunctionName)" --qualifier "${2:-live}" --query "Environment.Variables.$1" --output text) || return
  [ "$value" = None ] || printf '%s' "$value"
}

# The front door of the stack (parameter FrontDoor). A template before this parameter, and that of AWS China, has only the HTTP API.
front_door() {
  local door
  door=$(fact parameter FrontDoor)
  printf '%s' "${door:-HttpApi}"
}
# metric_sum NAMESPACE METRIC DIMENSION…: prints the sum of a metric from 6 to 3 minutes ago, because CloudWatch has the counts of a
# minute some minutes later.
metric_sum() {
  local namespace=$1 metric=$2
  shift 2
  aws cloudwatch get-metric-statistics --namespace "$namespace" --metric-name "$metric" --dimensions "$@" \
    --start-time "$(($(date +%s) - 360))" --end-time "$(($(date +%s) - 180))" --period 180 --statistics Sum --query 'sum(Datapoints[].Sum)' --output text
}

# invalidate PATH…: invalidates paths in the distribution and waits for completion.
invalidate() {
  local distribution invalidation ttl
  distribution=$(output DistributionId)
  if [ -n "$dry_run" ]; then
    would "first wait CacheTtlSecs + 1 seconds if Caching is on, until the function's cached copies have expired; then:"
    plan aws cloudfront create-invalidation --distribution-id "$distribution" --paths "$@"
    plan aws cloudfront wait invalidation-completed --distribution-id "$distribution" --id INVALIDATION
    return
  fi
  if [ "$(parameter Caching)" = on ]; then
    # Until then the function may send the distribution its own cached copy.
    ttl=$(parameter CacheTtlSecs)
    note "waiting $((ttl + 1)) s until the function's cached copies have expired"
    sleep "$((ttl + 1))"
  fi
  invalidation=$(aws cloudfront create-invalidation --distribution-id "$distribution" --paths "$@" --query Invalidation.Id --output text)
  note "invalidating $* in the distribution"
  aws cloudfront wait invalidation-completed --distribution-id "$distribution" --id "$invalidation"
}
