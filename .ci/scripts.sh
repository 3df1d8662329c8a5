#!/usr/bin/env bash
# Checks deploy/ without an AWS account, network or cargo: the templates with cfn-lint for the regions of their partition, the dry run
# and the errors of each command, the AWS calls of some commands, and that tables in docs/ are the output of cost.py.
#
#   pip install cfn-lint && .ci/scripts.sh
set -euo pipefail
cd "$(dirname "$0")/../deploy"

cfn-lint --regions us-east-1 eu-west-1 --template aws.yaml
cfn-lint --regions cn-north-1 cn-northwest-1 --template aws-cn.yaml

# A PATH without `aws`: a dry run needs neither the AWS CLI nor credentials.
tools=$(mktemp -d)
server=''
trap '[ -z "$server" ] || kill "$server"; rm -rf "$tools"' EXIT
for tool in bash basename dirname cat cut date sed awk grep sort tail head tr od mktemp rm sha256sum env curl cmp cp find mkdir md5sum seq sleep wc; do
  ln -s "$(command -v "$tool")" "$tools/"
done
# A symbolic link to the Python of pyenv or of a virtual environment would not find its files.
printf '#!/bin/sh\nexec %s "$@"\n' "$(python3 -c 'import sys; print(sys.executable)')" >"$tools/python3"
chmod +x "$tools/python3"
# isolated COMMAND…: runs a command in an environment with nothing but this PATH and a region. LOG, CASE and BUCKET are for the stub of `aws`.
isolated() {
  env -i PATH="$path" HOME="$tools" AWS_REGION=eu-west-1 LOG="$tools/log" CASE="${case:-}" BUCKET="$tools/bucket" "$@" 2>&1
}
path=$tools
failed() { echo "FAILED: $*"; exit 1; }
# dry COMMAND…: the command succeeds without the AWS CLI, and each line of its output, $plan, is a command, an intention or a warning: a
# dry run has done nothing that it could report.
dry() {
  local statements
  plan=$(isolated "$@") || failed "$*: $plan"
  statements=$(grep -vE '^(\+ aws |# |step [1-3] of 3: would |deploy.sh: (no file .* yet|skipping ))' <<<"$plan" || true)
  [ -z "$statements" ] || failed "$*: expected commands and what it would do, found: $statements"
  grep -q '^+ aws ' <<<"$plan" || failed "$*: expected a command, found: $plan"
  echo "ok  $*"
}
# planned TEXT: the last dry run has printed this.
planned() { grep -qF -- "$1" <<<"$plan" || failed "expected the plan to contain '$1', found: $plan"; }
# refused STATUS TEXT COMMAND…: the command exits with this status, and its output contains the text.
refused() {
  local status=$1 text=$2 output code=0
  shift 2
  output=$(isolated "$@") || code=$?
  if [ "$code" != "$status" ] || ! grep -qF -- "$text" <<<"$output"; then
    failed "$*: expected exit code $status and \"$text\", found exit code $code: $output"
  fi
  echo "ok  $* exits with $status"
}
china=(--set Alias=ab.example.com.cn --set CertificateId=ASCAEXAMPLE)
dry ./deploy.sh up --dry-run
planned 'aws cloudformation deploy'
planned 'would generate a secret, the parameter LambdaAuth, if the stack does not exist'
dry env AWS_REGION=cn-north-1 ./deploy.sh up --dry-run "${china[@]}"
planned aws-cn.yaml
dry ./deploy.sh --dry-run up
dry ./deploy.sh set --dry-run MemorySize=512
dry ./deploy.sh set --dry-run FrontDoor=HttpApiWithFunctionUrl Streaming=on
planned 'would refuse to skip a step of a move'
planned FrontDoor=HttpApiWithFunctionUrl
dry ./deploy.sh set --dry-run FrontDoor=FunctionUrl
planned 'would if this step removes a front door, wait until the distribution is deployed'
dry ./deploy.sh up --dry-run --set FrontDoor=FunctionUrl --set Access=access.json --set AccessAuthorization=false
planned 'would create a new stack with FrontDoor=HttpApi, and set FrontDoor=FunctionUrl in an update of its own'
dry ./deploy.sh up --dry-run --set Metrics=batch --set LogRatio=0.001 --set SlowMs=250 --set SystemLogLevel=WARN
dry ./deploy.sh set --dry-run ProvisionedConcurrency=0
planned 'would first set ProvisionedConcurrency=0 with Rollout=AllAtOnce'
dry ./deploy.sh site --dry-run ../emulator/site --immutable '*.png' --delete
planned 's3://BucketName/v1/test.html'
planned 'delete-objects'
dry ./deploy.sh status --dry-run
dry ./deploy.sh back --dry-run
planned 'update-alias'
dry ./deploy.sh back 12 --dry-run
planned '--function-version 12'
dry ./deploy.sh purge --dry-run
dry ./deploy.sh down --dry-run
dry ./rotate.sh --dry-run
dry ./rotate.sh --dry-run --secret-version 1
dry ./variant.sh off v2 --as v1 --dry-run
dry ./variant.sh on v2 --dry-run
for script in build deploy experiment rotate smoke variant; do
  help=$(isolated "./$script.sh" --help) || failed "$script.sh --help: $help"
  grep -q "$script.sh" <<<"$help" || failed "$script.sh --help: expected its usage, found: $help"
