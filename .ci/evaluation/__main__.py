"""Compares `nearedge experiment evaluate` with GrowthBook's cases, and with GrowthBook's Python SDK on random cases.

    pip install growthbook==4.0.0
    python3 .ci/evaluation target/debug/nearedge ../shared/suites/growthbook.json
    python3 .ci/evaluation target/debug/nearedge ../shared/suites/growthbook.json --random 200000 --seed 7

A difference prints its input line, which `nearedge experiment evaluate` accepts on standard input. Random cases leave
out what the SDK decides otherwise than the suite (ordering against null, or of numbers against strings), what regular
expressions of Python and Rust decide differently, and what the SDK does not have: `redirects` and `urlPatterns`. The
last lines are hostile: each must get one line of output, and all together must take less than five seconds.
"""

import argparse
import collections
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

from oracle import HOSTILE_SECONDS, PRINTED, TIMEOUT_SECONDS
from suite import suite_cases
from generator import random_cases
from hostile import hostile_cases


def answers(binary, cases, seconds):
    """The output lines of one process that gets all lines, as they arrive. Exits if their number differs."""
    lines = [case.line.encode() if isinstance(case.line, str) else case.line for case in cases]
    with tempfile.TemporaryFile() as errors:
        command = [binary, "experiment", "evaluate"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)

        def feed():
            try:
                for line in lines:
                    process.stdin.write(line + b"\n")
                process.stdin.close()
            except BrokenPipeError:
                pass  # the reader reports that lines are missing

        feeder = threading.Thread(target=feed, daemon=True)
        late = threading.Event()

        def stop():
            late.set()
            process.kill()

        watchdog = threading.Timer(seconds, stop)
        watchdog.start()
        feeder.start()
        received = 0
        try:
            for output in process.stdout:
                received += 1
                if received <= len(lines):
                    yield output
            process.wait()
        finally:
            watchdog.cancel()
            process.kill()
            process.wait()
            process.stdout.close()
            feeder.join()
        errors.seek(0)
        message = errors.read().decode(errors="replace")[-2000:].strip()
        if received != len(lines) or process.returncode != 0:
            ending = f"was stopped after {seconds} s" if late.is_set() else f"exit code {process.returncode}"
            cause = f"expected {len(lines)} lines and exit code 0, found {received} lines, {ending}"
            if received < len(lines):
                cause += f"; the first line without an answer: {cases[received].name}"
            sys.exit(f"FAILED: {binary} experiment evaluate: {cause}" + (f"\n{message}" if message else ""))


class Report:
    """Prints the first differences and counts all."""

    def __init__(self):
        self.failed = collections.Counter()

    def check(self, group, case, output):
        try:
            found = json.loads(output)
        except (ValueError, RecursionError) as error:
            lines = [f"expected JSON, found {output[:200]!r}: {error}"]
        else:
            lines = case.check(found)
        if not lines:
            return
        self.failed[group] += 1
        if self.failed[group] <= PRINTED:
            print(f"FAILED: {group}: {case.name}: {'; '.join(lines)}")
            line = case.line if isinstance(case.line, str) else case.line[:200].decode(errors="replace")
            print(f"  input: {line}", flush=True)
        elif self.failed[group] == PRINTED + 1:
            print(f"FAILED: {group}: more than {PRINTED} differences, the others are not printed", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", help="the program, such as target/debug/nearedge")
    parser.add_argument("suite", type=pathlib.Path, help="GrowthBook's cases, such as ../shared/suites/growthbook.json")
    parser.add_argument("--random", type=int, default=20_000, help="number of random cases")
    parser.add_argument("--seed", type=int, default=1, help="seed of the random cases")
    options = parser.parse_args()
    if not options.suite.is_file():
        sys.exit(f"FAILED: expected GrowthBook's cases in {options.suite}, found no such file")

    report = Report()
    suite = list(suite_cases(json.loads(options.suite.read_text())))
    randoms = random_cases(options.random, options.seed)
    cases = [("suite", case) for case in suite] + [("random", case) for case in randoms]
    outputs = answers(options.binary, [case for _, case in cases], TIMEOUT_SECONDS)
    for (group, case), output in zip(cases, outputs, strict=True):
        report.check(group, case, output)

    hostile = list(hostile_cases())
    start = time.monotonic()
    outputs = answers(options.binary, hostile, HOSTILE_SECONDS)
    for case, output in zip(hostile, outputs, strict=True):
        report.check("hostile", case, output)
    seconds = time.monotonic() - start

    failed = report.failed
    print(
        f"suite: {len(suite) - failed['suite']} cases passed, {failed['suite']} failed; "
        f"random: {len(randoms)} cases with seed {options.seed}, {failed['random']} differences; "
        f"hostile: {len(hostile) - failed['hostile']} lines passed, {failed['hostile']} failed, in {seconds:.1f} s"
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
