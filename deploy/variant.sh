#!/usr/bin/env bash
# A bad variant taken out of a running test, and put back: its viewers get another variant's objects.
#
#   deploy/variant.sh off v2 --as v1   v2's folder holds v1's objects; its own are put aside. To be run again if it was stopped
#   deploy/variant.sh on v2            v2's own objects are back
#
#   --stack NAME     the stack (nearedge, or STACK)
#   --dry-run        only print what would be run
#
# It is done with objects, not with settings: that reaches viewers through the function and those whom a redirect sends to
# the bucket, within cache_ttl_secs, and nothing is deployed. What is put aside is in the artifact bucket, which nobody can read.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=aws.sh
. "$here/aws.sh"

words=() as=''
while [ $# -gt 0 ]; do
  case $1 in
  --dry-run) dry_run=yes ;;
  --stack | --as)
    [ $# -gt 1 ] || die "$1 needs a value: variant.sh --help" 2
    if [ "$1" = --stack ]; then stack=$2; else as=$2; fi
    shift
    ;;
  -h | --help) usage; exit 0 ;;
  -*) die "there is no $1: variant.sh --help" 2 ;;
  *) words+=("$1") ;;
  esac
  shift
done
verb=${words[0]:-} variant=${words[1]:-}
case $verb in on | off) ;; *) usage; exit 2 ;; esac
[[ $variant =~ ^[A-Za-z0-9_-][A-Za-z0-9._-]*$ ]] || die 'name a variant: variant.sh off v2 --as v1' 2
[ "$verb" = on ] || [[ $as =~ ^[A-Za-z0-9_-][A-Za-z0-9._-]*$ && $as != "$variant" ]] || die "say whose objects its viewers get: variant.sh off $variant --as v1" 2
ready
need_stack

bucket=$(output BucketName)
aside=$(parameter ArtifactBucket)
live="s3://$bucket/$variant/" own="s3://$aside/off/$stack/$variant/"
# Says that all of it has been put aside: what was interrupted before is done again, what comes after is not lost.
whole="s3://$aside/off/$stack/$variant.whole"
holds() { # s3://BUCKET/PREFIX/
  local path=${1#s3://}
  [ "$(aws s3api list-objects-v2 --bucket "${path%%/*}" --prefix "${path#*/}" --max-keys 1 --no-paginate --query KeyCount --output text)" != 0 ]
}

# become FROM TO: TO holds what FROM holds. Copied whole first, since a sync would keep an older object of the same size;
# then what FROM lacks is removed.
become() {
  run aws s3 cp --recursive --only-show-errors "$1" "$2"
  run aws s3 sync --delete --only-show-errors "$1" "$2"
}

if [ "$verb" = off ]; then
  if [ -z "$dry_run" ]; then
    holds "s3://$bucket/$as/" || die "s3://$bucket/$as/ holds nothing: $variant stays as it is"
  fi
  if [ -z "$dry_run" ] && holds "$whole"; then
    note "$variant is off already: its own objects stay where they are"
  else
    become "$live" "$own"
    printf '' | run aws s3 cp --only-show-errors - "$whole"
  fi
  become "s3://$bucket/$as/" "$live"
else
  [ -n "$dry_run" ] || holds "$whole" || die "$variant is not off: nothing was put aside, or not all of it"
  become "$own" "$live"
  run aws s3 rm --only-show-errors "$whole"
  run aws s3 rm --recursive --only-show-errors "$own"
fi
# With caching on, test_version is in the key, not in the path.
invalidate '/*'
note "$variant is $verb"