done
refused 2 'aws is missing' ./deploy.sh status
refused 2 'unknown command' ./deploy.sh deploy
refused 2 'use Name=Value' ./deploy.sh up --set MemorySize
refused 2 'NOT_SET is not set' ./deploy.sh up --set-from LambdaAuth=NOT_SET
refused 2 'no region: set AWS_REGION' env AWS_REGION= ./deploy.sh up --dry-run
refused 2 'no region: set AWS_REGION' env -u AWS_REGION ./rotate.sh --dry-run
refused 2 'expected a region' env AWS_REGION=eu-west1 ./deploy.sh up --dry-run
refused 2 'cn-north-1 and cn-northwest-1' env AWS_REGION=cn-nroth-1 ./deploy.sh up --dry-run
refused 2 'needs Alias: add --set Alias=' env AWS_REGION=cn-north-1 ./deploy.sh up --dry-run
refused 2 'needs CertificateId: add --set CertificateId=' env AWS_REGION=cn-north-1 ./deploy.sh up --dry-run --set Alias=ab.example.com.cn
refused 2 'Alias: expected a value' env AWS_REGION=cn-north-1 ./deploy.sh up --dry-run --set Alias= --set CertificateId=ASCAEXAMPLE
refused 2 'a domain of CloudFront' env AWS_REGION=cn-north-1 ./deploy.sh up --dry-run --set Alias=d1.cloudfront.cn --set CertificateId=ASCAEXAMPLE
refused 2 'PriceClass is a parameter of aws.yaml, but not of aws-cn.yaml' env AWS_REGION=cn-north-1 ./deploy.sh set --dry-run PriceClass=PriceClass_100
refused 2 'FrontDoor is a parameter of aws.yaml, but not of aws-cn.yaml' env AWS_REGION=cn-north-1 ./deploy.sh set --dry-run FrontDoor=FunctionUrl
refused 2 'did you mean FunctionUrl?' ./deploy.sh set --dry-run FrontDoor=functionurl
refused 2 'set AccessAuthorization=false' ./deploy.sh up --dry-run --set FrontDoor=FunctionUrl --set Access=access.json
refused 2 'Metrics=otlp needs OtlpEndpoint' env AWS_REGION=cn-north-1 ./deploy.sh up --dry-run --set Alias=ab.example.com.cn \
  --set CertificateId=ASCAEXAMPLE --set Metrics=otlp
refused 2 'a number from 0 to 1, such as 0.01' env AWS_REGION=cn-north-1 ./deploy.sh set --dry-run LogRatio=1.5
refused 2 'Metrics: '"'true'"' is not an allowed value' ./deploy.sh set --dry-run Metrics=true
refused 2 'expected a whole number from 0 to 900000' ./deploy.sh set --dry-run SlowMs=-1
refused 2 'Alias needs CertificateArn' ./deploy.sh up --dry-run --set Alias=ab.example.com
refused 2 'SecretArn needs SecretVersionId' ./deploy.sh up --dry-run --set SecretArn=arn:aws:secretsmanager:eu-west-1:1:secret:a
refused 2 'no parameter Alais: did you mean Alias?' ./deploy.sh up --dry-run --set Alais=x
refused 2 'no parameter memorysize: did you mean MemorySize?' ./deploy.sh set --dry-run memorysize=512
refused 2 'no parameter LambdaAuht: did you mean LambdaAuth?' env SECRET=s ./deploy.sh set --dry-run --set-from LambdaAuht=SECRET
refused 2 'expected a whole number from 128 to 10240' ./deploy.sh set --dry-run MemorySize=12
refused 2 'did you mean LambdaCanary10Percent5Minutes?' ./deploy.sh set --dry-run Rollout=Canary10Percent5Minutes
for name in X-Lambda-Auth 'x auth' Host host range redirect x-amz-auth x-forwarded-for ''; do
  refused 2 'a header name in lower case that has no other meaning, such as x-lambda-auth' ./deploy.sh up --dry-run --set "AuthHeader=$name"
  refused 2 'such as x-test-version' env AWS_REGION=cn-north-1 ./deploy.sh up --dry-run "${china[@]}" --set "VersionHeader=$name"
done
dry ./deploy.sh up --dry-run --set AuthHeader=x-lambda-auth --set VersionHeader=x-test-version
planned AuthHeader=x-lambda-auth
refused 2 'AuthHeader and VersionHeader are both test_version' ./deploy.sh set --dry-run AuthHeader=test_version
refused 2 'are both x-a' ./deploy.sh up --dry-run --set AuthHeader=x-a --set VersionHeader=x-a
refused 2 'is set twice' ./deploy.sh set --dry-run MemorySize=512 MemorySize=1024
refused 2 'LambdaAuthNext: expected a value that matches [!-~]*, found its value' env NEW_LAMBDA_AUTH='a b' ./rotate.sh --dry-run
refused 2 'no such file' ./deploy.sh up --dry-run --artifact none.zip
refused 2 '--artifact needs a value' ./deploy.sh up --artifact --dry-run
refused 2 'the folder to upload' ./deploy.sh site --dry-run
refused 2 'the folder to upload' ./deploy.sh site --dry-run aws.yaml
refused 2 "unexpected argument 'B'" ./deploy.sh site --dry-run . B
refused 2 "unexpected argument 'status'" ./deploy.sh up status --dry-run
refused 2 "unexpected argument 'B'" ./deploy.sh down B --dry-run
refused 2 'status does not take --delete' ./deploy.sh status --delete --dry-run
refused 2 'expected the number of a version' ./deploy.sh back v12 --dry-run
refused 2 'a path begins with /' ./deploy.sh purge test.html --dry-run
refused 2 "stack 'a b'" ./deploy.sh status --stack 'a b' --dry-run
refused 2 'needs the variant to serve instead' ./variant.sh off v2
refused 2 "unexpected argument 'v3'" ./variant.sh off v2 v3 --as v1 --dry-run
refused 2 'on does not take --as' ./variant.sh on v2 --as v1 --dry-run
refused 2 'unknown command' ./experiment.sh start
refused 2 'put needs the definition' ./experiment.sh put --dry-run
refused 2 'expected a file that can be read' ./experiment.sh put none.json
for coverage in 20 20% 1.1 .5 0,2; do
  refused 2 'a coverage from 0 to 1, such as 0.2 for 20 %' ./experiment.sh ramp new-checkout "$coverage"
