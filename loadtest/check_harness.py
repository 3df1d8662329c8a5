"""Tests the calculations of the load test programs: python3 -m unittest loadtest/check_harness.py"""

import collections
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types
import unittest
from dataclasses import replace

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from harness import ROOT, cloud, k6
from harness.stats import percentile


def load_program(path):
    """Imports a program, whose file name has no `.py`."""
    name = pathlib.Path(path).name
    loader = importlib.machinery.SourceFileLoader(name, str(HERE / path))
    module = sys.modules[name] = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


# Without this, Python would write bytecode files next to the programs.
sys.dont_write_bytecode = True
compare, faults, knee, soak = map(load_program, ("compare", "local/faults", "local/knee", "local/soak"))


def measured(**row):
    return {"found v1": {"count": 500, "p50": 2, "p95": 4, "p99": 10, **row}}


def baseline(machine="this", **row):
    return {"date": "2026-01-01", "commit": "abc", "machine": machine, "rows": measured(**row)}


class Compare(unittest.TestCase):
    def regressions(self, before, now):
        return compare.judge(before, now, "this")[1]

    def test_equal_figures_do_not_regress(self):
        self.assertEqual(self.regressions(baseline(), measured()), [])

    def test_a_latency_above_its_limit_regresses(self):
        self.assertEqual(self.regressions(baseline(), measured(p95=10)), [])
        (found,) = self.regressions(baseline(), measured(p95=10.1))
        self.assertIn("found v1 p95", found)

    def test_limits_are_wider_on_a_different_machine(self):
        self.assertEqual(self.regressions(baseline("that"), measured(p95=30)), [])
        self.assertEqual(len(self.regressions(baseline("that"), measured(p95=30.1))), 1)

    def test_a_percentile_of_too_few_responses_is_ignored(self):
        self.assertEqual(self.regressions(baseline(), measured(count=199, p99=900)), [])

    def test_an_outcome_without_responses_regresses(self):
        self.assertEqual(self.regressions(baseline(), {}), ["found v1: no responses"])

    def test_the_median_of_the_runs_is_compared(self):
        def result(p95):
            return {"rows": [{"outcome": "found", "variant": "v1", "count": 9, "p50": 1, "p95": p95, "p99": 1}]}

        self.assertEqual(compare.medians([result(9), result(2), result(3)])["found v1"]["p95"], 3)


def response(at, verdict="correct", ms=5.0, status="200"):
    return k6.Response(float(at), ms, "v1", "found", status, verdict)


FAULT = faults.Fault(
    "s3-500", "S3 responds with 500", {"502"}, min_failed=0.05, max_failed=0.5, log_text="500 InternalError"
)
LINES = ((15, "12:00:00  env 1  S3 responded 500 InternalError"),)


