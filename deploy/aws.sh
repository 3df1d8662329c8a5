# shellcheck shell=bash
# What deploy.sh, rotate.sh and variant.sh share: sourced, never run.

program=$(basename "$0")
# What a command says on its standard error, where that has to be read.
said=$(mktemp)
trap 'rm -f "$said"' EXIT
stack=${STACK:-nearedge} dry_run=''

die() { printf '%s: %s\n' "$program" "$1" >&2; exit "${2:-1}"; }
note() { printf '%s: %s\n' "$program" "$1" >&2; }
# The comment at the top of a script is its help.
usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; }

# run COMMAND…: does what changes something; a dry run prints it, as it could be typed.
run() {
  if [ -n "$dry_run" ]; then
    printf '+'
    printf ' %q' "$@"
    printf '\n'
  else
    "$@"
  fi
}
# ask PLACEHOLDER COMMAND…: prints what a command finds out; a dry run asks nobody.
ask() {
  local placeholder=$1
  shift
  if [ -n "$dry_run" ]; then printf '%s\n' "$placeholder"; else "$@"; fi
}

# The tools, a region and credentials are there, or one line says what to do. Sets region, partition, account.
ready() {
  region=${AWS_REGION:-${AWS_DEFAULT_REGION:-}}
  if [ -z "$dry_run" ]; then
    command -v aws >/dev/null || die 'aws is missing: install the AWS CLI (https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html), or look first with --dry-run' 2
    [ -n "$region" ] || region=$(aws configure get region || true)
  fi
  [ -z "$dry_run" ] || region=${region:-us-east-1}
  [ -n "$region" ] || die 'no region: set AWS_REGION, such as eu-west-1 or cn-north-1' 2
  export AWS_REGION=$region AWS_DEFAULT_REGION=$region AWS_PAGER=''
  # shellcheck disable=SC2034 # for those who source this
  case $region in cn-*) partition=aws-cn ;; *) partition=aws ;; esac
  local problem
  # shellcheck disable=SC2034 # for those who source this
  if [ -n "$dry_run" ]; then
    account=ACCOUNT
  elif ! account=$(aws sts get-caller-identity --query Account --output text 2>"$said"); then
    problem=$(tail -1 "$said")
    die "AWS does not know who is asking: run \`aws configure\` or \`aws sso login\`, or set AWS_PROFILE ($problem)" 2
  fi
}

# The stack's outputs and parameters, a kind, a name and a value a line; asked once, and again after a change. False when there is
# no such stack. Not to know is another thing: whoever took it for that would make a new secret for a stack that has one.
known=''
learn() {
  known=$(aws cloudformation describe-stacks --stack-name "$stack" --output text \
    --query "Stacks[0].[[['status', '', StackStatus]], Outputs[].['output', OutputKey, OutputValue], Parameters[].['parameter', ParameterKey, ParameterValue]][]" 2>"$said") && return
  grep -q 'does not exist' "$said" || die "CloudFormation does not say whether there is a stack $stack: $(tail -1 "$said")"
  return 1
}
of_stack() { awk -F '\t' -v kind="$1" -v name="$2" '$1 == kind && $2 == name { print $3 }' <<<"$known"; }
output() { ask "$1" of_stack output "$1"; }
parameter() { ask "$1" of_stack parameter "$1"; }
stack_exists() { [ -z "$dry_run" ] && { [ -n "$known" ] || learn; }; }
need_stack() { [ -n "$dry_run" ] || stack_exists || die "there is no stack $stack in $region: deploy.sh up makes one, --stack names another"; }
# What the live alias answers with: the version, and beside it while a rollout is under way the share of the next.
live_version() { ask VERSION aws lambda get-alias --function-name "$(output FunctionName)" --name live --query FunctionVersion --output text; }

# A line of curl's configuration with the secret on standard input as the header, which is then on no command line.
secret_header() { sed -e 's/[\\"]/\\&/g' -e 's/.*/header = "lambda_auth: &"/'; }

# Has the distribution's edges ask again for these paths, and waits.
invalidate() {
  local distribution invalidation ttl
  distribution=$(output DistributionId)
  if [ "$(parameter Caching)" = on ]; then
    ttl=$(parameter CacheTtlSecs)
    note "the function itself may keep what was there for $ttl s: the distribution asks after that"
    run sleep "$((ttl + 1))"
  fi
  if [ -n "$dry_run" ]; then
    run aws cloudfront create-invalidation --distribution-id "$distribution" --paths "$@"
  else
    invalidation=$(aws cloudfront create-invalidation --distribution-id "$distribution" --paths "$@" --query Invalidation.Id --output text)
    note "the distribution forgets $*"
    aws cloudfront wait invalidation-completed --distribution-id "$distribution" --id "$invalidation"
  fi
}