done
refused 2 'ramp needs an experiment and its coverage' ./experiment.sh ramp new-checkout
refused 2 'promote needs an experiment and a variation' ./experiment.sh promote new-checkout
refused 2 'stop needs an experiment' ./experiment.sh stop
refused 2 "unexpected argument 'b'" ./experiment.sh stop a b
refused 2 'stop does not take --force' ./experiment.sh stop a --force
refused 2 'show does not take --yes' ./experiment.sh show --yes
refused 2 '--wait soon: expected seconds' ./experiment.sh stop a --wait soon
refused 2 'expected the key of an object' ./experiment.sh stop a --key /experiments.json
refused 2 '--site none is not a folder' ./experiment.sh put aws.yaml --site none
refused 2 'set NEAREDGE to the program nearedge' ./experiment.sh stop a
refused 2 'NEAREDGE=none: expected the program nearedge' env NEAREDGE=none ./experiment.sh stop a
refused 2 'aws is missing' ./experiment.sh show --dry-run
refused 2 'no response from' ./smoke.sh http://127.0.0.1:9
refused 2 'needs the secret' ./smoke.sh http://127.0.0.1:9 http://127.0.0.1:9
refused 2 'is not a URL' ./smoke.sh d1.cloudfront.net
refused 2 "unexpected argument 'x'" ./smoke.sh http://127.0.0.1:9 http://127.0.0.1:9 x
refused 2 'is not a header name: set AUTH_HEADER' env AUTH_HEADER='x auth' ./smoke.sh http://127.0.0.1:9
refused 2 'are both x-a' env AUTH_HEADER=x-a VERSION_HEADER=x-a ./smoke.sh http://127.0.0.1:9
refused 2 'REDIRECT_FROM needs REDIRECT_TO' env REDIRECT_FROM=/old ./smoke.sh http://127.0.0.1:9
refused 2 'REDIRECT_TO needs REDIRECT_FROM' env REDIRECT_TO=/new ./smoke.sh http://127.0.0.1:9
refused 2 'GUARDED_TOKEN needs GUARDED_PATH' env GUARDED_TOKEN=a.b.c ./smoke.sh http://127.0.0.1:9
refused 2 'is not a path' env GUARDED_PATH=members/a.html ./smoke.sh http://127.0.0.1:9
refused 2 'are both v2' env VARIANT_A=v2 ./smoke.sh http://127.0.0.1:9

# build.sh checks its prerequisites before it downloads or builds anything.
mkdir "$tools/rust" "$tools/rust/sysroot"
cat >"$tools/rust/rustc" <<'RUSTC'
#!/usr/bin/env bash
case $* in '--print sysroot') echo "$HOME/rust/sysroot" ;; *) echo "rustc ${RUST_VERSION:-1.99.0} (0123456 2026-11-01)" ;; esac
RUSTC
# shellcheck disable=SC2016 # the variables of the stub
printf '#!/bin/sh\necho "cargo $*" >>"$LOG"\n' >"$tools/rust/cargo"
chmod +x "$tools/rust/"*
ln -s "$tools/rust/cargo" "$tools/rust/cc"
: >"$tools/log"
refused 2 'missing: Rust: install it from' ./build.sh
refused 2 'unknown architecture' ./build.sh arm
path=$tools/rust:$tools
refused 2 "library for aarch64-unknown-linux-gnu: run rustup target add aarch64-unknown-linux-gnu" ./build.sh
refused 2 "library for x86_64-unknown-linux-gnu" ./build.sh arm64 x86_64
refused 2 'or newer, found rustc 1.9.0' env RUST_VERSION=1.9.0 ./build.sh x86_64
rm "$tools/rust/cc"
refused 2 'missing: a C compiler' ./build.sh
path=$tools
if [ -s "$tools/log" ]; then failed "build.sh: expected no call of cargo before the checks, found: $(cat "$tools/log")"; fi
echo 'ok  build.sh names all missing prerequisites before it starts'

# smoke.sh on another site. This server serves files only, so most checks fail; what counts is what smoke.sh compares.
mkdir -p "$tools/site/v1/a b" "$tools/site/v2/a b"
for variant in v1 v2; do
  echo "<img src=logo.svg> $variant" >"$tools/site/$variant/shop.html"
  echo '<svg/>' >"$tools/site/$variant/logo.svg"
done
exec 3< <(exec python3 -u -m http.server 0 --bind 127.0.0.1 --directory "$tools/site" 2>/dev/null)
server=$!
read -r -u 3 line
line=${line#* port }
address=http://127.0.0.1:${line%% *}
refused 2 'no page to compare: /v1/test.html: 404; /v1/index.html: 404. Set PAGE' ./smoke.sh "$address"
refused 2 'no page to compare: /v1/none.html: 404. Set PAGE' env PAGE=none.html ./smoke.sh "$address"
refused 2 'no page to compare: /red/test.html: 404' env VARIANT_A=red VARIANT_B=green ./smoke.sh "$address"
refused 2 'PICTURE=none.png: /v2/none.png: 404. Set PICTURE' env PAGE=shop.html PICTURE=none.png ./smoke.sh "$address"
refused 1 'comparing shop.html and logo.svg;' env PAGE=shop.html ./smoke.sh "$address"
refused 1 'comparing shop.html and logo.svg;' env SITE="$tools/site" ./smoke.sh "$address"
for variant in v1 v2; do mv "$tools/site/$variant/shop.html" "$tools/site/$variant/index.html"; done
refused 1 'comparing index.html and logo.svg;' ./smoke.sh "$address"
for variant in v1 v2; do mv "$tools/site/$variant/index.html" "$tools/site/$variant/a b/首页.html"; done
refused 1 'comparing a b/首页.html;' env PAGE='a b/首页.html' ./smoke.sh "$address"
kill "$server"
server=''

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
  [ "$CASE" != new ] || grep -q '^aws cloudformation deploy' "$LOG" || { echo 'Stack with id nearedge does not exist' >&2; exit 254; }
  printf '%s\t%s\t%s\n' output FunctionName lambdaapi output FunctionVersion 7 output BucketName site output Variants v1,v2 \
    parameter Architecture x86_64 parameter ArtifactKey nearedge/0123456789.zip parameter ArtifactBucket artifacts \
    parameter Rollout LambdaCanary10Percent10Minutes
  [ "$CASE" != renamed ] || printf 'parameter\t%s\t%s\n' AuthHeader x-lambda-auth VersionHeader x-test-version
  case $CASE in door-FunctionUrl | door-FunctionUrl-*) ;; *) printf 'output\t%s\t%s\n' ApiId a1b2 ApiAddress https://a1b2.execute-api.eu-west-1.amazonaws.com ;; esac
  case $CASE in
  provisioned*) printf 'parameter\tProvisionedConcurrency\t5\n' ;;
  door-*)
    IFS=- read -r _ door secret <<<"$CASE"
    # The label of the template: only changed settings publish a version.
    printf '%s\t%s\t%s\n' parameter FrontDoor "$door" parameter Release "01234567-$(sha256sum "$HOME/deploy/aws.yaml" | cut -c1-8)-1" \
      output DistributionId E1 output SecretSource "${secret:-parameter}" output Address https://d1.cloudfront.net output Try6 'curl d1'
    [ "$door" = HttpApi ] || printf 'output\tUrlAddress\thttps://c3d4.lambda-url.eu-west-1.on.aws/\n'
    ;;
  esac
  ;;
