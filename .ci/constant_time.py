#!/usr/bin/env python3
"""Runs benches/constant_time.rs. Fails if the time of the secret comparison depends on the secret.

    .ci/constant_time.py

dudect suspects a dependency from |t| = 4.5 on. A shared machine needs a higher threshold and up to three attempts. The
benchmark of a plain comparison must exceed the threshold; otherwise the run has proved nothing.
"""

import json
import re
import subprocess
import sys

THRESHOLD = 10
ATTEMPTS = 3


def build():
    """Builds the benchmark and returns the path of its executable."""
    command = ["cargo", "bench", "--locked", "-p", "nearedge", "--bench", "constant_time", "--no-run"]
    lines = subprocess.run([*command, "--message-format=json"], stdout=subprocess.PIPE, check=True, text=True).stdout
    artifacts = [json.loads(line) for line in lines.splitlines()]
    names = (a["executable"] for a in artifacts if a.get("target", {}).get("name") == "constant_time")
    return next(name for name in names if name)


def measure(program):
    """The maximum |t| of each benchmark."""
    output = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout
    print(output.strip())
    return {name: abs(float(t)) for name, t in re.findall(r"bench (\S+).*?max t = ([+-][\d.]+)", output)}


def main():
    program = build()
    for _ in range(ATTEMPTS):
        found = measure(program)
        plain = found.pop("plain")
        if len(found) != 2:
            sys.exit(f"FAILED: expected two benchmarks besides `plain`, found {found}")
        if plain > THRESHOLD and max(found.values()) < THRESHOLD:
            print(
                f"ok  |t| of the plain comparison: {plain:.0f}, of ours: {max(found.values()):.1f}; limit {THRESHOLD}"
            )
            return
    sys.exit(
        f"FAILED: {ATTEMPTS} attempts: expected |t| > {THRESHOLD} for the plain comparison, found {plain:.1f}, "
        f"and |t| < {THRESHOLD} for ours, found {found}"
    )


if __name__ == "__main__":
    main()
