#!/usr/bin/env bash
# Changes the experiments of a running site: checks a definition, shows whom it moves, replaces it, and waits until it is active.
#
#   deploy/experiment.sh show                     print the definition with its ETag and age, and a table of its experiments
#   deploy/experiment.sh put FILE                 replace the definition by FILE
#   deploy/experiment.sh ramp KEY COVERAGE        let more visitors take part: ramp new-checkout 0.2
#   deploy/experiment.sh promote KEY VARIATION    end the experiment; everybody gets this variation: promote new-checkout treatment
#   deploy/experiment.sh stop KEY                 end the experiment; everybody gets the default
#
#   --stack NAME      stack name (environment variable STACK, or nearedge)
#   --dry-run         read and check everything, print the changes and the writing commands; write nothing
#   --yes             write in spite of warnings, without asking
#   --force           ramp: lower the coverage
#   --site DIR        put: also check that the versions have folders in DIR, and the files that their pages refer to
#   --key KEY         the definition's key, while the function has no setting `experiments` yet
#   --wait SECS       how long to wait until the change is active (cache_ttl_secs + 60, at most 600); 0 does not wait
#
# Each change is one write with If-Match: if somebody else has changed the definition since this script read it, S3 refuses the write,
# and the exit code is 3. The old version is kept beside it first, as KEY.versions/TIME-ETAG; `put` restores it.
#
# ramp changes only coverage: those who take part keep their variation. It refuses a lower coverage, which takes visitors out of
# the experiment. stop removes the experiment's rules, as GrowthBook does: coverage 0 would keep visitors who have a cookie. promote
# replaces them by rules that force the variation's value under the same conditions. All keep the rest of the file as it is.
#
# The change is active when the function logs that it has loaded a new definition. Every execution environment does so after
# cache_ttl_secs, at its next request; the script sends requests that count no visitor and get 404.
#
# Exit code: 0 done, or a dry run without errors; 1 refused or failed, the definition is as before; 2 wrong arguments or a missing tool;
# 3 somebody else has changed the definition, and this change was not written; 4 written, but not known to be active.
#
# It needs the AWS CLI of December 2024 or newer, Python 3.9 or newer, and the command line `nearedge`: `cargo run` builds it from this
# checkout, or NEAREDGE names the program. AWS_REGION selects AWS or AWS China, as for deploy.sh.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=aws.sh
. "$(dirname "$0")/aws.sh"

