#!/usr/bin/env bash
# Creates, updates and rolls back the stack of an A/B test, in AWS and in AWS China.
#
#   deploy/deploy.sh up [--artifact ZIP] [--set Name=Value]…  create or update the stack
#   deploy/deploy.sh set Name=Value…                          change parameters; keep the code
#   deploy/deploy.sh site DIR [--delete] [--force]            upload the site
#   deploy/deploy.sh status                                   show version, addresses and commands to try
#   deploy/deploy.sh back [VERSION]                           roll back to the previous version, at once
#   deploy/deploy.sh purge [PATH]…                            invalidate paths in the distribution (/*)
#   deploy/deploy.sh down                                     delete the stack; keep the bucket
#
#   --stack NAME              stack name (environment variable STACK, or nearedge)
#   --dry-run                 print the commands instead of running them
#   --artifact ZIP            zip from deploy/build.sh (target/deploy/nearedge-arm64.zip)
#   --artifact-bucket NAME    bucket for the zip; created if missing (nearedge-ACCOUNT-REGION)
#   --set Name=Value          set a template parameter (deploy/aws.yaml, deploy/aws-cn.yaml); later updates keep it
#   --set-from Name=VARIABLE  the same, with the value of an environment variable: for secrets
#   --cache-control VALUE     Cache-Control of uploaded objects (public, max-age=60)
#   --immutable GLOB          files whose names change with their content: Cache-Control of one year; repeatable
#   --delete                  after the upload, delete objects that are not in DIR
#   --force                   site: upload unchanged files too, to change their headers;
#                             up, set: redeploy the code that `back` rolled back
#
# The AWS CLI supplies region and credentials: AWS_REGION, AWS_PROFILE. cn-north-1 and cn-northwest-1 use the template for
# AWS China. The first `up` generates a secret unless LambdaAuth or SecretArn is set.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=aws.sh
. "$(dirname "$0")/aws.sh"

artifact='' artifact_bucket='' delete='' force='' cache_control='public, max-age=60'
settings=() secrets=() immutable=()