class Faults(unittest.TestCase):
    """A drill of 30 s with the fault from 10 s to 20 s."""

    def problems(self, *more, fault=FAULT, lines=LINES, **others):
        responses = [response(at / 2) for at in range(60)] + [
            response(11 + at, "failed", status="502") for at in range(5)
        ]
        return faults.judge(fault, responses + list(more), lines, 10, 20, **others)[1]

    def test_expected_effects_are_not_problems(self):
        self.assertEqual(self.problems(), [])

    def test_a_wrong_response_is_a_problem_at_any_time(self):
        for at in (5, 15, 25):
            self.assertEqual(self.problems(response(at, "wrong")), ["1 wrong responses: see k6.log"])

    def test_unexpected_early_and_late_failures_are_problems(self):
        self.assertIn("['504']", self.problems(response(15, "failed", status="504"))[0])
        self.assertEqual(self.problems(response(5, "failed", status="502")), ["requests failed before the fault"])
        self.assertIn("recovered 5.0 s", self.problems(response(25, "failed", status="502"))[0])

    def test_too_many_and_too_few_failures_are_problems(self):
        self.assertIn("failed, expected", self.problems(*[response(12, "failed", status="502")] * 30)[0])
        self.assertIn("failed, expected", self.problems(*[response(12)] * 200)[0])

    def test_dropped_requests_and_a_leaked_secret_are_problems(self):
        self.assertIn("k6 dropped 3 requests", self.problems(dropped=3)[0])
        leak = [*LINES, (15, f"12:00:00  env 1  {cloud.SECRET}")]
        self.assertEqual(self.problems(lines=leak), ["a log line contains the secret"])

    def test_a_fault_without_evidence_is_a_problem(self):
        self.assertIn("no log line contains", self.problems(lines=[])[0])
        self.assertEqual(self.problems(present=False), ["no evidence that the fault was present"])
        slow = replace(FAULT, min_p99=100)
        self.assertIn("may have been absent", self.problems(fault=slow)[0])
        rejected = replace(FAULT, client_result="413")
        results = collections.Counter({"200": 9})
        self.assertIn("no misbehaving client", self.problems(fault=rejected, client_results=results)[0])

    def test_requests_completed_by_the_end_of_the_fault_are_pending(self):
        pending = [response(20.5, ms=3000.0)] * 10
        (problem, *_) = self.problems(*pending)
        self.assertIn("were pending at the end of the fault", problem)
        row, problems = faults.judge(
            replace(FAULT, max_pending=0.5),
            [response(at / 2) for at in range(60)]
            + pending
            + [response(11 + at, "failed", status="502") for at in range(5)],
            LINES,
            10,
            20,
        )
        self.assertEqual(problems, [])
        self.assertIn("pending at the end of the fault", row[2])

    def test_lasting_slow_responses_delay_the_recovery(self):
        slow = [response(25 + part / 10, ms=900.0) for part in range(8)]
        (problem,) = self.problems(*slow)
        self.assertIn("recovered 6.0 s", problem)
        one_slot = [response(25.1 + part / 100, ms=900.0) for part in range(20)]
        self.assertEqual(self.problems(*one_slot), [])

    def test_a_drill_without_responses_in_one_period_is_a_problem(self):
        without_during = [response(at) for at in (1, 2, 25)]
        self.assertTrue(faults.judge(replace(FAULT, min_failed=0), without_during, LINES, 10, 20)[1])

    def test_log_messages_counts_errors_and_warnings(self):
        record = json.dumps({"level": "WARN", "message": "S3 took 300 ms of `x`"})
        gateway = "12:00:00  api     GET  /  v1  500  35 B  5000.0 ms  1-2 Task timed out after 5.00 seconds"
        lines = (
            [(1, f"12:00:00  env 1  {record}")] * 3 + [(1, "12:00:00  env 1  exited: signal: 9")] * 2 + [(1, gateway)]
        )
        expected = ["`S3 took … ms of 'x'` × 3", "`exited: signal: 9 (Lambda)` × 2"]
        expected.append("`1-2 Task timed out after 5.00 seconds (API Gateway)` × 1")
        self.assertEqual(faults.log_messages(lines), expected)


class Knee(unittest.TestCase):
    """Steps of 10 s with 10, 20 and 30 requests per second."""

    def steps(self, until=30.0, dropped=(), ms=5.0):
        args = types.SimpleNamespace(most=30, steps=3, step_seconds=10, p99=100)
        # The first step is fast in any case.
        sent = [
            (step * 10 + at / (10 * (step + 1)), ms if step else 5.0)
            for step in range(3)
            for at in range(100 * (step + 1))
        ]
        responses = [response(at + took / 1e3, ms=took) for at, took in sent]
        samples = [(at, at * 1.0, at * 0.5, at * 0.1) for at in range(31)]
        steps = knee.steps(args, [r for r in responses if r.at < until], dropped, [s for s in samples if s[0] <= until])
        return [(step.rate, step.dropped, step.passed) for step in steps]

    def test_only_offered_steps_are_reported(self):
        self.assertEqual(self.steps(), [(10, 0, True), (20, 0, True), (30, 0, True)])
        self.assertEqual(self.steps(until=20.5), [(10, 0, True), (20, 0, True)])

    def test_a_step_with_dropped_requests_fails_and_is_the_last(self):
        self.assertEqual(self.steps(dropped=[12.0, 12.1]), [(10, 0, True), (20, 2, False)])
        # During the jump to the next rate.
        self.assertEqual(self.steps(dropped=[20.1]), [(10, 0, True), (20, 0, True), (30, 1, False)])
        self.assertEqual(self.steps(until=20.5, dropped=[20.1, 20.6]), [(10, 0, True), (20, 0, True), (30, 2, False)])

    def test_a_slow_step_fails(self):
        self.assertEqual(self.steps(ms=150.0), [(10, 0, True), (20, 0, False)])

    def test_rows_show_the_cores_and_their_total(self):
        step = knee.Step(100, 99.6, 1.0, 2.0, (0.5, 0.25, 0.125), 0, True)
        self.assertEqual(knee.row(step), "| 100 | 100 | 1.0 | 2.0 | 0.50 | 0.25 | 0.12 | 0.88 | 0 | yes |")