# Of seven requests to the API two are refused. A moment later those two are all, and none uses the function URL.
*get-metric-statistics*4xx*) echo 2.0 ;;
*get-metric-statistics*)
  if [ "$(grep -c 'metric-name [CU]' "$LOG")" = 1 ]; then echo 7.0; elif [[ $* == *UrlRequestCount* ]]; then echo 0.0; else echo 2.0; fi
  ;;
*list-objects-v2*versions/*) echo 2 ;;
*list-objects-v2*)
  [ "$CASE" != no-listing ] || { echo 'An error occurred (AccessDenied)' >&2; exit 254; }
  cd "$BUCKET"
  separator='['
  while read -r digest key; do
    printf '%s["%s","\\"%s\\"","%s"]' "$separator" "${key#\*./}" "$digest" "$(date -u -r "${key#\*}" +%FT%T)"
    separator=,
  done < <(find . -type f -exec md5sum -b {} +)
  [ "$separator" = , ] && echo ']' || echo null
  ;;
"s3 cp --recursive "*)
  [[ $CASE != css-fails || $* != *text/css* ]] || { echo 'upload failed' >&2; exit 1; }
  cd "$5"
  while read -r file; do
    mkdir -p "$(dirname "$BUCKET/$file")"
    cp -L "$file" "$BUCKET/$file"
    echo "put ${file#./} ${*:7}" >>"$LOG"
  done < <(find -L . -type f)
  ;;
*delete-objects*)
  all=$*
  file=${all##*file://}
  [ "$CASE" != locked ] || { printf 'old.html\tAccess Denied\n'; exit; }
  grep -o '"Key": "[^"]*"' "${file%% *}" | cut -d'"' -f4 | while read -r key; do rm "$BUCKET/$key"; echo "delete $key" >>"$LOG"; done
  ;;
"cloudformation deploy "*)
  [ "$CASE" != provisioned-fails ] || [ "$(grep -c '^aws cloudformation deploy' "$LOG")" = 1 ] || exit 1
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
*get-function-configuration*not_null*)
  [ "$CASE" != disabled ] || { printf '\ntest_version\nv1,v2\n0\n'; exit; }
  printf 'experiments.json\ntest_version\nv1,v2\n0\n'
  ;;
*get-function-configuration*Variables.redirects* | *get-function-configuration*Variables.headers*) echo None ;;
*get-function-configuration*Variables.precompressed*) [ "$CASE" != precompressed ] && echo None || echo br,gzip ;;
*get-function-configuration*Variables.experiments*) [ "$CASE" != definition ] && echo None || echo experiments.json ;;
"s3api get-object "*)
  [ -f "$BUCKET/$6" ] || { echo 'An error occurred (NoSuchKey) when calling the GetObject operation' >&2; exit 254; }
  cp "$BUCKET/$6" "$7"
  printf '"%s"\tThu, 26 Nov 2026 20:10:50 GMT\n' "$(md5sum <"$7" | cut -c1-32)"
  ;;
"s3api put-object "*)
  all=$*
  [ "$CASE" != old-cli ] || { echo 'Unknown options: --if-match, "e"' >&2; exit 252; }
  # Another person's version appears in between.
  [ "$CASE" != race ] || [ "$6" != experiments.json ] || { echo 'An error occurred (PreconditionFailed) when calling the PutObject operation' >&2; exit 254; }
  [[ $all != *--if-match* ]] || [[ $all == *"--if-match \"$(md5sum <"$BUCKET/$6" | cut -c1-32)\""* ]] || { echo '(PreconditionFailed)' >&2; exit 254; }
  mkdir -p "$(dirname "$BUCKET/$6")"
  cp "$8" "$BUCKET/$6"
  echo '"new"'
  ;;
*head-object*) echo 2026-11-26T20:10:50.000Z ;;
*filter-log-events*)
  case $CASE in
  silent) echo None ;;
  unusable) echo '{"message":"experiments: the definition cannot be used, and the last good definition stays active: line 1","key":"experiments.json"}' ;;
  *) echo '{"message":"experiments: a new definition is active","key":"experiments.json"}' ;;
  esac
  ;;
*get-function-configuration*) echo arn:aws:lambda:eu-west-1:111111111111:function:lambdaapi ;;
esac
AWS
chmod +x "$tools/stub/aws"
printf '#!/bin/sh\nAWS_REGION=cn-north-1 exec "%s/deploy/deploy.sh" "$@"\n' "$tools" >"$tools/deploy/env-china.sh"
chmod +x "$tools/deploy/env-china.sh"
: >"$tools/x86_64.zip"
# stubbed CASE SCRIPT ARGUMENT…: runs a script of deploy/ with the stub.
stubbed() {
  local case=$1 script=$2 path=$tools/stub:$tools
  shift 2
  : >"$tools/log"
  isolated "$tools/deploy/$script" "$@"
}
# called PATTERN: the script has called aws with such arguments.
called() { grep -q -- "$1" "$tools/log" || failed "expected a call of aws that matches $1, found: $(cat "$tools/log")"; }
not_called() { if grep -q -- "$1" "$tools/log"; then failed "expected no call of aws that matches $1, found: $(cat "$tools/log")"; fi; }
# works CASE SCRIPT ARGUMENT…: the script succeeds. $output is its output.
works() { output=$(stubbed "$@") || failed "${*:2} ($1): $output"; }
# stops CASE TEXT SCRIPT ARGUMENT…: the script fails with this text and changes nothing.
stops() {
  if output=$(stubbed "$1" "${@:3}"); then failed "${*:3} ($1): expected an error, found success: $output"; fi
  grep -qF -- "$2" <<<"$output" || failed "${*:3} ($1): expected \"$2\", found: $output"
  not_called 'cloudformation deploy \|update-alias\|^put \|put-\|s3 mb \|s3 cp \|^delete '
  echo "ok  $3 ${4:-} stops ($1): $2"
}
stops no-credentials 'no valid AWS credentials' deploy.sh status
stops throttled 'cannot read the stack' deploy.sh up
stops normal 'nearedge-x86_64.zip' deploy.sh up
stops normal 'is a secret' deploy.sh set LambdaAuth=hunter2
stops normal 'did you mean Alias?' deploy.sh set Alais=x
stops new 'aws-cn.yaml needs Alias' env-china.sh up
stops normal 'does not fit' deploy.sh up --artifact "$tools/x86_64.zip" --set Architecture=arm64
stops after-back 'would redeploy the code of version 7' deploy.sh set MemorySize=512
works after-back deploy.sh set MemorySize=512 --force
called '"Rollout=AllAtOnce"'
called '"Rollout=LambdaCanary10Percent10Minutes"'
called '"MemorySize=512"'
echo 'ok  set --force shifts all traffic at once, and restores the rollout in steps'
works normal deploy.sh set MemorySize=512
called '"Release=01234567-'
not_called Rollout=
echo 'ok  set shifts traffic in steps'
# AWS refuses to remove provisioned concurrency while a rollout gives the alias weights.
works provisioned deploy.sh set ProvisionedConcurrency=0 MemorySize=512
updates=$(grep -v '^aws' "$tools/log" | tr -d '[],"\n' | sed 's/Release=[0-9a-f-]*/ Release/')
[ "$updates" = 'ProvisionedConcurrency=0Rollout=AllAtOnceMemorySize=512Rollout=LambdaCanary10Percent10Minutes Release' ] ||
  failed "set ProvisionedConcurrency=0: expected an update all at once, then the rest in steps, found: $updates"
