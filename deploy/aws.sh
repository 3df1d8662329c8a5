# shellcheck shell=bash
# Stack, credentials and cache invalidation for deploy.sh, rotate.sh and variant.sh. Sourced, never run.

# shellcheck source-path=SCRIPTDIR source=cli.sh
. "$(dirname "${BASH_SOURCE[0]}")/cli.sh"

# Private to this user (mode 700): deploy.sh writes parameters with secrets here.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# run COMMAND…: runs a command that changes something; a dry run prints it, quoted for a shell.
run() {
  if [ -n "$dry_run" ]; then
    printf '+'
    printf ' %q' "$@"
    printf '\n'
  else
    "$@"
  fi
}
# query PLACEHOLDER COMMAND…: runs a command that reads something; a dry run prints PLACEHOLDER instead.
query() {
  local placeholder=$1
  shift
  if [ -n "$dry_run" ]; then printf '%s\n' "$placeholder"; else "$@"; fi
}

# Checks the AWS CLI, the region and the credentials. Sets `region`, `partition` and `account`.
require_account() {
  region=${AWS_REGION:-${AWS_DEFAULT_REGION:-}}
  if [ -z "$dry_run" ]; then
    command -v aws >/dev/null || die 'aws is missing: install the AWS CLI (https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html), or use --dry-run' 2
    [ -n "$region" ] || region=$(aws configure get region || true)
  fi
  [ -z "$dry_run" ] || region=${region:-us-east-1}
  [ -n "$region" ] || die 'no region: set AWS_REGION, such as eu-west-1 or cn-north-1' 2
  export AWS_REGION=$region AWS_DEFAULT_REGION=$region AWS_PAGER=''
  # shellcheck disable=SC2034 # deploy.sh reads it
  case $region in cn-*) partition=aws-cn ;; *) partition=aws ;; esac
  # shellcheck disable=SC2034 # deploy.sh reads it
  if [ -n "$dry_run" ]; then
    account=ACCOUNT
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

# invalidate PATH…: invalidates paths in the distribution and waits for completion.
invalidate() {
  local distribution invalidation ttl
  distribution=$(output DistributionId)
  if [ "$(parameter Caching)" = on ]; then
    # Until then the function may send the distribution its own cached copy.
    ttl=$(parameter CacheTtlSecs)
    note "waiting $((ttl + 1)) s until the function's cached copies have expired"
    run sleep "$((ttl + 1))"
  fi
  if [ -n "$dry_run" ]; then
    run aws cloudfront create-invalidation --distribution-id "$distribution" --paths "$@"
  else
    invalidation=$(aws cloudfront create-invalidation --distribution-id "$distribution" --paths "$@" --query Invalidation.Id --output text)
    note "invalidating $* in the distribution"
    aws cloudfront wait invalidation-completed --distribution-id "$distribution" --id "$invalidation"
  fi
}
