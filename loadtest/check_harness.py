"""What the scripts work out, by examples: python3 -m unittest loadtest/check_harness.py"""

import importlib.machinery
import importlib.util
import pathlib
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from harness import k6  # noqa: E402
from harness.stats import percentile  # noqa: E402

loader = importlib.machinery.SourceFileLoader("compare", str(HERE / "compare"))
compare = importlib.util.module_from_spec(importlib.util.spec_from_loader("compare", loader))
loader.exec_module(compare)


def baseline(machine="this", **row):
    return {"date": "2026-01-01", "commit": "abc", "machine": machine, "rows": {"found v1": {"count": 500, "p50": 2, "p95": 4, "p99": 10, **row}}}


def now(**row):
    return {"found v1": {"count": 500, "p50": 2, "p95": 4, "p99": 10, **row}}


class Compare(unittest.TestCase):
    def regressions(self, then, measured, here="this"):
        return compare.judge(then, measured, here)[1]

    def test_the_same_figures_are_no_regression(self):
        self.assertEqual(self.regressions(baseline(), now()), [])

    def test_a_latency_past_its_limit_is_one_and_is_named(self):
        self.assertEqual(self.regressions(baseline(), now(p95=16)), [])
        (found,) = self.regressions(baseline(), now(p95=16.1))
        self.assertIn("found v1 p95", found)

    def test_limits_are_wider_on_another_machine(self):
        self.assertEqual(self.regressions(baseline("that"), now(p95=48)), [])
        self.assertEqual(len(self.regressions(baseline("that"), now(p95=48.1))), 1)

    def test_a_percentile_of_too_few_answers_says_nothing(self):
        self.assertEqual(self.regressions(baseline(), now(count=199, p99=900)), [])

    def test_answers_that_are_not_there_any_more_are_a_regression(self):
        self.assertEqual(self.regressions(baseline(), {}), ["found v1: no answers"])

    def test_the_median_of_three_runs_is_compared(self):
        result = lambda p95: {"rows": [{"outcome": "found", "variant": "v1", "count": 9, "p50": 1, "p95": p95, "p99": 1}]}
        self.assertEqual(compare.medians([result(9), result(2), result(3)])["found v1"]["p95"], 3)


class Harness(unittest.TestCase):
    def test_a_percentile_is_the_nearest_rank(self):
        self.assertEqual([percentile(range(1, 101), percent) for percent in (0, 50, 99, 100)], [1, 50, 99, 100])

    def test_times_with_any_number_of_digits_are_read(self):
        for text, wanted in (
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
            ("2026-01-02T03:04:05.5Z", "2026-01-02T03:04:05.500000+00:00"),
            ("2026-01-02T03:04:05.123456789+01:00", "2026-01-02T03:04:05.123456+01:00"),
        ):
            self.assertEqual(k6._microseconds(text), wanted)

    def test_answers_that_were_saved_are_read_again(self):
        with tempfile.TemporaryDirectory() as folder:
            run = object.__new__(k6.K6)
            run.out = pathlib.Path(folder)
            run.answers = [k6.Answer(1.5, 2.5, "v1", "found", "200", "right")]
            run.save()
            self.assertEqual(k6.load(run.out / "answers.csv"), run.answers)


if __name__ == "__main__":
    unittest.main()
