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
#   --dry-run                 print the commands; read and change nothing
#
# up, set:
#   --artifact ZIP            zip from deploy/build.sh (target/deploy/nearedge-arm64.zip); up only
#   --artifact-bucket NAME    bucket for the zip; created if missing (nearedge-ACCOUNT-REGION)
#   --set Name=Value          set a template parameter (deploy/aws.yaml, deploy/aws-cn.yaml); later updates keep it
#   --set-from Name=VARIABLE  the same, with the value of an environment variable: for secrets
#   --force                   redeploy the code that `back` rolled back; although requests fail meanwhile, rename a header, change
#                             Streaming in use, or skip a step of a move between the front doors
#
# site:
#   --cache-control VALUE     Cache-Control of uploaded objects (public, max-age=60)
#   --immutable GLOB          files whose names change with their content: Cache-Control of one year; repeatable
#   --include GLOB            upload files that are excluded by default: hidden files (except .well-known), .git, keys,
#                             backups; repeatable. In a GLOB, * matches / too
#   --exclude GLOB            do not upload these files; repeatable
#   --follow-links            upload the targets of links that lead out of DIR
#   --delete                  after the upload, delete objects that are not in DIR
#   --force                   upload unchanged files too, to change their headers
#   --no-compress             make no copies such as app.js.br, which the parameter Precompressed asks for
#
# `site` uploads the files whose bytes differ from the bucket's, pages last, and then copies of texts in the codings of the
# parameter Precompressed. app.js.gz and app.js.br get the type of app.js and their Content-Encoding. It neither uploads nor deletes the definition of experiments, which experiment.sh changes. The AWS CLI
# supplies region and credentials: AWS_REGION, AWS_PROFILE. cn-north-1 and cn-northwest-1 use the template for AWS China, which
# needs Alias and CertificateId. The first `up` generates a secret unless LambdaAuth or SecretArn is set.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=aws.sh
. "$(dirname "$0")/aws.sh"

artifact='' artifact_bucket='' cache_control='public, max-age=60' force='' site_options=()
settings=() secrets=()
# The usual Rollout while an update of this run has replaced it by AllAtOnce.
unrestored=''

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
  --delete | --follow-links | --no-compress) site_options+=("$1") ;;
  --force) force=yes ;;
  --artifact) need_value "$@"; artifact=$2 ;;
  --artifact-bucket) need_value "$@"; artifact_bucket=$2 ;;
  --cache-control) need_value "$@"; cache_control=$2 ;;
  --immutable | --include | --exclude) need_value "$@"; site_options+=("$1=$2") ;;
  --set) need_value "$@"; add_setting "$1" "$2" ;;
  --set-from) need_value "$@"; add_secret "$1" "$2" ;;
  *) return 1 ;;
  esac
}
parse_arguments "$@"
command=${words[0]:-}
words=(${words[@]+"${words[@]:1}"})

# A new value of one of these publishes no new version of the function: they concern the distribution, the alias or the stack.
outside_function='^(ProvisionedConcurrency|ReservedConcurrency|Release|FrontDoor|SecretSent|CertificateArn|CertificateId|Caching|CacheDefaultTtl|PriceClass|ViewerProtocol|WebAclArn|LogRetentionDays|Watch|WatchExperiment|Variation[A-D]|Weight[A-D]|Goal[AB]|AlarmEmail|AdditionalMetrics|ApiPort|Rollout)='

# The values of FrontDoor in the order of a move: one step per update (docs/runbook.md, Move between doors).
doors=(HttpApi HttpApiWithFunctionUrl FunctionUrlWithHttpApi FunctionUrl)

checksum() { if command -v sha256sum >/dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi | cut -c1-64; }
json_text() { sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' <<<"$1"; }
is_set() { local each; for each in ${settings[@]+"${settings[@]}"} ${secrets[@]+"${secrets[@]}"}; do [ "${each%%=*}" = "$1" ] && return; done; return 1; }
# Prints the new value of a parameter, or nothing.
setting() { local each; for each in ${settings[@]+"${settings[@]}"}; do [ "${each%%=*}" != "$1" ] || printf '%s\n' "${each#*=}"; done; }
# drop_settings NAME…: removes parameters from `settings`.
drop_settings() {
  local each kept=()
  for each in ${settings[@]+"${settings[@]}"}; do
    case " $* " in *" ${each%%=*} "*) ;; *) kept+=("$each") ;; esac
  done
  settings=(${kept[@]+"${kept[@]}"})
}

