# shellcheck shell=bash disable=SC2034 # the scripts that source this read the variables
# Command line of the scripts in this directory: arguments, help and messages. Sourced, never run.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$(basename "$0")
stack=${STACK:-nearedge} dry_run='' words=() given=()

# die MESSAGE [STATUS]: prints an error and exits; STATUS 2 is a usage error.
die() { printf '%s: %s\n' "$program" "$1" >&2; exit "${2:-1}"; }
note() { printf '%s: %s\n' "$program" "$1" >&2; }

# Prints the comment at the top of the script.
usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; }

# parse_arguments ARGUMENT…: sets `stack`, `dry_run` and, in order, the positional arguments `words`. The script handles
# its own options in `set_option NAME [VALUE…]`, which returns 1 for an unknown name; `given` lists those that occur.
parse_arguments() {
  local taken
  while [ $# -gt 0 ]; do
    taken=1
    case $1 in
    -h | --help) usage; exit 0 ;;
    --dry-run) dry_run=yes ;;
    --stack) need_value "$@"; stack=$2 ;;
    -*)
      set_option "$@" || die "unknown option $1: see $program --help" 2
      given+=("$1")
      ;;
    *) words+=("$1") ;;
    esac
    shift "$taken"
  done
  [[ $stack =~ ^[A-Za-z][A-Za-z0-9-]{0,127}$ ]] || die "stack '$stack': expected letters, digits and hyphens, beginning with a letter" 2
}
# need_value "$@": the option $1 takes the argument after it as its value.
need_value() {
  if [ $# = 1 ] || [ -z "$2" ] || [[ $2 == --* ]]; then die "$1 needs a value: see $program --help" 2; fi
  taken=2
}
# most_words COUNT: the command takes at most COUNT positional arguments.
most_words() {
  [ ${#words[@]} -le "$1" ] || die "unexpected argument '${words[$1]}': see $program --help" 2
}
# only_options COMMAND [OPTION…]: COMMAND takes these options, and those that all commands take.
only_options() {
  local command=$1 each
  shift
  for each in ${given[@]+"${given[@]}"}; do
    case " $* " in *" $each "*) ;; *) die "$command does not take $each: see $program --help" 2 ;; esac
  done
}

# secret_header NAME: turns the secret on standard input into a curl configuration line (curl -K -) with the header NAME: a command line
# is visible to other processes.
secret_header() { sed -e 's/[\\"]/\\&/g' -e "s/.*/header = \"$1: &\"/"; }
