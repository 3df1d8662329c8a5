#!/usr/bin/env bash
# From an empty account to a running A/B test, in AWS and in AWS China.
#
#   deploy/deploy.sh up [--artifact ZIP] [--set Name=Value]…   make or update the stack
#   deploy/deploy.sh set Name=Value…                          change parameters; the code stays what it is
#   deploy/deploy.sh site DIR [--delete] [--force]            upload the site
#   deploy/deploy.sh status                                   what runs, and what to try
#   deploy/deploy.sh back [VERSION]                           to the version before, at once
#   deploy/deploy.sh purge [PATH]…                            have the distribution ask again ('/*')
#   deploy/deploy.sh down                                     delete the stack; the bucket stays
#
#   --stack NAME       the stack (nearedge, or STACK)
#   --dry-run          only print what would be run
#   --artifact ZIP     what deploy/build.sh made (target/deploy/nearedge-arm64.zip)
#   --artifact-bucket NAME   where it goes; made when it is not there (nearedge-ACCOUNT-REGION)
#   --set Name=Value   a parameter of the template (deploy/aws.yaml, deploy/aws-cn.yaml); kept from then on
#   --set-from Name=VARIABLE  the same, its value in an environment variable: for secrets
#   --cache-control VALUE    for what is uploaded (public, max-age=60)
#   --immutable GLOB   files whose names change with their content: kept for a year; can be repeated
#   --delete           remove from the bucket what is not in DIR, last
#   --force            site: upload unchanged files too, when their headers are to change;
#                      up, set: bring back the code that `back` left
#
# Region and credentials are the AWS CLI's: AWS_REGION, AWS_PROFILE. In cn-north-1 and cn-northwest-1 the template is that of
# AWS China. The first `up` makes a secret unless LambdaAuth or SecretArn is given.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=aws.sh
. "$here/aws.sh"

# A command line can be read by others.
no_secret() {
  case $1 in LambdaAuth=?* | LambdaAuthNext=?*) die "${1%%=*} is a secret: put it into an environment variable and give --set-from ${1%%=*}=VARIABLE" 2 ;; esac
}

command=${1:-}
[ $# -gt 0 ] && shift
artifact='' artifact_bucket='' delete='' force='' cache_control='public, max-age=60'
settings=() secrets=() immutable=() words=()
while [ $# -gt 0 ]; do
  case $1 in
  --dry-run) dry_run=yes ;;
  --delete) delete=yes ;;
  --force) force=yes ;;
  --stack | --artifact | --artifact-bucket | --cache-control | --immutable | --set | --set-from)
    [ $# -gt 1 ] || die "$1 needs a value: deploy.sh --help" 2
    case $1 in
    --stack) stack=$2 ;;
    --artifact) artifact=$2 ;;
    --artifact-bucket) artifact_bucket=$2 ;;
    --cache-control) cache_control=$2 ;;
    --immutable) immutable+=("$2") ;;
    --set | --set-from)
      [[ $2 =~ ^[A-Za-z]+= ]] || die "$1 $2: use Name=Value, with a parameter of the template" 2
      if [ "$1" = --set ]; then
        no_secret "$2"
        settings+=("$2")
      else
        variable=${2#*=}
        [ -n "${!variable:-}" ] || die "$1 $2: the environment variable $variable is not set" 2
        secrets+=("$2")
      fi
      ;;
    esac
    shift
    ;;
  -h | --help) usage; exit 0 ;;
  -*) die "there is no $1: deploy.sh --help" 2 ;;
  *) words+=("$1") ;;
  esac
  shift
done

# Parameters of the distribution or of nothing that runs: a new value makes no new version of the function.
beside='^(Release|SecretSent|CertificateArn|CertificateId|Caching|CacheDefaultTtl|PriceClass|ViewerProtocol|WebAclArn|LogRetentionDays|Watch|AlarmEmail|AdditionalMetrics|ApiPort|Rollout)='