# add_setting SOURCE Name=Value. SOURCE, the option or command that has it, is for the error message.
add_setting() {
  [[ $2 =~ ^[A-Za-z]+= ]] || die "$1 $2: use Name=Value, with a parameter of the template" 2
  # A command line is visible to other processes.
  case $2 in LambdaAuth=?* | LambdaAuthNext=?*) die "${2%%=*} is a secret: put it into an environment variable and use --set-from ${2%%=*}=VARIABLE" 2 ;; esac
  settings+=("$2")
}
# add_secret SOURCE Name=VARIABLE
add_secret() {
  local variable=${2#*=}
  [[ $2 =~ ^[A-Za-z]+= ]] || die "$1 $2: use Name=VARIABLE, with a parameter of the template" 2
  [ -n "${!variable:-}" ] || die "$1 $2: the environment variable $variable is not set" 2
  secrets+=("$2")
}
set_option() {
  case $1 in
  --delete) delete=yes ;;
  --force) force=yes ;;
  --artifact) need_value "$@"; artifact=$2 ;;
  --artifact-bucket) need_value "$@"; artifact_bucket=$2 ;;
  --cache-control) need_value "$@"; cache_control=$2 ;;
  --immutable) need_value "$@"; immutable+=("$2") ;;
  --set) need_value "$@"; add_setting "$1" "$2" ;;
  --set-from) need_value "$@"; add_secret "$1" "$2" ;;
  *) return 1 ;;
  esac
}
command=${1:-}
[ $# -gt 0 ] && shift
parse_arguments "$@"

# A new value of one of these publishes no new version of the function: they concern the distribution or the stack alone.
outside_function='^(Release|SecretSent|CertificateArn|CertificateId|Caching|CacheDefaultTtl|PriceClass|ViewerProtocol|WebAclArn|LogRetentionDays|Watch|AlarmEmail|AdditionalMetrics|ApiPort|Rollout)='

checksum() { if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi | cut -c1-64; }
json_text() { sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' <<<"$1"; }
is_set() { local each; for each in ${settings[@]+"${settings[@]}"} ${secrets[@]+"${secrets[@]}"}; do [ "${each%%=*}" = "$1" ] && return; done; return 1; }

# Prints the stack's parameters as Name=Value lines; CloudFormation masks secrets with stars.
parameters() { awk -F '\t' '$1 == "parameter" { print $2 "=" $3 }' <<<"$facts"; }

up() {
  local digest key architecture=''
  # Without --artifact, keep the stack's architecture.
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
  [ -f "$artifact" ] || [ -n "$dry_run" ] || die "no file $artifact: build it with deploy/build.sh"
  [ -n "$artifact_bucket" ] || artifact_bucket="nearedge-$account-$region"
  # The key is a hash of the content: no upload overwrites an older artifact, and a rollback needs no build.
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
      # shellcheck disable=SC2034 # deploy reads it by name
      new_secret=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
      secrets+=(LambdaAuth=new_secret)
      note 'generated a secret; deploy.sh status prints the command that reads it'
    fi
  fi
  deploy
}

# Creates the stack, or updates it with `settings` and `secrets`; other parameters keep their values.
deploy() {
  local template="$here/$partition.yaml" previous='' changed='' digest label file="$work/parameters.json" pair variable separator='' usual_rollout=''
  [ -n "$dry_run" ] || ! stack_exists || previous=$(parameters)
  [ -n "$artifact_bucket" ] || artifact_bucket=$(sed -n 's/^ArtifactBucket=//p' <<<"$previous")

  # A new Release publishes a new version of the function. It identifies code, template and time, and stays the same if
  # nothing changes for the function.
  digest=$(printf '%s\n' "$previous" "${settings[@]}" | sed -n 's#^ArtifactKey=nearedge/\(.\{8\}\).*#\1#p' | tail -1)
  label=$(checksum "$template" | cut -c1-8)
  [[ $(sed -n 's/^Release=//p' <<<"$previous") == *-"$label"-* ]] && [ ${#secrets[@]} = 0 ] || changed=yes
  for pair in "${settings[@]}"; do
    grep -Eq "$outside_function" <<<"$pair" || grep -Fxq -- "$pair" <<<"$previous" || changed=yes
  done
  [ -z "$changed" ] || settings+=("Release=$digest-$label-$(date +%s)")

  # After `back` the alias points to another version than the stack, but CodeDeploy would start from the stack's.
  if stack_exists && [ "$(live_version)" != "$(output FunctionVersion)" ]; then
    if [ -z "$force" ] && [ "$digest" = "$(sed -n 's#^ArtifactKey=nearedge/\(.\{8\}\).*#\1#p' <<<"$previous")" ]; then
      die "version $(live_version) is live since \`back\`, and this would redeploy the code of version $(output FunctionVersion): run \`up\` with another artifact, or add --force if that code is good"
    fi
    if ! is_set Rollout; then
      usual_rollout=$(parameter Rollout)
      note 'the alias was moved by hand: this update shifts all traffic at once'
      settings+=(Rollout=AllAtOnce)
    fi
  fi

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
    printf '# parameters, passed in a file so that no secret is on a command line:\n'
    printf '#   %s\n' "${settings[@]}" ${secrets[@]+"${secrets[@]/%=*/=(secret)}"}
    file=PARAMETERS.json
  fi
  run aws cloudformation deploy --stack-name "$stack" --template-file "$template" --capabilities CAPABILITY_IAM \
    --s3-bucket "${artifact_bucket:-ARTIFACTS}" --s3-prefix nearedge --no-fail-on-empty-changeset --parameter-overrides "file://$file" ||
    report_failure
  [ -n "$dry_run" ] || load_stack
  if [ -n "$usual_rollout" ] && [ "$usual_rollout" != AllAtOnce ]; then
    settings=("Rollout=$usual_rollout") secrets=()
    deploy
  fi
}

# Prints the failed events and exits. The earliest, printed last, is the cause; the others follow from it.
report_failure() {
  aws cloudformation describe-stack-events --stack-name "$stack" --output text --max-items 60 \
    --query "StackEvents[?ends_with(ResourceStatus, 'FAILED')].[LogicalResourceId, ResourceStatusReason]" |
    grep -v 'cancelled$' | tail -3 >&2 || true
  die "the deployment failed and the stack $stack is as it was before: fix the cause above and run this again. If the stack could not be created, delete it first (deploy.sh down)"
}

site() {
  local dir=${words[0]:-} bucket verb=(sync) filters=() each exclude_immutable=()
  [ -d "$dir" ] || die "site needs the folder to upload: deploy.sh site ./public" 2
  bucket=$(output BucketName)
  [ -z "$force" ] || verb=(cp --recursive)
  for each in ${immutable[@]+"${immutable[@]}"}; do exclude_immutable+=(--exclude "$each"); done
  upload() { # CACHE-CONTROL CONTENT-TYPE FILTER…
    local cache=$1 type=$2
    shift 2
    run aws s3 "${verb[@]}" --only-show-errors "$dir" "s3://$bucket/" "$@" --cache-control "$cache" ${type:+--content-type "$type"}
  }
  # The AWS CLI sets no charset for text. HTML is last, so that a page never refers to an object that is not there yet.
  typed=(css:text/css js:text/javascript mjs:text/javascript svg:image/svg+xml json:application/json txt:text/plain xml:application/xml html:text/html)
  for each in ${immutable[@]+"${immutable[@]}"}; do
    upload 'public, max-age=31536000, immutable' '' --exclude '*' --include "$each"
  done
  for each in "${typed[@]}"; do filters+=(--exclude "*.${each%%:*}"); done
  upload "$cache_control" '' "${filters[@]}" ${exclude_immutable[@]+"${exclude_immutable[@]}"}
  for each in "${typed[@]}"; do
    upload "$cache_control" "${each#*:}; charset=utf-8" --exclude '*' --include "*.${each%%:*}" ${exclude_immutable[@]+"${exclude_immutable[@]}"}
  done
  [ -z "$delete" ] || run aws s3 sync --only-show-errors --delete "$dir" "s3://$bucket/"
}

status() {
  local function
  function=$(output FunctionName)
  printf 'stack     %s, %s\n' "$stack" "$(query STATUS fact status '')"
  printf 'version   %s is live%s\n' "$(live_version)" "$(
    query '' aws lambda get-alias --function-name "$function" --name live --query 'RoutingConfig.AdditionalVersionWeights' --output text | sed 's/^None$//;s/^/, with /;s/^, with $//'
  )"
  printf 'address   %s\nAPI       %s\nbucket    %s\n' "$(output Address)" "$(output ApiAddress)" "$(output BucketName)"
  # shellcheck disable=SC2016 # for the user's shell
  printf '\nRead the secret into this shell:\n  LAMBDA_AUTH=$(aws lambda get-function-configuration --function-name %s --qualifier live --query Environment.Variables.lambda_auth --output text)\nTry:\n' "$function"
  local try
  for try in 1 2 3 4 5 6 7; do printf '  %s\n' "$(output Try$try)"; done
  # shellcheck disable=SC2016 # for the user's shell
  printf 'Check everything:\n  LAMBDA_AUTH=$LAMBDA_AUTH deploy/smoke.sh %s %s\n' "$(output Address)" "$(output ApiAddress)"
}

back() {
  local function arn live next left to=${words[0]:-} deployment
  function=$(output FunctionName)
  live=$(live_version)
  # Stop a running rollout: it would move the alias again. Without its own rollback, which would come after ours.
  for deployment in $(query '' aws deploy list-deployments --include-only-statuses InProgress --query 'deployments[]' --output text 2>/dev/null || true); do
    case $(aws deploy get-deployment --deployment-id "$deployment" --query 'deploymentInfo.applicationName' --output text) in
    "$stack"-RolloutApplication-*) run aws deploy stop-deployment --deployment-id "$deployment" --no-auto-rollback-enabled ;;
    esac
  done
  # During a rollout the alias still has the previous version, and routes a share of requests to the next.
  # shellcheck disable=SC2016 # JMESPath literal
  next=$(query '' aws lambda get-alias --function-name "$function" --name live --query 'keys(RoutingConfig.AdditionalVersionWeights || `{}`)' --output text)
  [ -z "$next" ] || [ -n "$to" ] || to=$live
  arn=$(query ARN aws lambda get-function-configuration --function-name "$function" --query FunctionArn --output text)
  # The tag `left` lists the versions that were rolled back. Skip them: the version before a bad one may be bad too.
  left=$(query '' aws lambda list-tags --resource "$arn" --query 'Tags.left' --output text | sed 's/^None$//')
  if [ -z "$to" ]; then
    to=$(query BEFORE aws lambda list-versions-by-function --function-name "$function" --query 'Versions[].Version' --output text |
      tr '\t' '\n' | { grep -E '^[0-9]+$' || true; } | sort -n | awk -v live="$live" -v left=" $left " '$1 < live && !index(left, " " $1 " ")' | tail -1)
    [ -z "$dry_run" ] || to=BEFORE
  fi
  [ -n "$to" ] || die "no version before $live${left:+, except those already rolled back ($left)}: name one with deploy.sh back VERSION"
  run aws lambda update-alias --function-name "$function" --name live --function-version "$to" --routing-config 'AdditionalVersionWeights={}' --output text --query FunctionVersion >/dev/null
  live=${next:-$live}
  run aws lambda tag-resource --resource "$arn" --tags "left=$(tail -c 200 <<<"$left $live" | sed 's/^ *//')"
  note "version $to serves all requests instead of $live. The stack still refers to $live: the next \`up\` replaces it with a new version"
}

case $command in
up | set | site | status | back | purge | down) ;;
'' | -h | --help | help) usage; exit 0 ;;
*) die "unknown command $command: see deploy.sh --help" 2 ;;
esac
require_account
case $command in
up)
  up
  [ -n "$dry_run" ] || status
  ;;
set)
  require_stack
  for each in ${words[@]+"${words[@]}"}; do add_setting set "$each"; done
  [ ${#settings[@]} -gt 0 ] || [ ${#secrets[@]} -gt 0 ] || die 'set needs Name=Value: deploy.sh set MemorySize=512' 2
  deploy
  ;;
site) require_stack; site ;;
status) require_stack; status ;;
back) require_stack; back ;;
purge) require_stack; [ ${#words[@]} -gt 0 ] || words=('/*'); invalidate "${words[@]}" ;;
down)
  require_stack
  bucket=$(output BucketName)
  run aws cloudformation delete-stack --stack-name "$stack"
  run aws cloudformation wait stack-delete-complete --stack-name "$stack"
  note "deleted the stack; the bucket $bucket and its objects remain: delete them with aws s3 rb --force s3://$bucket"
  ;;
esac