works provisioned deploy.sh set ProvisionedConcurrency=0 Rollout=LambdaLinear10PercentEvery1Minute
called '"Rollout=AllAtOnce"'
called '"Rollout=LambdaLinear10PercentEvery1Minute"'
works provisioned deploy.sh set ProvisionedConcurrency=6
not_called Rollout=
works normal deploy.sh set ProvisionedConcurrency=0
not_called Rollout=
if output=$(stubbed provisioned-fails deploy.sh set ProvisionedConcurrency=0 MemorySize=512); then failed 'expected a failed update, found success'; fi
grep -q 'restore it with deploy.sh set Rollout=LambdaCanary10Percent10Minutes' <<<"$output" || failed "expected the command that restores the rollout, found: $output"
echo 'ok  set ProvisionedConcurrency=0 shifts all traffic at once, and restores the rollout in steps'
# A stack that was created with the old template uses the default names.
stops normal 'AuthHeader=x-lambda-auth: the stack uses lambda_auth. Until all edge locations know the new name' deploy.sh set AuthHeader=x-lambda-auth
stops renamed 'VersionHeader=test_version: the stack uses x-test-version' deploy.sh set VersionHeader=test_version
works normal deploy.sh set AuthHeader=x-lambda-auth --force
called '"AuthHeader=x-lambda-auth"'
works renamed deploy.sh set AuthHeader=x-lambda-auth VersionHeader=x-test-version MemorySize=512
echo 'ok  set --force renames a header of a stack'
works renamed deploy.sh status
# shellcheck disable=SC2016 # for the user's shell
grep -qF 'LAMBDA_AUTH=$LAMBDA_AUTH AUTH_HEADER=x-lambda-auth VERSION_HEADER=x-test-version deploy/smoke.sh' <<<"$output" ||
  failed "status: expected the names of the headers, found: $output"
echo 'ok  status prints the names of the headers'
# Move between the front doors. Nothing must wait in a test.
printf '#!/bin/sh\n' >"$tools/stub/sleep"
chmod +x "$tools/stub/sleep"
# publishes YES-OR-NO: whether the last update has published a new version of the function.
publishes() { if [ "$1" = yes ]; then called '"Release='; else not_called '"Release='; fi; }
# drained YES-OR-NO: whether the script has first waited for the edge locations and for the last request to the door that it removes.
drained() {
  local order
  order=$(grep -oE '^aws (cloudfront wait distribution-deployed|cloudwatch|cloudformation deploy)' "$tools/log" | uniq | tr '\n' ' ')
  if [ "$1" = yes ]; then
    [ "$order" = 'aws cloudfront wait distribution-deployed aws cloudwatch aws cloudformation deploy ' ] || failed "expected that it waits before the update, found: $order"
    grep -q '[57] requests in three minutes still used the front door' <<<"$output" || failed "expected the number of requests, found: $output"
  else
    [ "$order" = 'aws cloudformation deploy ' ] || failed "expected only an update, found: $order"
  fi
}
# The move there and back: stack's door, new door, whether the function changes, whether a door is removed.
while read -r old new version removes; do
  works "door-$old" deploy.sh set "FrontDoor=$new"
  called "\"FrontDoor=$new\""
  publishes "$version"
  drained "$removes"