# Prints the stack's parameters as Name=Value lines; CloudFormation masks secrets with stars.
parameters() { awk -F '\t' '$1 == "parameter" { print $2 "=" $3 }' <<<"$facts"; }

# check_parameters MODE: checks the new parameters against the template, before anything is changed (see parameters.py).
check_parameters() {
  local errors pair variable
  command -v python3 >/dev/null || die 'python3 is missing: install Python 3.9 or newer' 2
  errors=$(
    {
      [ -z "$facts" ] || parameters | tr '\n' '\0'
      printf '\0'
      [ ${#settings[@]} = 0 ] || printf '%s\0' "${settings[@]}"
      for pair in ${secrets[@]+"${secrets[@]}"}; do
        variable=${pair#*=}
        printf '%s=%s\0' "${pair%%=*}" "${!variable}"
      done
    } | python3 -X utf8 -B "$here/parameters.py" "$1" "$here/$partition.yaml" "$here/$(if [ "$partition" = aws ]; then echo aws-cn; else echo aws; fi).yaml"
  ) || die "${errors:-cannot check the parameters: see the error above}" 2
}

# door_position DOOR: prints its index in `doors`.
door_position() { local index; for index in "${!doors[@]}"; do [ "${doors[index]}" != "$1" ] || printf '%s' "$index"; done; }
# uses_url DOOR: whether CloudFront sends requests to the function URL.
uses_url() { [[ $1 == FunctionUrl* ]]; }

# check_move: checks a change of FrontDoor or Streaming on an existing stack, before anything is changed. Each step of a move keeps the
# door that edge locations still use, so that no request is lost; the step that removes one first waits until it has no requests.
check_move() {
  local new old streaming old_streaming direction=1
  new=$(setting FrontDoor)
  streaming=$(setting Streaming)
  if [ -n "$dry_run" ]; then
    [ -z "$new" ] || would 'refuse to skip a step of a move between the front doors'
    case $new in HttpApi | FunctionUrl) would 'if this step removes a front door, wait until the distribution is deployed and CloudWatch counts no request to that door for three minutes' ;; esac
    return 0
  fi
  old=$(front_door)
  old_streaming=$(parameter Streaming)
  if [ -z "$force" ] && [ -n "$streaming" ] && [ "$streaming" != "${old_streaming:-off}" ] && uses_url "$old"; then
    die "Streaming=$streaming: CloudFront uses the function URL, and the function and its URL cannot change their protocol at the same instant: first move back to HttpApiWithFunctionUrl, or add --force"
  fi
  if [ -z "$new" ] || [ "$new" = "$old" ]; then return 0; fi
  [ "$(door_position "$new")" -gt "$(door_position "$old")" ] || direction=-1
  if [ -z "$force" ] && [ "${doors[$(door_position "$old") + direction]}" != "$new" ]; then
    die "FrontDoor=$new: the stack uses $old, and edge locations need the old door until they know the new one: first set FrontDoor=${doors[$(door_position "$old") + direction]}, or add --force"
  fi
  # The stack has given up its secret, which the API needs.
  if [ "$new" != FunctionUrl ] && [ "$(output SecretSource)" = none ] && ! is_set LambdaAuth && ! is_set SecretArn; then generate_secret; fi
  if [ -z "$force" ]; then
    case $new in HttpApi | FunctionUrl) leave_door "$new" ;; esac
  fi
}

# leave_door NEW: waits until no request uses the other door than NEW, which the next update removes.
leave_door() {
  local sum
  aws cloudfront wait distribution-deployed --id "$(output DistributionId)"
  for _ in $(seq 60); do
    sum=$(requests_beside "$1")
    [ "$sum" != 0 ] || return 0
    note "$sum requests in three minutes still used the front door that this step removes; waiting"
    sleep 30
  done
  die 'requests still use the front door that this step removes, after half an hour: another distribution or a client sends them. Nothing was changed: correct that sender and run this again, or add --force'
}
# requests_beside DOOR: prints how many requests in three minutes used the other door. Strangers know the API's public address: their
# requests are refused (403) and do not count. The function URL refuses all but CloudFront before it counts them.
requests_beside() {
  local function id
  function=$(output FunctionName) id=$(output ApiId)
  if [ "$1" = HttpApi ]; then
    metric_sum AWS/Lambda UrlRequestCount "Name=FunctionName,Value=$function" "Name=Resource,Value=$function:live"
  else
    metric_sum AWS/ApiGateway Count "Name=ApiId,Value=$id" &&
      metric_sum AWS/ApiGateway 4xx "Name=ApiId,Value=$id"
  fi | awk 'NR == 1 { sum = $1 + 0 } NR == 2 { sum -= $1 } END { print sum + 0 }'
}

generate_secret() {
  # shellcheck disable=SC2034 # update reads it by name
  new_secret=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
  secrets+=(LambdaAuth=new_secret)
  note 'generated a secret; deploy.sh status prints the command that reads it'
}

up() {
  local digest key architecture zip_architecture='' door=''
  if [ -n "$dry_run" ]; then
    # It does not read whether the stack exists; a real update would not need Alias and CertificateId again.
    check_parameters new
    check_move
  elif stack_exists; then
    check_parameters update
    check_move
  else
    check_parameters new
  fi
  [ -z "$artifact" ] || [ -f "$artifact" ] || die "--artifact $artifact: no such file: build it with deploy/build.sh" 2
  architecture=$(setting Architecture)
  # Without --artifact, keep the stack's architecture.
  if [ -z "$artifact" ]; then
    if [ -z "$architecture" ]; then
      would 'use the zip for arm64 or, if the stack exists, for its architecture'
      [ -n "$dry_run" ] || ! stack_exists || architecture=$(parameter Architecture)
    fi
    artifact="$(dirname "$here")/target/deploy/nearedge-${architecture:-arm64}.zip"
  fi
  case $artifact in
  *x86_64*) zip_architecture=x86_64 ;;
  *arm64*) zip_architecture=arm64 ;;
  esac
  if [ -z "$zip_architecture" ]; then
    :
  elif ! is_set Architecture; then
    settings+=("Architecture=$zip_architecture")
  elif [ "$architecture" != "$zip_architecture" ]; then
    die "Architecture=$architecture does not fit $artifact: use the zip from deploy/build.sh $architecture" 2
  fi
  if [ ! -f "$artifact" ]; then
    [ -n "$dry_run" ] || die "no file $artifact: build it with deploy/build.sh"
    note "no file $artifact yet: before \`up\`, build it with deploy/build.sh"
  fi
  [ -n "$artifact_bucket" ] || artifact_bucket="nearedge-$account-$region"
  # The key is a hash of the content: no upload overwrites an older artifact, and a rollback needs no build.
  digest=$([ -f "$artifact" ] && checksum "$artifact" || echo DIGEST)
  key="nearedge/$digest.zip"
  if [ -n "$dry_run" ] || ! aws s3api head-bucket --bucket "$artifact_bucket" >/dev/null 2>&1; then
    would 'create the bucket for the zip, if it does not exist:'
    run aws s3 mb "s3://$artifact_bucket"
    run aws s3api put-public-access-block --bucket "$artifact_bucket" --public-access-block-configuration \
      BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true
  fi
  if [ -n "$dry_run" ] || ! aws s3api head-object --bucket "$artifact_bucket" --key "$key" >/dev/null 2>&1; then
    would 'upload the zip, if the bucket does not hold it:'
    run aws s3 cp --only-show-errors "$artifact" "s3://$artifact_bucket/$key"
  fi
  settings+=("ArtifactBucket=$artifact_bucket" "ArtifactKey=$key")
  if ! is_set LambdaAuth && ! is_set SecretArn; then
    would 'generate a secret, the parameter LambdaAuth, if the stack does not exist'
    if [ -z "$dry_run" ] && ! stack_exists; then generate_secret; fi
  fi
  # The function URL names a function that exists: a new stack begins with the HTTP API. No viewer uses it, so that one step suffices.
  door=$(setting FrontDoor)
  if [ "${door:-HttpApi}" != HttpApi ]; then
    would "create a new stack with FrontDoor=HttpApi, and set FrontDoor=$door in an update of its own"
    if [ -z "$dry_run" ] && ! stack_exists; then
      drop_settings FrontDoor
      note 'creating the stack with the HTTP API; the next update moves it'
      deploy
      settings=("FrontDoor=$door") secrets=()
    fi
  fi
  deploy
}

