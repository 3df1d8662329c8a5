#!/usr/bin/env bash
# Replaces a bad variant of a running test with another variant's objects, and restores it.
#
#   deploy/variant.sh off v2 --as v1   set v2's objects aside and copy v1's into its folder; run it again after an interruption
#   deploy/variant.sh on v2            restore v2's own objects
#
#   --stack NAME     stack name (environment variable STACK, or nearedge)
#   --dry-run        print the commands; read and change nothing
#
# It copies objects and changes no setting. That needs no deployment and reaches, within cache_ttl_secs, viewers of the function
# and viewers whom a redirect sends to the bucket. The variant's own objects go to the artifact bucket, which is private.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=aws.sh
. "$(dirname "$0")/aws.sh"

as=''
set_option() {
  case $1 in
  --as) need_value "$@"; as=$2 ;;
  *) return 1 ;;
  esac
}
parse_arguments "$@"
verb=${words[0]:-} variant=${words[1]:-}
case $verb in
on) most_words 2; only_options on ;;
off) most_words 2 ;;
'') usage >&2; exit 2 ;;
*) die "unknown command $verb: use on or off, see variant.sh --help" 2 ;;
esac
[[ $variant =~ ^[A-Za-z0-9_-][A-Za-z0-9._-]*$ ]] || die "$verb needs a variant: variant.sh off v2 --as v1" 2
[ "$verb" = on ] || [[ $as =~ ^[A-Za-z0-9_-][A-Za-z0-9._-]*$ && $as != "$variant" ]] || die "off needs the variant to serve instead: variant.sh off $variant --as v1" 2
require_account
require_stack

bucket=$(output BucketName)
artifacts=$(parameter ArtifactBucket)
live="s3://$bucket/$variant/" backup="s3://$artifacts/off/$stack/$variant/"
# Exists if the backup is complete. Without it `off` repeats the backup; with it `off` keeps the backup, since the variant's
# folder already holds the other variant's objects.
backup_complete="s3://$artifacts/off/$stack/$variant.whole"
holds_objects() { # s3://BUCKET/PREFIX
  local path=${1#s3://}
  [ "$(aws s3api list-objects-v2 --bucket "${path%%/*}" --prefix "${path#*/}" --max-keys 1 --no-paginate --query KeyCount --output text)" != 0 ]
}

# mirror FROM TO: makes TO hold exactly the objects of FROM. Copies everything first, because sync alone skips an object of the
# same size that is newer in TO.
mirror() {
  run aws s3 cp --recursive --only-show-errors "$1" "$2"
  run aws s3 sync --delete --only-show-errors "$1" "$2"
}

if [ "$verb" = off ]; then
  would "stop if s3://$bucket/$as/ holds no objects"
  [ -n "$dry_run" ] || holds_objects "s3://$bucket/$as/" || die "s3://$bucket/$as/ holds no objects: $variant is unchanged"
  if [ -z "$dry_run" ] && holds_objects "$backup_complete"; then
    note "$variant is already off: keeping the backup of its objects"
  else
    would "back up the objects of $variant, if it is not off already:"
    mirror "$live" "$backup"
    printf '' | run aws s3 cp --only-show-errors - "$backup_complete"
  fi
  would "replace the objects of $variant by those of $as:"
  mirror "s3://$bucket/$as/" "$live"
else
  would "stop if $variant is not off (no complete backup of its objects exists); otherwise restore them:"
  [ -n "$dry_run" ] || holds_objects "$backup_complete" || die "$variant is not off: no complete backup of its objects exists"
  mirror "$backup" "$live"
  run aws s3 rm --only-show-errors "$backup_complete"
  run aws s3 rm --recursive --only-show-errors "$backup"
fi
# All paths: with Caching=on the variant is in the cache key, not in the path.
invalidate '/*'
done_note "$variant is $verb"
