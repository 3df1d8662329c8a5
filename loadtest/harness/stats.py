"""Percentiles, and descriptions of the machine and the revision."""

import math
import os
import pathlib
import platform
import subprocess

from . import ROOT


def percentile(values, percent):
    """The percentile by nearest rank; NaN for no values."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def cores():
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def revision():
    """The last commit that changed the measured code, and the compiler's version."""
    measured = ("--", "src", "emulator/src", "Cargo.toml", "Cargo.lock")
    commit = _output("git", "log", "-1", "--format=%h", *measured).strip() or "unknown"
    changed = " and changes" if _output("git", "status", "--porcelain", "--untracked-files=no", *measured) else ""
    return f"commit {commit}{changed}, rustc {' '.join(_output('rustc', '--version').split()[1:2])}"


def machine():
    """The processor, the number of cores and the operating system."""
    model = platform.machine()
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []:
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {cores()} cores, {platform.system()}"


def _output(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
