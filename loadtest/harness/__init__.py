"""Shared code of the load test programs: k6, the local cloud, statistics and plots."""

import os
import pathlib

LOADTEST = pathlib.Path(__file__).resolve().parent.parent
ROOT = LOADTEST.parent
# Folder for reports. LOADTEST_OUT selects another one.
OUT = pathlib.Path(os.environ.get("LOADTEST_OUT") or ROOT / "target" / "loadtest").resolve()
