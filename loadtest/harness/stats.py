"""Percentiles and a name for the machine."""

import math
import os
import pathlib
import platform
import subprocess

from . import ROOT


def percentile(values, percent):
    """By the nearest rank; NaN of nothing."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def cores():
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def revision():
    """What is measured: the last commit that changed it, and the compiler."""
    said = lambda *command: subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    measured = ("--", "src", "emulator/src", "Cargo.toml", "Cargo.lock")
    commit = " ".join(said("git", "log", "-1", "--format=%h", *measured)) or "unknown"
    changed = " and changes" if said("git", "status", "--porcelain", "--untracked-files=no", *measured) else ""
    return f"commit {commit}{changed}, rustc {' '.join(said('rustc', '--version')[1:2])}"


def machine():
    """What figures are of: the processor, and how many of it."""
    model = platform.machine()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []:
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {cores()} cores, {platform.system()}"