done <<'STEPS'
HttpApi HttpApiWithFunctionUrl yes no
HttpApiWithFunctionUrl FunctionUrlWithHttpApi no no
FunctionUrlWithHttpApi FunctionUrl no yes
FunctionUrl FunctionUrlWithHttpApi no no
FunctionUrlWithHttpApi HttpApiWithFunctionUrl no no
HttpApiWithFunctionUrl HttpApi yes yes
STEPS
stops normal 'first set FrontDoor=HttpApiWithFunctionUrl' deploy.sh set FrontDoor=FunctionUrl
stops door-FunctionUrl 'first set FrontDoor=FunctionUrlWithHttpApi' deploy.sh set FrontDoor=HttpApi
stops door-HttpApiWithFunctionUrl 'first set FrontDoor=FunctionUrlWithHttpApi' deploy.sh up --artifact "$tools/x86_64.zip" --set FrontDoor=FunctionUrl
works door-HttpApi deploy.sh set FrontDoor=FunctionUrl --force
not_called cloudwatch
stops door-FunctionUrl 'cannot change their protocol at the same instant' deploy.sh set Streaming=on
stops door-FunctionUrlWithHttpApi 'first move back to HttpApiWithFunctionUrl' deploy.sh set Streaming=on FrontDoor=HttpApiWithFunctionUrl
works door-HttpApiWithFunctionUrl deploy.sh set Streaming=on FrontDoor=FunctionUrlWithHttpApi
called '"Streaming=on"'
works door-FunctionUrl deploy.sh set MemorySize=512
not_called LambdaAuth
works door-FunctionUrl-none deploy.sh set FrontDoor=FunctionUrlWithHttpApi
called '"LambdaAuth=[0-9a-f]\{64\}"'
stops door-FunctionUrl 'there is none to rotate' rotate.sh
stops door-FunctionUrlWithHttpApi 'a move between the front doors has begun' rotate.sh
stops door-FunctionUrl 'does not serve the function URL, which CloudFront uses' deploy.sh back
works door-FunctionUrl deploy.sh status
grep -q 'execute-api\|LAMBDA_AUTH' <<<"$output" && failed "status: expected nothing about an API, found: $output"
grep -qx '  deploy/smoke.sh https://d1.cloudfront.net' <<<"$output" || failed "status: expected the check of the distribution, found: $output"
works door-FunctionUrlWithHttpApi deploy.sh status
# shellcheck disable=SC2016 # for the user's shell
grep -qx '  LAMBDA_AUTH=$LAMBDA_AUTH deploy/smoke.sh https://d1.cloudfront.net https://a1b2.*' <<<"$output" || failed "status: expected both addresses, found: $output"
works new deploy.sh up --artifact "$tools/x86_64.zip" --set FrontDoor=FunctionUrl --set MemorySize=512
order=$(grep -oE '^aws cloudformation deploy|"(FrontDoor=[A-Za-z]*|LambdaAuth=|MemorySize=|Release)' "$tools/log" | tr '\n' ' ')
[ "$order" = 'aws cloudformation deploy "MemorySize= "Release "LambdaAuth= aws cloudformation deploy "FrontDoor=FunctionUrl "Release ' ] ||
  failed "up: expected a new stack with the API and then its move, found: $order"
rm "$tools/stub/sleep"
echo 'ok  a move between the front doors keeps the door in use, and waits before it removes one'
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
not_called 'stop-deployment .*d-THEIRS'
echo 'ok  back ends a rollout and keeps the version that it started from'

# site: a folder with everything that goes wrong, uploaded to an empty bucket.
site=$tools/public bucket=$tools/bucket
mkdir -p "$bucket" "$site/v1/.git" "$site/v2" "$site/.well-known" "$site/.git" "$site/assets"
for file in index.html v1/index.HTML v2/page.htm a.md b.csv c.TXT d.js e.json f.svg g.xml h.css i.mjs j.webmanifest k.vtt l.png m.woff2 n.bin \
  .well-known/security.txt assets/app.1f.js 'a b.html' '[x].html'; do
  echo "$file" >"$site/$file"
done
printf '\037\213gz' | tee "$site/app.js.gz" "$site/app.CSS.GZ" "$site/logo.svgz" "$site/all.tar.gz" >"$site/data.gz"
echo br >"$site/app.js.br"
printf '\377\376' >"$site/latin.txt"
for file in .env .env.local prod.env .git/config v1/.git/HEAD .htpasswd .DS_Store id_rsa id_ed25519.bak tls.pem TLS.KEY store.p12 index.html~ '#d.js#' a.orig \
  .d.js.swp .#lock; do
  echo secret >"$site/$file"
done
printf -- '-----BEGIN OPENSSH PRIVATE KEY-----\n' >"$site/deploy_key"
works normal deploy.sh site "$site" --immutable 'assets/*'
# uploaded FILE TYPE [ENCODING [CACHE-CONTROL]]: the last upload of the file had these headers.
uploaded() {
  grep -qxF -- "put $1 --content-type $2${3:+ --content-encoding $3} --cache-control ${4:-public, max-age=60}" "$tools/log" ||
    failed "site: expected $1 as $2 ${3:-}, found: $(grep -F "put $1 " "$tools/log")"
}
uploaded index.html 'text/html; charset=utf-8'
uploaded v1/index.HTML 'text/html; charset=utf-8'
uploaded v2/page.htm 'text/html; charset=utf-8'
uploaded 'a b.html' 'text/html; charset=utf-8'
uploaded '[x].html' 'text/html; charset=utf-8'
uploaded a.md 'text/markdown; charset=utf-8'
uploaded b.csv 'text/csv; charset=utf-8'
uploaded c.TXT 'text/plain; charset=utf-8'
uploaded d.js 'text/javascript; charset=utf-8'
uploaded i.mjs 'text/javascript; charset=utf-8'
uploaded e.json 'application/json; charset=utf-8'
uploaded f.svg 'image/svg+xml; charset=utf-8'
uploaded g.xml 'application/xml; charset=utf-8'
uploaded h.css 'text/css; charset=utf-8'
uploaded j.webmanifest 'application/manifest+json; charset=utf-8'
uploaded k.vtt 'text/vtt; charset=utf-8'
uploaded .well-known/security.txt 'text/plain; charset=utf-8'
uploaded l.png image/png
uploaded m.woff2 font/woff2
uploaded n.bin application/octet-stream
uploaded app.js.gz 'text/javascript; charset=utf-8' gzip
uploaded app.CSS.GZ 'text/css; charset=utf-8' gzip
uploaded app.js.br 'text/javascript; charset=utf-8' br
uploaded logo.svgz 'image/svg+xml; charset=utf-8' gzip
uploaded all.tar.gz application/gzip
uploaded data.gz application/gzip
uploaded latin.txt text/plain
uploaded assets/app.1f.js 'text/javascript; charset=utf-8' '' 'public, max-age=31536000, immutable'
grep -q 'latin.txt: expected text in UTF-8' <<<"$output" || failed "site: expected a warning about latin.txt, found: $output"
echo 'ok  site sets type, charset and coding by extension, in any case'
[ "$(grep -c '^put' "$tools/log")" = 28 ] || failed "site: expected 28 uploads, found: $(grep '^put' "$tools/log")"
grep -qF 'skipping #d.js#, .#lock, .DS_Store, .d.js.swp, .env, .env.local, .git/, .htpasswd and 10 more' <<<"$output" || failed "site: expected the skipped files, found: $output"
echo 'ok  site uploads no hidden files, keys or backups, and names them'
grep '^put' "$tools/log" | sed -n '/text\/html/,$p' | grep -v text/html && failed 'site: expected pages after all other files'
echo 'ok  site uploads pages last'