checksum() { if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi | cut -c1-64; }
json_text() { sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' <<<"$1"; }
is_set() { local each; for each in ${settings[@]+"${settings[@]}"} ${secrets[@]+"${secrets[@]}"}; do [ "${each%%=*}" = "$1" ] && return; done; return 1; }

# The parameters that the stack has, a Name=Value a line; a secret's value is stars.
parameters() { awk -F '\t' '$1 == "parameter" { print $2 "=" $3 }' <<<"$known"; }

up() {
  local digest key architecture=''
  # What runs here decides, unless the artifact says otherwise: an architecture that is set once stays set.
  if [ -z "$artifact" ]; then
    [ -n "$dry_run" ] || ! stack_exists || architecture=$(parameter Architecture)
    artifact="$here/../target/deploy/nearedge-${architecture:-arm64}.zip"
  fi
  if ! is_set Architecture; then
    case $artifact in
    *x86_64*) settings+=(Architecture=x86_64) ;;
    *arm64*) settings+=(Architecture=arm64) ;;
    esac
  fi
  [ -f "$artifact" ] || [ -n "$dry_run" ] || die "there is no $artifact: deploy/build.sh makes it"
  [ -n "$artifact_bucket" ] || artifact_bucket="nearedge-$account-$region"
  # Named by its content: what is there is never overwritten, and the way back never needs a build.
  digest=$([ -f "$artifact" ] && checksum "$artifact" || echo DIGEST)
  key="nearedge/$digest.zip"
  if [ -n "$dry_run" ] || ! aws s3api head-bucket --bucket "$artifact_bucket" >/dev/null 2>&1; then
    run aws s3 mb "s3://$artifact_bucket"
    run aws s3api put-public-access-block --bucket "$artifact_bucket" --public-access-block-configuration \
      BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true
  fi
  if [ -n "$dry_run" ] || ! aws s3api head-object --bucket "$artifact_bucket" --key "$key" >/dev/null 2>&1; then
    run aws s3 cp --only-show-errors "$artifact" "s3://$artifact_bucket/$key"
  fi
  settings+=("ArtifactBucket=$artifact_bucket" "ArtifactKey=$key")
  if [ -n "$dry_run" ] || ! stack_exists; then
    if ! is_set LambdaAuth && ! is_set SecretArn; then
      # shellcheck disable=SC2034 # read by its name
      made_secret=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
      secrets+=(LambdaAuth=made_secret)
      note "a secret is made; deploy.sh status says how to read it"
    fi
  fi
  deploy
}