class Soak(unittest.TestCase):
    """Two environments during 400 s; the second one is idle."""

    def failed_checks(self, growth=0.0, peak=12.0, responses=None, exit_code=0, leaks=0, exited=0):
        samples = [
            (at, pid, 18.0 + (growth * at / 400 if pid == 7 else 0), 9, 4) for at in range(400) for pid in (0, 7, 8)
        ]
        sampler = types.SimpleNamespace(samples=samples, peaks={0: 50.0, 7: peak, 8: 9.0})
        responses = responses or [response(at) for at in range(400)]
        run = soak.Run(400, responses, sampler, 8.0, 1.0, exit_code, leaks, exited)
        return [name for name, _, _, passed in soak.judge(run) if not passed]

    def test_constant_figures_pass(self):
        self.assertEqual(self.failed_checks(), [])

    def test_growth_of_one_environment_fails_beside_an_idle_one(self):
        self.assertEqual(
            self.failed_checks(growth=12.0), ["median memory of environment 1, MiB, second → last quarter"]
        )

    def test_a_peak_above_p6_fails(self):
        (name,) = self.failed_checks(peak=8.0 + 1.25 * 8 + 3 + 0.1)
        self.assertIn("P6", name)

    def test_wrong_failed_leaking_and_exited_fail(self):
        bad = [response(at) for at in range(400)] + [response(399, "wrong"), response(399, "failed")]
        self.assertEqual(self.failed_checks(responses=bad), ["wrong responses", "failed requests"])
        self.assertEqual(self.failed_checks(exit_code=99, leaks=1), ["k6's thresholds", "log lines with the secret"])
        self.assertEqual(self.failed_checks(exited=1), ["environments that exited during the run"])

    def test_responses_that_become_slower_fail(self):
        slower = [response(at, ms=5 if at < 200 else 50) for at in range(400)]
        expected = ["p99 of correct responses, ms, second → last quarter"]
        self.assertEqual(self.failed_checks(responses=slower), expected)


class Harness(unittest.TestCase):
    def test_a_percentile_is_by_nearest_rank(self):
        self.assertEqual([percentile(range(1, 101), percent) for percent in (0, 50, 99, 100)], [1, 50, 99, 100])

    def test_times_with_any_number_of_decimals_are_converted(self):
        for text, expected in (
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
            ("2026-01-02T03:04:05.5Z", "2026-01-02T03:04:05.500000+00:00"),
            ("2026-01-02T03:04:05.123456789+01:00", "2026-01-02T03:04:05.123456+01:00"),
        ):
            self.assertEqual(k6._iso_time(text), expected)

    def test_a_result_with_missing_responses_is_rejected(self):
        with tempfile.TemporaryDirectory() as folder:
            run = object.__new__(k6.K6)
            run.summary, run.log = pathlib.Path(folder) / "s.json", pathlib.Path(folder) / "k6.log"
            run.process = types.SimpleNamespace(returncode=k6.MISSED)
            run.summary.write_text(json.dumps({"rows": [{"count": 99}, {"count": 1}]}))
            for reported, aborted, accepted in (
                (100, False, True),
                (99, False, False),
                (101, False, False),
                (102, True, True),
                (103, True, False),
            ):
                run.responses = [response(1)] * reported
                with self.subTest(reported=reported, aborted=aborted):
                    if accepted:
                        run.result(aborted)
                    else:
                        self.assertRaises(SystemExit, run.result, aborted)

    def test_saved_responses_are_loaded_unchanged(self):
        with tempfile.TemporaryDirectory() as folder:
            run = object.__new__(k6.K6)
            run.out = pathlib.Path(folder)
            run.responses = [k6.Response(1.5, 2.5, "v1", "found", "200", "correct")]
            run.save()
            self.assertEqual(k6.load(run.out / "responses.csv"), run.responses)

    def test_the_environment_selects_the_folders(self):
        script = "import harness; print(harness.OUT, harness.CARGO_TARGET, sep='\\n')"

        def folders(**env):
            inherited = {
                name: value for name, value in os.environ.items() if name not in ("LOADTEST_OUT", "CARGO_TARGET_DIR")
            }
            command = [sys.executable, "-c", script]
            return subprocess.run(
                command, cwd=HERE, env={**inherited, **env}, capture_output=True, text=True, check=True
            ).stdout.split("\n")[:2]

        self.assertEqual(folders(), [str(ROOT / "target" / "loadtest"), str(ROOT / "target")])
        self.assertEqual(folders(LOADTEST_OUT="/reports", CARGO_TARGET_DIR="/build"), ["/reports", "/build"])
        self.assertEqual(folders(CARGO_TARGET_DIR="build")[1], str(ROOT / "build"))


if __name__ == "__main__":
    unittest.main()
