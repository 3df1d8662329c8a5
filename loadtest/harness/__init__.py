"""What the scripts beside the k6 scenarios have in common: k6 itself, the local cloud, statistics and plots."""

import pathlib

LOADTEST = pathlib.Path(__file__).resolve().parent.parent
ROOT = LOADTEST.parent
OUT = ROOT / "target" / "loadtest"