# The stack with `settings` and `secrets` on top of what it has.
deploy() {
  local template="$here/$partition.yaml" previous='' changes='' digest label file pair variable separator='' former=''
  [ -n "$dry_run" ] || ! stack_exists || previous=$(parameters)
  [ -n "$artifact_bucket" ] || artifact_bucket=$(sed -n 's/^ArtifactBucket=//p' <<<"$previous")

  # Release names the code, the template and the time, and stays what it is where nothing changes for the function: then there
  # is no new version either.
  digest=$(printf '%s\n' "$previous" "${settings[@]}" | sed -n 's#^ArtifactKey=nearedge/\(.\{8\}\).*#\1#p' | tail -1)
  label=$(checksum "$template" | cut -c1-8)
  [[ $(sed -n 's/^Release=//p' <<<"$previous") == *-"$label"-* ]] && [ ${#secrets[@]} = 0 ] || changes=yes
  for pair in "${settings[@]}"; do
    grep -Eq "$beside" <<<"$pair" || grep -Fxq -- "$pair" <<<"$previous" || changes=yes
  done
  [ -z "$changes" ] || settings+=("Release=$digest-$label-$(date +%s)")

  # CodeDeploy starts from the version that the stack knows; after `back` the alias is on another.
  if stack_exists && [ "$(live_version)" != "$(output FunctionVersion)" ]; then
    if [ -z "$force" ] && [ "$digest" = "$(sed -n 's#^ArtifactKey=nearedge/\(.\{8\}\).*#\1#p' <<<"$previous")" ]; then
      die "version $(live_version) answers since \`back\`, and this would bring the code of $(output FunctionVersion) back: \`up\` with another artifact, or --force where the code was not what was wrong"
    fi
    if ! is_set Rollout; then
      former=$(parameter Rollout)
      note 'the alias was moved by hand: the new version takes over at once, this time'
      settings+=(Rollout=AllAtOnce)
    fi
  fi

  file=$(mktemp)
  # shellcheck disable=SC2064 # the names as they are now
  trap "rm -f '$file' '$said'" EXIT
  {
    printf '['
    for pair in "${settings[@]}"; do
      printf '%s\n"%s"' "$separator" "$(json_text "$pair")"
      separator=,
    done
    for pair in ${secrets[@]+"${secrets[@]}"}; do
      variable=${pair#*=}
      printf ',\n"%s"' "$(json_text "${pair%%=*}=${!variable}")"
    done
    printf '\n]\n'
  } >"$file"
  if [ -n "$dry_run" ]; then
    printf '# the parameters, in a file so that no secret is on a command line:\n'
    printf '#   %s\n' "${settings[@]}" ${secrets[@]+"${secrets[@]/%=*/=(secret)}"}
    file=PARAMETERS.json
  fi
  run aws cloudformation deploy --stack-name "$stack" --template-file "$template" --capabilities CAPABILITY_IAM \
    --s3-bucket "${artifact_bucket:-ARTIFACTS}" --s3-prefix nearedge --no-fail-on-empty-changeset --parameter-overrides "file://$file" ||
    failed_because
  [ -n "$dry_run" ] || learn
  if [ -n "$former" ] && [ "$former" != AllAtOnce ]; then
    settings=("Rollout=$former") secrets=()
    deploy
  fi
}

# What CloudFormation says first is the cause; the rest follows from it.
failed_because() {
  aws cloudformation describe-stack-events --stack-name "$stack" --output text --max-items 60 \
    --query "StackEvents[?ends_with(ResourceStatus, 'FAILED')].[LogicalResourceId, ResourceStatusReason]" |
    grep -v 'cancelled$' | tail -3 >&2 || true
  die "the stack $stack is as it was before: mend the cause above and run it again. A stack that failed to be made has to be deleted first (deploy.sh down)"
}

site() {
  local dir=${words[0]:-} bucket verb=(sync) pass each exclude_immutable=()
  [ -d "$dir" ] || die "site needs the folder to upload: deploy.sh site ./public" 2
  bucket=$(output BucketName)
  [ -z "$force" ] || verb=(cp --recursive)
  for each in ${immutable[@]+"${immutable[@]}"}; do exclude_immutable+=(--exclude "$each"); done
  # Pages last, so that none names what is not there yet; a type that is text says its charset.
  upload() { # CACHE-CONTROL CONTENT-TYPE FILTER…
    local cache=$1 type=$2
    shift 2
    run aws s3 "${verb[@]}" --only-show-errors "$dir" "s3://$bucket/" "$@" --cache-control "$cache" ${type:+--content-type "$type"}
  }
  typed=(css:text/css js:text/javascript mjs:text/javascript svg:image/svg+xml json:application/json txt:text/plain xml:application/xml html:text/html)
  for each in ${immutable[@]+"${immutable[@]}"}; do
    upload 'public, max-age=31536000, immutable' '' --exclude '*' --include "$each"
  done
  pass=()
  for each in "${typed[@]}"; do pass+=(--exclude "*.${each%%:*}"); done
  upload "$cache_control" '' "${pass[@]}" ${exclude_immutable[@]+"${exclude_immutable[@]}"}
  for each in "${typed[@]}"; do
    upload "$cache_control" "${each#*:}; charset=utf-8" --exclude '*' --include "*.${each%%:*}" ${exclude_immutable[@]+"${exclude_immutable[@]}"}
  done
  [ -z "$delete" ] || run aws s3 sync --only-show-errors --delete "$dir" "s3://$bucket/"
}

status() {
  local function
  function=$(output FunctionName)
  printf 'stack     %s, %s\n' "$stack" "$(ask STATUS of_stack status '')"
  printf 'version   %s is live%s\n' "$(live_version)" "$(
    ask '' aws lambda get-alias --function-name "$function" --name live --query 'RoutingConfig.AdditionalVersionWeights' --output text | sed 's/^None$//;s/^/, with /;s/^, with $//'
  )"
  printf 'address   %s\nAPI       %s\nbucket    %s\n' "$(output Address)" "$(output ApiAddress)" "$(output BucketName)"
  # shellcheck disable=SC2016 # it is for the reader's shell
  printf '\nThe secret, into this shell:\n  LAMBDA_AUTH=$(aws lambda get-function-configuration --function-name %s --qualifier live --query Environment.Variables.lambda_auth --output text)\nTry:\n' "$function"
  local try
  for try in 1 2 3 4 5 6 7; do printf '  %s\n' "$(output Try$try)"; done
  # shellcheck disable=SC2016
  printf 'All of it:\n  LAMBDA_AUTH=$LAMBDA_AUTH deploy/smoke.sh %s %s\n' "$(output Address)" "$(output ApiAddress)"
}

back() {
  local function arn live next left to=${words[0]:-} deployment
  function=$(output FunctionName)
  live=$(live_version)
  # A rollout under way would move the alias again. It is not to roll back by itself either: that comes later than what follows.
  for deployment in $(ask '' aws deploy list-deployments --include-only-statuses InProgress --query 'deployments[]' --output text 2>/dev/null || true); do
    case $(aws deploy get-deployment --deployment-id "$deployment" --query 'deploymentInfo.applicationName' --output text) in
    "$stack"-RolloutApplication-*) run aws deploy stop-deployment --deployment-id "$deployment" --no-auto-rollback-enabled ;;
    esac
  done
  # While a rollout is under way the alias is still of the version before, with a share for the next.
  # shellcheck disable=SC2016 # the backquotes are JMESPath's
  next=$(ask '' aws lambda get-alias --function-name "$function" --name live --query 'keys(RoutingConfig.AdditionalVersionWeights || `{}`)' --output text)
  [ -z "$next" ] || [ -n "$to" ] || to=$live
  arn=$(ask ARN aws lambda get-function-configuration --function-name "$function" --query FunctionArn --output text)
  # Those that were left before are no way back: the one before a bad one may be bad too.
  left=$(ask '' aws lambda list-tags --resource "$arn" --query 'Tags.left' --output text | sed 's/^None$//')
  if [ -z "$to" ]; then
    to=$(ask BEFORE aws lambda list-versions-by-function --function-name "$function" --query 'Versions[].Version' --output text |
      tr '\t' '\n' | { grep -E '^[0-9]+$' || true; } | sort -n | awk -v live="$live" -v left=" $left " '$1 < live && !index(left, " " $1 " ")' | tail -1)
    [ -z "$dry_run" ] || to=BEFORE
  fi
  [ -n "$to" ] || die "there is no version before $live${left:+ but $left, which were left before}: deploy.sh back VERSION names one"
  run aws lambda update-alias --function-name "$function" --name live --function-version "$to" --routing-config 'AdditionalVersionWeights={}' --output text --query FunctionVersion >/dev/null
  live=${next:-$live}
  run aws lambda tag-resource --resource "$arn" --tags "left=$(tail -c 200 <<<"$left $live" | sed 's/^ *//')"
  note "version $to answers instead of $live. The stack still describes $live: the next \`up\` puts a new version in place of both"
}

case $command in
up | set | site | status | back | purge | down) ;;
'' | -h | --help | help) usage; exit 0 ;;
*) die "there is no command $command: deploy.sh --help" 2 ;;
esac
ready
case $command in
up)
  up
  [ -n "$dry_run" ] || status
  ;;
set)
  need_stack
  for each in ${words[@]+"${words[@]}"}; do
    [[ $each =~ ^[A-Za-z]+= ]] || die "set $each: use Name=Value, with a parameter of the template" 2
    no_secret "$each"
    settings+=("$each")
  done
  [ ${#settings[@]} -gt 0 ] || [ ${#secrets[@]} -gt 0 ] || die 'set needs Name=Value: deploy.sh set MemorySize=512' 2
  deploy
  ;;
site) need_stack; site ;;
status) need_stack; status ;;
back) need_stack; back ;;
purge) need_stack; [ ${#words[@]} -gt 0 ] || words=('/*'); invalidate "${words[@]}" ;;
down)
  need_stack
  bucket=$(output BucketName)
  run aws cloudformation delete-stack --stack-name "$stack"
  run aws cloudformation wait stack-delete-complete --stack-name "$stack"
  note "the stack is gone; the bucket $bucket and its objects are not: aws s3 rb --force s3://$bucket"
  ;;
esac