works normal deploy.sh site "$site"
not_called '^put'
grep -q 'uploading 0 of 28 files' <<<"$output" || failed "site: expected that nothing changed, found: $output"
echo 'index.htmL' >"$site/index.html"
touch -d 2001-01-01 "$site/index.html"
works normal deploy.sh site "$site"
[ "$(grep -c '^put' "$tools/log")" = 1 ] || failed 'site: expected one upload'
cmp "$site/index.html" "$bucket/index.html" || failed 'site: expected the older file in the bucket'
echo 'ok  site uploads an older file of equal size, and nothing else'
works normal deploy.sh site "$site" --force
[ "$(grep -c '^put' "$tools/log")" = 28 ] || failed 'site --force: expected 28 uploads'

echo x >"$bucket/.env"
echo x >"$bucket/old.html"
works normal deploy.sh site "$site"
grep -qF 'the bucket holds .env' <<<"$output" || failed "site: expected a warning about .env in the bucket, found: $output"
not_called '^delete'
works normal deploy.sh site "$site" --delete
[ "$(grep '^delete' "$tools/log" | sort | tr '\n' ' ')" = 'delete .env delete old.html ' ] || failed "site --delete: expected .env and old.html to be deleted, found: $output $(cat "$tools/log")"
echo 'ok  site --delete deletes what is not part of the site'
echo x >"$bucket/old.html"
if output=$(stubbed locked deploy.sh site "$site" --delete); then failed 'site --delete: expected an error of S3 to fail it'; fi
grep -qF 'S3 did not delete old.html' <<<"$output" || failed "site --delete: expected the object that S3 did not delete, found: $output"
rm "$bucket/old.html"
works normal deploy.sh site "$site" --include .env --include '.git/*' --exclude '*.md' --delete
called '^put .env '
called '^put .git/config '
called '^delete a.md'
[ "$(grep -c '^put' "$tools/log")" = 2 ] || failed 'site --include: expected two uploads'
echo 'ok  site --include and --exclude select files'
rm "$bucket/.env" "$bucket/.git/config"
works normal deploy.sh site "$site"

# Copies. In place of Brotli's encoder stands gzip's, so that no machine needs it.
printf '#!/bin/sh\nexec %s -9 -n\n' "$(command -v gzip)" >"$tools/stub/brotli"
chmod +x "$tools/stub/brotli"
seq 2000 | tee "$site/long.css" >"$site/app.js"
seq 1 >"$site/short.css"
works precompressed deploy.sh site "$site"
[ "$(grep '^put' "$tools/log" | cut -d' ' -f2 | tr '\n' ' ')" = 'long.css short.css app.js long.css.br long.css.gz ' ] || failed "site: expected copies of long.css after the files, and none of app.js, which has its own, found: $(grep '^put' "$tools/log")"
called '^put long.css.br --content-type text/css; charset=utf-8 --content-encoding br --cache-control public, max-age=60'
gzip -dc "$bucket/long.css.gz" | cmp - "$site/long.css" || failed 'site: expected a copy that decodes to its source'
works precompressed deploy.sh site "$site" --delete
not_called '^put'
not_called '^delete long'
touch -d 2001-01-01 "$bucket/long.css.gz"
works precompressed deploy.sh site "$site"
[ "$(grep -c '^put' "$tools/log")" = 1 ] && called '^put long.css.gz'
seq 2001 >"$site/long.css"
works precompressed deploy.sh site "$site" --no-compress
not_called '^put long.css.br'
works normal deploy.sh site "$site" --delete
called '^delete long.css.br'
rm "$site/long.css" "$site/short.css"
echo app.js >"$site/app.js"
works normal deploy.sh site "$site" --delete
rm "$tools/stub/brotli"
echo 'ok  site makes copies in the codings of Precompressed, after their sources'

echo changed | tee "$site/h.css" >"$site/index.html"
if stubbed css-fails deploy.sh site "$site" >/dev/null; then failed 'site: expected a failed upload to fail it'; fi
not_called '^put index.html'
echo 'ok  site uploads no page after a failed asset'
# stopped NAME TEXT: with such an entry, site stops before it uploads anything. Removes the entry.
stopped() {
  stops normal "$2" deploy.sh site "$site"
  rm "$site/$1"
}
ln -s ../gone.html "$site/v1/link.html"
stopped v1/link.html 'v1/link.html is a broken link (to ../gone.html)'
ln -s loop.html "$site/loop.html"
stopped loop.html 'loop.html is a broken link'
ln -s .. "$site/v1/up"
stopped v1/up 'v1/up is a link to a folder that contains it'
ln -s ../log "$site/log.txt"
stopped log.txt 'log.txt is a link out of the folder'
ln -s .env "$site/settings.txt"
stopped settings.txt 'settings.txt is a link (to .env) to a hidden file'
ln -s "$tools/x86_64.zip" "$site/id.zip"
works normal deploy.sh site "$site" --follow-links
called '^put id.zip '
rm "$site/id.zip"
mkfifo "$site/pipe"
stopped pipe 'pipe is neither a file nor a folder'
echo >"$site/"$'a\001b'
stopped $'a\001b' 'control character in its name'
mkdir "$tools/empty"
stops normal 'no file to upload' deploy.sh site "$tools/empty" --delete
stops no-listing 'nothing was uploaded' deploy.sh site "$site"
stops normal "unexpected argument 'B'" deploy.sh site "$site" B

