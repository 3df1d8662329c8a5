#!/usr/bin/env python3
"""Compares instructions and allocations of a request with benches/instructions.json.

    .ci/instructions.py            # fails if a figure differs from the record by more than 3 %
    .ci/instructions.py --renew    # writes the record; commit it with the reason

It needs valgrind. callgrind counts the instructions of the program only, so a busy machine does not matter: two
runs differ by 0.1 %. The compiler and the memcpy that the processor selects do matter: on a machine or toolchain other
than that of the record the limit is 15 %. A figure that falls by more than the limit fails too, so that the record
stays accurate.
"""

import argparse
import concurrent.futures
import functools
import json
import pathlib
import platform
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RECORD = ROOT / "benches" / "instructions.json"
LIMIT, LIMIT_ELSEWHERE = 0.03, 0.15
# Repetitions. The difference between two runs leaves out the start of the process.
FEW, MANY = 500, 4_500


def output_of(*command):
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True).stdout


def build():
    """Builds the benchmark and returns the path of its executable."""
    command = ["cargo", "bench", "--locked", "-p", "nearedge", "--bench", "instructions", "--no-run"]
    artifacts = [json.loads(line) for line in output_of(*command, "--message-format=json").splitlines()]
    names = (a["executable"] for a in artifacts if a.get("target", {}).get("name") == "instructions")
    return next(name for name in names if name)


def count(program, scenario, times):
    """Instructions of a process that repeats the scenario so many times."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, scenario, str(times)]
    output = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True).stderr
    return int(re.search(r"Collected : (\d+)", output).group(1))


def measure(program):
    """Scenario → instructions, allocations and allocated bytes of one repetition."""
    rows = {}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for line in output_of(program).splitlines():
            name, allocations, allocated = line.split("\t")
            few, many = pool.map(functools.partial(count, program, name), (FEW, MANY))
            rows[name] = {
                "instructions": round((many - few) / (MANY - FEW)),
                "allocations": int(allocations),
                "allocated_bytes": int(allocated),
            }
    return rows


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return {
        "cpu": model.group(1) if model else platform.machine(),
        "toolchain": output_of("rustc", "--version").strip(),
        "libc": " ".join(platform.libc_ver()),
        "valgrind": output_of("valgrind", "--version").strip(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renew", action="store_true", help="write the record")
    options = parser.parse_args()
    rows = measure(build())
    if options.renew:
        RECORD.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=2) + "\n")
        print(f"wrote {RECORD.relative_to(ROOT)}")
        return
    record = json.loads(RECORD.read_text())
    limit = LIMIT if record["machine"] == machine() else LIMIT_ELSEWHERE
    moved = []
    for name in sorted(rows.keys() | record["rows"].keys()):
        now, then = rows.get(name), record["rows"].get(name)
        if now is None or then is None:
            moved.append(f"{name}: {'not in the record' if then is None else 'in the record, but not measured'}")
            continue
        cells = []
        for figure, value in now.items():
            change = value / then[figure] - 1 if then[figure] else float(value > 0)
            cells.append(f"{value:>9} {figure} ({change:+.1%})")
            if abs(change) > limit:
                moved.append(f"{name}: {figure} {then[figure]} -> {value} ({change:+.1%})")
        print(f"{name:<32} {'  '.join(cells)}")
    if moved:
        print(f"\nThe record is of {record['machine']}; this is {machine()}.")
        print("\n".join(moved))
        sys.exit(f"FAILED: expected at most {limit:.0%} from the record. If intended, run .ci/instructions.py --renew")


if __name__ == "__main__":
    main()