yes='' force='' site='' key='' wait_secs=''
set_option() {
  case $1 in
  --yes) yes=yes ;;
  --force) force=yes ;;
  --site) need_value "$@"; site=$2 ;;
  --key) need_value "$@"; key=$2 ;;
  --wait) need_value "$@"; wait_secs=$2 ;;
  *) return 1 ;;
  esac
}
parse_arguments "$@"
# Unlike the other scripts, a dry run reads: without the definition it could not tell what would change.
rehearsal=$dry_run dry_run=''
command=${words[0]:-} name=${words[1]:-} value=${words[2]:-}
case $command in
show) most_words 1; only_options show --key ;;
put) most_words 2; only_options put --yes --site --key --wait ;;
ramp) most_words 3; only_options ramp --yes --force --key --wait ;;
promote) most_words 3; only_options promote --yes --key --wait ;;
stop) most_words 2; only_options stop --yes --key --wait ;;
'' | help) usage; exit 0 ;;
*) die "unknown command $command: use show, put, ramp, promote or stop, see experiment.sh --help" 2 ;;
esac
case $command in
put) [ -n "$name" ] || die 'put needs the definition: experiment.sh put experiments.json' 2 ;;
ramp) [ -n "$value" ] || die 'ramp needs an experiment and its coverage: experiment.sh ramp new-checkout 0.2' 2 ;;
promote) [ -n "$value" ] || die 'promote needs an experiment and a variation: experiment.sh promote new-checkout treatment' 2 ;;
stop) [ -n "$name" ] || die 'stop needs an experiment: experiment.sh stop new-checkout' 2 ;;
esac
[ "$command" != put ] || { [ -f "$name" ] && [ -r "$name" ]; } || [ -p "$name" ] || die "put $name: expected a file that can be read, found none" 2
[ "$command" != ramp ] || [[ $value =~ ^(0(\.[0-9]{1,9})?|1(\.0+)?)$ ]] || die "ramp $name $value: expected a coverage from 0 to 1, such as 0.2 for 20 %" 2
[ -z "$site" ] || [ -d "$site" ] || die "--site $site is not a folder" 2
[[ ${wait_secs:-0} =~ ^[0-9]{1,4}$ ]] || die "--wait $wait_secs: expected seconds, at most 9999" 2
[[ ${key:-e} != /* && ${key:-e} != s3://* ]] || die "--key $key: expected the key of an object, such as experiments.json" 2
command -v python3 >/dev/null || die 'python3 is missing: install Python 3.9 or newer' 2
if [ "$command" != show ]; then
  if [ -n "${NEAREDGE:-}" ]; then
    command -v "$NEAREDGE" >/dev/null || die "NEAREDGE=$NEAREDGE: expected the program nearedge, found none" 2
  else
    command -v cargo >/dev/null || die 'cargo is missing: install Rust (https://rustup.rs), or set NEAREDGE to the program nearedge' 2
  fi
fi

nearedge() {
  if [ -n "${NEAREDGE:-}" ]; then
    command "$NEAREDGE" "$@"
  else
    cargo run --quiet --locked --manifest-path "$(dirname "$here")/Cargo.toml" --package emulator --bin nearedge -- "$@"
  fi
}
definition() { python3 -X utf8 -B "$here/experiment.py" "$@"; }
# change COMMAND…: runs a command that writes; a dry run prints it. Its files are gone afterwards, and are called OLD and NEW.
change() {
  if [ -n "$rehearsal" ]; then
    dry_run=yes plan "$@" | sed -e "s#--body $work/active/[^ ]*#--body OLD#" -e "s#--body $work/new/[^ ]*#--body NEW#" >&3
  else
    "$@"
  fi
}
exec 3>&1
last_error() { tail -1 "$work/error"; }

command -v aws >/dev/null || die 'aws is missing: install the AWS CLI (https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html); a dry run reads too' 2
require_account
require_stack
[ -z "$rehearsal" ] || printf '# dry run for the stack %s in %s: everything is read and checked, nothing is written\n' "$stack" "$region"
bucket=$(output BucketName) function=$(output FunctionName)

# The settings of the live version. A parameter of the stack could differ from them, during a rollout or after `deploy.sh back`.
# `key` is that of the definition; `uses` whether the function has it as its setting.
uses=yes
read_settings() {
  local setting versions
  aws lambda get-function-configuration --function-name "$function" --qualifier live --output text >"$work/settings" 2>"$work/error" \
    --query "Environment.Variables.join(\`\"\\n\"\`, [not_null(experiments, ''), not_null(experiments_feature, 'test_version'), not_null(test_versions, ''), not_null(cache_ttl_secs, '10')])" ||
    die "cannot read the settings of the function $function: $(last_error)"
  { read -r setting && read -r feature && read -r versions && read -r ttl; } <"$work/settings" ||
    die "cannot read the settings of the function $function: expected four lines, found $(head -1 "$work/settings")"
  constraints=(--feature "$feature")
  [ -z "$versions" ] || constraints+=(--test-versions "$versions")
  if [ -z "$setting" ]; then
    uses=''
    [ -n "$key" ] || die "the function $function has no setting experiments: put the definition with --key experiments.json, then run deploy.sh set Experiments=experiments.json" 2
  else
    [ -z "$key" ] || [ "$key" = "$setting" ] || die "--key $key: the function $function reads $setting; omit --key" 2
    key=$setting
  fi
}

# Stores the definition of the bucket in $work/active. Sets `etag` (empty if there is none), `modified` and `stamp`.
read_active() {
  local head
  etag='' modified='' stamp=''
  mkdir -p "$work/active" "$work/new"
  active="$work/active/$(basename "$key")"
  if ! head=$(aws s3api get-object --bucket "$bucket" --key "$key" "$active" --query '[ETag, LastModified]' --output text 2>"$work/error"); then
    rm -f "$active"
    grep -q NoSuchKey "$work/error" || die "cannot read s3://$bucket/$key: $(last_error)"
    return
  fi
  IFS=$'\t' read -r etag modified <<<"$head"
  stamp=$(definition stamp "$modified")
}
# The definition, for messages.
object() { printf 's3://%s/%s' "$bucket" "$key"; }
require_active() { [ -n "$etag" ] || die "$(object) does not exist: write a definition and put it with experiment.sh put FILE"; }

show() {
  local count
  require_active
  printf 'definition  %s\nETag        %s\nchanged     %s\n' "$(object)" "$etag" "$(definition age "$modified")"
  if [ -n "$uses" ]; then
    printf 'function    %s reads it at most every %s s, for the feature %s\n' "$function" "$ttl" "$feature"
  else
    printf 'function    %s does not read it: it has no setting experiments\n' "$function"
  fi
  # shellcheck disable=SC2016 # a JMESPath literal
  count=$(aws s3api list-objects-v2 --bucket "$bucket" --prefix "$key.versions/" --query 'length(Contents || `[]`)' --output text)
  printf 'kept        %s old versions, in %s.versions/\n\n' "$count" "$(object)"
  definition show "$active"
  echo
  cat "$active"
  [ -z "$(tail -c 1 "$active")" ] || echo
}

# check FILE: reports the problems of a definition, and how many visitors it moves. Exits if it has errors, or if its warnings are not
# accepted.
check() {
  local against=() warnings
  [ -z "$etag" ] || against=(--against "$active")
  report "$1" ${against[@]+"${against[@]}"}
  if [ -n "$etag" ] && grep -qF "check: $active" "$work/error"; then
    # The function may still use an earlier version than one that it cannot read.
    note "$(object) cannot be used: how many visitors move is unknown"
    report "$1"
  fi
  sed "s#$work/new/##" "$work/report"
  grep -q '[0-9]* errors, [0-9]* warnings$' "$work/report" || die "$(last_error | sed "s#$work/new/##"): nothing was written"
  ! grep -q '^error ' "$work/report" || die "$(basename "$1") has errors: nothing was written"
  warnings=$(grep -c '^warning ' "$work/report" || true)
  [ "$warnings" = 0 ] || accept "$warnings"
}
# report FILE [OPTION…]: stores the report of `experiment check`. Its exit code does not tell warnings from errors.
report() { nearedge experiment check "$@" "${constraints[@]}" ${site:+--site "$site"} >"$work/report" 2>"$work/error" || true; }
# accept COUNT: asks whether to write in spite of warnings.
accept() {
  local answer=''
  if [ -n "$yes" ] || [ -n "$rehearsal" ]; then
    note "continuing in spite of $1 warnings"
  elif [ -t 0 ]; then
    read -r -p "$program: write it in spite of $1 warnings? [y/N] " answer
    [[ $answer =~ ^[yY]([eE][sS])?$ ]] || die 'nothing was written'
  else
    die "$1 warnings: nothing was written; correct them, or add --yes"
  fi
}

# replace FILE: shows and checks the difference, keeps the old version, and writes the new one.
replace() {
  local file=$1 condition=(--if-none-match '*') kept=''
  if [ -n "$etag" ]; then
    condition=(--if-match "$etag")
    if cmp -s "$active" "$file"; then
      echo "$(object) holds these bytes already: nothing to change"
      exit
    fi
    definition diff "$active" "$file"
  else
    echo "$(object) does not exist yet"
  fi
  check "$file"
  [ -z "$rehearsal" ] || printf '# would %swrite the new definition:\n' "${etag:+keep the old definition, and }"
  if [ -n "$etag" ]; then
    kept="$key.versions/$stamp-${etag//\"/}"
    # The name states when that version was written: who else keeps it writes the same bytes under the same name.
    change aws s3api put-object --bucket "$bucket" --key "$kept" --body "$active" --content-type application/json --if-none-match '*' \
      >"$work/out" 2>"$work/error" ||
      grep -qE 'PreconditionFailed|ConditionalRequestConflict' "$work/error" || refused "cannot keep the old version as s3://$bucket/$kept"
  fi
  # With this Cache-Control, the function asks S3 at each load, even with stale_while_revalidate_secs, and may still use a stale copy if
  # S3 fails. Otherwise a new definition could take cache_ttl_secs twice.
  change aws s3api put-object --bucket "$bucket" --key "$key" --body "$file" --content-type application/json \
    --cache-control 'max-age=0, stale-while-revalidate=0' "${condition[@]}" --query ETag --output text >"$work/out" 2>"$work/error" ||
    refused "cannot write $(object)"
  [ -z "$rehearsal" ] || exit 0
  printf 'wrote %s, ETag %s\n' "$(object)" "$(cat "$work/out")"
  if [ -n "$kept" ]; then
    printf 'the old version is kept; to restore it:\n  aws s3 cp %q old.json && deploy/experiment.sh put old.json' "s3://$bucket/$kept"
    [ "$stack" = nearedge ] || printf ' --stack %s' "$stack"
    echo
  fi
}
# refused WHAT: exits after a failed write. With If-Match, S3 returns 412 for another ETag, 409 for a concurrent write, and 404 if the
# object is gone (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
refused() {
  if grep -qE 'PreconditionFailed|ConditionalRequestConflict|NoSuchKey|\((404|409|412)\)' "$work/error"; then
    die "somebody else has changed $(object) since this script read it: this change was not written. Look at it with experiment.sh show, then run this again" 3
  elif grep -qiE 'unknown options|unrecognized arguments' "$work/error"; then
    die 'this AWS CLI has no --if-match: update it to a version of December 2024 or newer; nothing was written' 2
  fi
  die "$1: $(last_error): nothing was changed"
}

# Waits until the function has logged that it uses a new definition. The line tells of one execution environment; all others follow
# after cache_ttl_secs, at their next request.
await() {
  local written lines line start=$SECONDS limit=$wait_secs address number=0
  if [ -z "$uses" ]; then
    note "the function $function does not use it yet: run deploy.sh set Experiments=$key"
    return
  fi
  if [ "$limit" = 0 ]; then
    note "not waiting: each execution environment loads it within $ttl s, at its next request"
    return
  fi
  if [ -z "$limit" ]; then
    limit=$((ttl + 60))
    [ "$limit" -le 600 ] || limit=600
  fi
  address=$(output Address)
  # S3's clock, in whole seconds. Another write of the same second is not told apart.
  written=$(aws s3api head-object --bucket "$bucket" --key "$key" --query LastModified --output text 2>"$work/error") ||
    unconfirmed "cannot read when it was written: $(last_error)"
  written=$(definition seconds "$written")
  note "waiting until the function has loaded it: at most $limit s"
  while :; do
    # Loading needs requests. A name that no object has reaches the function with Caching=on too, and counts no visitor: curl is a bot.
    number=$((number + 1))
    curl -s --max-time 10 -o /dev/null "$address/experiment.sh-$written-$number.txt" || true
    lines=$(aws logs filter-log-events --log-group-name "/aws/lambda/$function" --start-time "${written}000" --filter-pattern '"experiments:"' \
      --query 'events[].[message]' --output text 2>"$work/error") || unconfirmed "cannot read the function's log: $(last_error)"
    lines=$(grep -F "\"$key\"" <<<"$lines" || true)
    if line=$(grep -F 'a new definition is active' <<<"$lines"); then break; fi
    if line=$(grep -F 'the definition cannot be used' <<<"$lines"); then
      unconfirmed "the function cannot use it, and keeps the last good one: $(tail -1 <<<"$line")"
    fi
    [ $((SECONDS - start)) -lt "$limit" ] ||
      unconfirmed "the function has not logged within $limit s that it has loaded it. Without requests it loads nothing, above LogLevel INFO it does not log it, and the log can be late"
    sleep 2
  done
  # The others may have loaded the old one a moment before the write.
  while [ $((SECONDS - start)) -lt "$ttl" ]; do sleep 1; done
  echo "active: the function has loaded it. Each of its execution environments has by now, or does so at its next request"
  [ "$(parameter Caching)" != on ] || note 'with Caching=on, the distribution serves copies to returning visitors until their Cache-Control expires: deploy.sh purge ends that'
}
unconfirmed() { die "$(object) is written, but not known to be active: $1" 4; }

read_settings
read_active
case $command in
show) show; exit ;;
put)
  # Read once: it may be a pipe.
  new="$work/new/$(basename "$name")"
  cat "$name" >"$new"
  ;;
*)
  require_active
  new="$work/new/$(basename "$key")"
  definition "$command" "$active" "$new" "$name" ${value:+"$value"} ${force:+--force}
  ;;
esac
replace "$new"
await