rm -r "$bucket"
mkdir -p "$bucket/experiments.json.versions"
echo '{}' >"$site/experiments.json"
echo '{"features": {}}' >"$bucket/experiments.json"
echo '{}' >"$bucket/experiments.json.versions/20261126T201050Z-0"
works definition deploy.sh site "$site" --delete
not_called 'experiments.json'
grep -q 'skipping experiments.json: experiment.sh put replaces' <<<"$output" || failed "site: expected that it skips the definition, found: $output"
works normal deploy.sh site "$site"
called '^put experiments.json '
echo 'ok  site neither uploads nor deletes the definition of experiments'

# shellcheck source-path=SCRIPTDIR source=scripts_experiment.sh
. ../.ci/scripts_experiment.sh

# cost.py: every table in the docs after a marker is its output. A marker is a line with a comment that has the command.
tables=0
for doc in ../docs/runbook.md ../docs/architecture.md; do
  while read -r mark; do
    arguments=${mark#'<!-- deploy/cost.py'}
    # shellcheck disable=SC2086 # words
    python3 cost.py ${arguments%' -->'} >"$tools/table" 2>"$tools/notes" || failed "cost.py ${arguments%' -->'}, in $doc: $(cat "$tools/notes")"
    awk -v mark="$mark" '$0 == mark { on = 1; next } on && !/^\|/ { exit } on' "$doc" |
      diff - "$tools/table" || failed "a table in $doc differs from the output of cost.py${arguments%' -->'} (lines with >)"
    tables=$((tables + 1))
  done < <(grep '^<!-- deploy/cost.py' "$doc")
done
[ "$tables" -ge 11 ] || failed "expected at least 11 tables of cost.py in the docs, found $tables"
echo "ok  the $tables cost tables in docs/runbook.md and docs/architecture.md"
# The target: a million hits of 10 kB through a Function URL cost at most $0.25. At INFO, Lambda's own lines cost more than that.
hits='--million --misses 0 --sampled 0 --without-cloudfront --max 0.25'
for memory in 128 256; do
  # shellcheck disable=SC2086 # words
  isolated ./cost.py $hits --door function-url --metrics batch --system-log WARN --memory "$memory" >"$tools/table" ||
    failed "expected at most \$0.25 for a million hits, found: $(cat "$tools/table")"
  echo "ok  a million hits through a Function URL, $memory MB: $(grep -o '[0-9.]*\*\* |$' "$tools/table" | tr -d '*| ') USD"
done
# shellcheck disable=SC2086 # words
refused 1 'more than --max 0.25' ./cost.py $hits --door function-url --metrics batch --system-log INFO
# shellcheck disable=SC2086 # words
refused 1 'a million requests cost 1.573 USD' ./cost.py $hits --door http-api --metrics line --system-log WARN --access-log off
# Each combination of options has a table, or a reason of one line.
python3 - <<'PYTHON' || failed 'cost.py with each door, metrics mode and partition'
import contextlib, io, itertools, sys
import bill, cost

MODES = ["", "--million", "--compare", "--compare --million"]
MORE = ["", "--system-log WARN --access-log off --without-cloudfront", "--text 0.8 --cdn-hits 0.9 --arch x86_64 --count-metrics 4"]
for partition, door, metrics, mode, more in itertools.product(["aws", "aws-cn"], bill.DOORS, bill.METRICS_MODES, MODES, MORE):
    sys.argv = f"cost.py --partition {partition} --door {door} --metrics {metrics} {mode} {more}".split()
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cost.main()
        except SystemExit as stop:
            code = stop.code
    priced = partition == "aws" or (door in ("rest", "alb") and metrics != "otlp")
    as_expected = code == 0 and "|---|" in out.getvalue() if priced else code == 2 and err.getvalue().count("\n") == 1
    if not as_expected:
        sys.exit(f"{' '.join(sys.argv)}: exit code {code}: {out.getvalue()}{err.getvalue()}")
PYTHON
echo 'ok  cost.py with each door, metrics mode and partition'
refused 2 'no price of the HTTP API was found for aws-cn: supply one with --price http_api=AMOUNT' ./cost.py --partition aws-cn
refused 2 'no price of Lambda on arm64' ./cost.py --partition aws-cn --door rest --arch arm64
refused 2 'AWS China has no Function URLs' ./cost.py --partition aws-cn --compare --door function-url
refused 2 'neither CloudFront Functions nor Lambda@Edge' ./cost.py --partition aws-cn --alternatives
refused 2 'expected one of --prices, --alternatives' ./cost.py --alternatives --million
refused 2 '--alternatives chooses --door' ./cost.py --alternatives --door rest
refused 2 '--max needs --million' ./cost.py --max 1
refused 2 'expected NAME=AMOUNT with one of alarm_metric' ./cost.py --price http=1
refused 2 "expected an amount such as 1.25, found 'free'" ./cost.py --price http_api=free
refused 2 '--cdn-hits: expected a share from 0 to 1, found 90' ./cost.py --cdn-hits 90
refused 2 '--rates: expected a number above 0, found 0' ./cost.py --rates 10 0
refused 2 "invalid choice: 'https-api'" ./cost.py --door https-api
refused 2 'expected 0 to 200, found 201' ./cost.py --count-metrics 201