# Creates the stack, or updates it with `settings` and `secrets`; other parameters keep their values.
deploy() {
  local previous='' changed='' digest label pair door usual_rollout='' later=() later_secrets=()
  [ -n "$dry_run" ] || ! stack_exists || previous=$(parameters)
  [ -n "$artifact_bucket" ] || artifact_bucket=$(sed -n 's/^ArtifactBucket=//p' <<<"$previous")
  usual_rollout=$(setting Rollout)
  [ -n "$usual_rollout" ] || usual_rollout=$(sed -n 's/^Rollout=//p' <<<"$previous")
  digest=$(printf '%s\n' "$previous" ${settings[@]+"${settings[@]}"} | sed -n 's#^ArtifactKey=nearedge/\(.\{8\}\).*#\1#p' | tail -1)

  [ -z "$previous" ] || [ -n "$force" ] || refuse_renaming "$previous"

  # After `back` the alias points to another version than the stack, but CodeDeploy would start from the stack's.
  if stack_exists && [ "$(live_version)" != "$(output FunctionVersion)" ]; then
    if [ -z "$force" ] && [ "$digest" = "$(sed -n 's#^ArtifactKey=nearedge/\(.\{8\}\).*#\1#p' <<<"$previous")" ]; then
      die "version $(live_version) is live since \`back\`, and this would redeploy the code of version $(output FunctionVersion): run \`up\` with another artifact, or add --force if that code is good"
    fi
    note 'the alias was moved by hand: this update shifts all traffic at once'
    changed=yes
    drop_settings Rollout
    settings+=(Rollout=AllAtOnce)
    later=(${usual_rollout:+"Rollout=$usual_rollout"})
  elif removes_provisioned_concurrency "$previous"; then
    note 'removing provisioned concurrency first, all at once: AWS refuses it while a rollout gives the alias weights'
    drop_settings ProvisionedConcurrency Rollout
    later=(${settings[@]+"${settings[@]}"} ${usual_rollout:+"Rollout=$usual_rollout"}) later_secrets=(${secrets[@]+"${secrets[@]}"})
    settings=(ProvisionedConcurrency=0 Rollout=AllAtOnce) secrets=()
    # Without a new version: the code and the other settings follow in the next update.
    update
    unrestored=$usual_rollout
    settings=(${later[@]+"${later[@]}"}) secrets=(${later_secrets[@]+"${later_secrets[@]}"})
    [ ${#settings[@]} = 0 ] || deploy
    return
  fi
  if [ -n "$dry_run" ] && [ "$(setting ProvisionedConcurrency)" = 0 ]; then
    would 'first set ProvisionedConcurrency=0 with Rollout=AllAtOnce in an update of its own, if the stack has provisioned concurrency; then:'
  fi

  # A new Release publishes a new version of the function. It identifies code, template and time, and stays the same if
  # nothing changes for the function.
  label=$(checksum "$here/$partition.yaml" | cut -c1-8)
  [[ $(sed -n 's/^Release=//p' <<<"$previous") == *-"$label"-* ]] && [ ${#secrets[@]} = 0 ] || changed=yes
  for pair in ${settings[@]+"${settings[@]}"}; do
    grep -Eq "$outside_function" <<<"$pair" || grep -Fxq -- "$pair" <<<"$previous" || changed=yes
  done
  # Of the steps of a move, only those that create and remove the URL change a setting of the function.
  door=$(setting FrontDoor)
  case ${door:+$door,$(front_door)} in HttpApi,HttpApi) ;; HttpApi,* | *,HttpApi) changed=yes ;; esac
  [ -z "$changed" ] || [ -n "$dry_run" ] || settings+=("Release=$digest-$label-$(date +%s)")
  update
  if [ ${#later[@]} -gt 0 ] && [ "$usual_rollout" != AllAtOnce ]; then
    settings=("${later[@]}") secrets=() unrestored=$usual_rollout
    update
  fi
}

# refuse_renaming PREVIOUS: exits if the new parameters rename a header of the stack. The function accepts one name at a time, and the
# edge locations receive the new one minutes earlier or later.
refuse_renaming() {
  local name default old new
  while read -r name default; do
    new=$(setting "$name")
    old=$(sed -n "s/^$name=//p" <<<"$1")
    [ -z "$new" ] || [ "$new" = "${old:-$default}" ] ||
      die "$name=$new: the stack uses ${old:-$default}. Until all edge locations know the new name, requests fail (AuthHeader) or get no variant (VersionHeader): create a second stack with --stack and another FunctionName, or add --force"
  done <<<$'AuthHeader lambda_auth\nVersionHeader test_version'
}

# removes_provisioned_concurrency PREVIOUS: whether the new parameters set it to 0 on a stack that has it. During a rollout the alias
# has weights, and AWS then refuses to remove it: "Alias with weights can not be used with Provisioned Concurrency"
# (https://github.com/aws/serverless-application-model/issues/1353).
removes_provisioned_concurrency() {
  local present
  present=$(sed -n 's/^ProvisionedConcurrency=//p' <<<"$1")
  [ "${present:-0}" != 0 ] && [[ $(setting ProvisionedConcurrency) =~ ^0+$ ]]
}

# Calls CloudFormation with `settings` and `secrets`, and waits for completion.
update() {
  local file="$work/parameters.json" pair variable separator=''
  {
    printf '['
    for pair in ${settings[@]+"${settings[@]}"}; do
      printf '%s\n"%s"' "$separator" "$(json_text "$pair")"
      separator=,
    done
    for pair in ${secrets[@]+"${secrets[@]}"}; do
      variable=${pair#*=}
      printf '%s\n"%s"' "$separator" "$(json_text "${pair%%=*}=${!variable}")"
      separator=,
    done
    printf '\n]\n'
  } >"$file"
  if [ -n "$dry_run" ]; then
    would "$(if [ "$command" = up ]; then echo 'create or update'; else echo update; fi) the stack with these parameters, passed in a file so that no secret is on a command line:"
    printf '#   %s\n' ${settings[@]+"${settings[@]}"} ${secrets[@]+"${secrets[@]/%=*/=(secret)}"} \
      'Release=RELEASE, if the code or a setting of the function changes: it publishes a new version'
    file=PARAMETERS.json
  fi
  run aws cloudformation deploy --stack-name "$stack" --template-file "$here/$partition.yaml" --capabilities CAPABILITY_IAM \
    --s3-bucket "${artifact_bucket:-ArtifactBucket}" --s3-prefix nearedge --no-fail-on-empty-changeset --parameter-overrides "file://$file" ||
    report_failure
  [ -n "$dry_run" ] || load_stack
}

# Prints the failed events and exits. The earliest, printed last, is the cause; the others follow from it.
report_failure() {
  aws cloudformation describe-stack-events --stack-name "$stack" --output text --max-items 60 \
    --query "StackEvents[?ends_with(ResourceStatus, 'FAILED')].[LogicalResourceId, ResourceStatusReason]" |
    grep -v 'cancelled$' | tail -3 >&2 || true
  die "the deployment failed and the stack $stack is as it was before: fix the cause above and run this again. If the stack could not be created, delete it first (deploy.sh down)${unrestored:+. Rollout is still AllAtOnce: restore it with deploy.sh set Rollout=$unrestored}"
}

site() {
  local definition access codings redirects headers
  command -v python3 >/dev/null || die 'python3 is missing: install Python 3.9 or newer' 2
  definition=$(query '' live_setting experiments) || die 'cannot read whether the function has a definition of experiments, which must stay as it is: nothing was uploaded'
  access=$(query '' live_setting access) || die 'cannot read whether the function has rules of access, whose file must stay as it is: nothing was uploaded'
  codings=$(query '' live_setting precompressed) || die 'cannot read in which codings the function sends uploaded copies: nothing was uploaded'
  redirects=$(query '' live_setting redirects) headers=$(query '' live_setting headers) || die 'cannot read which files configure the function: nothing was uploaded'
  would 'leave the definition of experiments and its old versions as they are, if the function has the setting experiments'
  python3 -X utf8 -B "$here/site.py" "${words[0]}" --bucket="$(output BucketName)" --variants="$(query '' fact output Variants)" \
    --definition="$definition" --access="$access" --codings="$codings" \
    --redirects="$redirects" --headers="$headers" --cache-control="$cache_control" ${dry_run:+--dry-run} ${force:+--force} ${site_options[@]+"${site_options[@]}"}
}

status() {
  local function variables='' first second header api url try line
  function=$(output FunctionName)
  if [ -n "$dry_run" ]; then
    would 'print the status, the addresses, and the commands to read the secret and to try the origin, from:'
    plan aws cloudformation describe-stacks --stack-name "$stack"
    plan aws lambda get-alias --function-name "$function" --name live
    return
  fi
  printf 'stack     %s, %s\n' "$stack" "$(fact status '')"
  printf 'version   %s is live%s\n' "$(live_version)" "$(
    aws lambda get-alias --function-name "$function" --name live --query 'RoutingConfig.AdditionalVersionWeights' --output text | sed 's/^None$//;s/^/, with /;s/^, with $//'
  )"
  printf 'address   %s\ndoor      %s\n' "$(output Address)" "$(front_door)"
  api=$(output ApiAddress) url=$(output UrlAddress)
  [ -z "$api" ] || printf 'API       %s\n' "$api"
  [ -z "$url" ] || printf 'URL       %s, for CloudFront only\n' "$url"
  printf 'bucket    %s\n' "$(output BucketName)"
  # shellcheck disable=SC2016 # for the user's shell
  [ -z "$api" ] || printf '\nRead the secret into this shell:\n  LAMBDA_AUTH=$(aws lambda get-function-configuration --function-name %s --qualifier live --query Environment.Variables.lambda_auth --output text)' "$function"
  printf '\nTry:\n'
  for try in 1 2 3 4 5 6 7; do
    line=$(output Try$try)
    [ -z "$line" ] || printf '  %s\n' "$line"
  done
  IFS=, read -r first second _ <<<"$(output Variants)"
  header=$(parameter AuthHeader)
  [ "${header:-lambda_auth}" = lambda_auth ] || variables="AUTH_HEADER=$header "
  header=$(parameter VersionHeader)
  [ "${header:-test_version}" = test_version ] || variables+="VERSION_HEADER=$header "
  [ "$first,$second" = v1,v2 ] || [ -z "$second" ] || variables+="VARIANT_A=$first VARIANT_B=$second "
  # shellcheck disable=SC2016 # for the user's shell
  printf 'Check everything:\n  %s%sdeploy/smoke.sh %s%s\n' "${api:+LAMBDA_AUTH=\$LAMBDA_AUTH }" "$variables" "$(output Address)" "${api:+ $api}"
}

back() {
  local function arn live next left to=${words[0]:-} deployment
  function=$(output FunctionName)
  if [ -n "$dry_run" ]; then
    would 'stop the rollout of this stack, if one is in progress:'
    plan aws deploy stop-deployment --deployment-id DEPLOYMENT --no-auto-rollback-enabled
    would "route all requests to ${to:+version }${to:-the version before the live one (during a rollout, the one that it started from)}, and tag the function with the version left:"
    plan aws lambda update-alias --function-name "$function" --name live --function-version "${to:-VERSION}" --routing-config 'AdditionalVersionWeights={}'
    plan aws lambda tag-resource --resource ARN --tags left=VERSIONS
    return
  fi
  live=$(live_version)
  # Stop a running rollout: it would move the alias again. Without its own rollback, which would come after ours.
  for deployment in $(aws deploy list-deployments --include-only-statuses InProgress --query 'deployments[]' --output text 2>/dev/null || true); do
    case $(aws deploy get-deployment --deployment-id "$deployment" --query 'deploymentInfo.applicationName' --output text) in
    "$stack"-RolloutApplication-*) run aws deploy stop-deployment --deployment-id "$deployment" --no-auto-rollback-enabled ;;
    esac
  done
  # During a rollout the alias still has the previous version, and routes a share of requests to the next.
  # shellcheck disable=SC2016 # JMESPath literal
  next=$(aws lambda get-alias --function-name "$function" --name live --query 'keys(RoutingConfig.AdditionalVersionWeights || `{}`)' --output text)
  [ -z "$next" ] || [ -n "$to" ] || to=$live
  arn=$(aws lambda get-function-configuration --function-name "$function" --query FunctionArn --output text)
  # The tag `left` lists the versions that were rolled back. Skip them: the version before a bad one may be bad too.
  left=$(aws lambda list-tags --resource "$arn" --query 'Tags.left' --output text | sed 's/^None$//')
  if [ -z "$to" ]; then
    to=$(aws lambda list-versions-by-function --function-name "$function" --query 'Versions[].Version' --output text |
      tr '\t' '\n' | { grep -E '^[0-9]+$' || true; } | sort -n | awk -v live="$live" -v left=" $left " '$1 < live && !index(left, " " $1 " ")' | tail -1)
  fi
  [ -n "$to" ] || die "no version before $live${left:+, except those already rolled back ($left)}: name one with deploy.sh back VERSION"
  if uses_url "$(front_door)" && { [ "$(live_setting function_url_iam "$to")" != true ] || [ "$(live_setting streaming "$to")" != "$(live_setting streaming)" ]; }; then
    die "version $to does not serve the function URL, which CloudFront uses (its settings function_url_iam or streaming differ): name another version, or first move back to HttpApiWithFunctionUrl"
  fi
  run aws lambda update-alias --function-name "$function" --name live --function-version "$to" --routing-config 'AdditionalVersionWeights={}' --output text --query FunctionVersion >/dev/null
  live=${next:-$live}
  run aws lambda tag-resource --resource "$arn" --tags "left=$(tail -c 200 <<<"$left $live" | sed 's/^ *//')"
  note "version $to serves all requests instead of $live. The stack still refers to $live: the next \`up\` replaces it with a new version"
}

case $command in
up) most_words 0; only_options up --artifact --artifact-bucket --set --set-from --force ;;
set) only_options set --artifact-bucket --set --set-from --force ;;
site) most_words 1; only_options site --cache-control --immutable --include --exclude --follow-links --delete --force --no-compress ;;
back) most_words 1; only_options back ;;
purge) only_options purge ;;
status | down) most_words 0; only_options "$command" ;;
'' | help) usage; exit 0 ;;
*) die "unknown command $command: see deploy.sh --help" 2 ;;
esac
case $command in
set)
  for each in ${words[@]+"${words[@]}"}; do add_setting set "$each"; done
  [ ${#settings[@]} -gt 0 ] || [ ${#secrets[@]} -gt 0 ] || die 'set needs Name=Value: deploy.sh set MemorySize=512' 2
  ;;
site) [ -d "${words[0]:-}" ] || die "site ${words[0]:-}: expected the folder to upload, such as deploy.sh site ./public" 2 ;;
back) [[ ${words[0]:-1} =~ ^[1-9][0-9]*$ ]] || die "back ${words[0]}: expected the number of a version: deploy.sh back 12" 2 ;;
purge)
  for each in ${words[@]+"${words[@]}"}; do
    [[ $each == /* ]] || die "purge $each: a path begins with /: deploy.sh purge '/$each'" 2
  done
  ;;
esac
require_account
case $command in
up)
  up
  [ -n "$dry_run" ] || status
  ;;
set)
  require_stack
  check_parameters "$(if [ -n "$dry_run" ]; then echo unknown; else echo update; fi)"
  check_move
  deploy
  ;;
site) require_stack; site ;;
status) require_stack; status ;;
back) require_stack; back ;;
purge) require_stack; [ ${#words[@]} -gt 0 ] || words=('/*'); invalidate "${words[@]}" ;;
down)
  require_stack
  bucket=$(output BucketName)
  would "delete the stack; the bucket $bucket and its objects would remain:"
  run aws cloudformation delete-stack --stack-name "$stack"
  run aws cloudformation wait stack-delete-complete --stack-name "$stack"
  done_note "deleted the stack; the bucket $bucket and its objects remain: delete them with aws s3 rb --force s3://$bucket"
  ;;
esac
