#!/usr/bin/env bash
# Checks memory safety: `unsafe` appears in one file, its tests pass under valgrind, and the code that parses requests runs under
# memcheck, with the `unsafe` code of its dependencies. Needs valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."

# Searches the word, because an attribute can be written in many ways. In src/vendor/ the crates' own lints forbid it.
allowed=src/lambda/allocator.rs
places=$(git grep -lE '\bunsafe\b *(\{|fn|impl|extern|trait|$)|(allow|expect)\(.*unsafe_code' -- '*.rs' ':!src/vendor' | sort)
[ "$places" = "$allowed" ] || { echo "FAILED: expected unsafe code in $allowed only, found it in: $places"; exit 1; }
echo "ok  unsafe code in $allowed only"

# With the features of the whole workspace, as `cargo test --workspace` builds them.
programs=$(cargo test --locked --workspace --lib --no-run --message-format json-render-diagnostics | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
program() { grep -m 1 "/$1-[0-9a-f]*\$" <<<"$programs" || { echo "FAILED: cargo built no tests of $1" >&2; exit 1; }; }
origin=$(program nearedge)
core=$(program nearedge_core)

# checked WHAT MINIMUM COMMAND…: the command succeeds and runs at least so many tests.
checked() {
  local output passed
  output=$(PROPTEST_CASES=32 "${@:3}" 2>&1) || { echo "FAILED: $1: $output"; exit 1; }
  passed=$(sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' <<<"$output")
  [ "${passed:-0}" -ge "$2" ] || { echo "FAILED: $1: expected at least $2 tests that pass, found: $output"; exit 1; }
  echo "ok  $1: $passed tests"
}
# Without a tool: memcheck replaces glibc's allocator, which is what this test is about.
checked 'the allocator settings on the processor of valgrind' 1 \
  valgrind --quiet --tool=none "$origin" lambda::allocator::tests::blocks_keep_their_content
memcheck=(valgrind --quiet --error-exitcode=9)
checked 'the core under memcheck' 50 "${memcheck[@]}" "$core"
checked 'the metrics line and trace headers under memcheck' 5 "${memcheck[@]}" "$origin" telemetry::metrics_line:: telemetry::trace::
