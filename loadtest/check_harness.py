"""What the scripts work out, by examples: python3 -m unittest loadtest/check_harness.py"""

import importlib.machinery
import importlib.util
import json
import pathlib
import sys
import tempfile
import types
import unittest
from dataclasses import replace

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from harness import k6  # noqa: E402
from harness.stats import percentile  # noqa: E402



def script(path):
    name = pathlib.Path(path).name
    loader = importlib.machinery.SourceFileLoader(name, str(HERE / path))
    module = sys.modules[name] = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


# They have no `.py`, and leave none of its kind behind.
sys.dont_write_bytecode = True
compare, faults, knee, soak = script("compare"), script("local/faults"), script("local/knee"), script("local/soak")


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
        self.assertEqual(self.regressions(baseline(), now(p95=10)), [])
        (found,) = self.regressions(baseline(), now(p95=10.1))
        self.assertIn("found v1 p95", found)

    def test_limits_are_wider_on_another_machine(self):
        self.assertEqual(self.regressions(baseline("that"), now(p95=30)), [])
        self.assertEqual(len(self.regressions(baseline("that"), now(p95=30.1))), 1)

    def test_a_percentile_of_too_few_answers_says_nothing(self):
        self.assertEqual(self.regressions(baseline(), now(count=199, p99=900)), [])

    def test_answers_that_are_not_there_any_more_are_a_regression(self):
        self.assertEqual(self.regressions(baseline(), {}), ["found v1: no answers"])

    def test_the_median_of_three_runs_is_compared(self):
        result = lambda p95: {"rows": [{"outcome": "found", "variant": "v1", "count": 9, "p50": 1, "p95": p95, "p99": 1}]}
        self.assertEqual(compare.medians([result(9), result(2), result(3)])["found v1"]["p95"], 3)


def answer(at, verdict="right", ms=5.0, status="200"):
    return k6.Answer(float(at), ms, "v1", "found", status, verdict)


class Faults(unittest.TestCase):
    """A drill in which all is well from 0 to 10 s, the fault lasts until 20 s, and it is over until 30 s."""

    FAULT = faults.Fault("s3-500", "S3 answers 500", {"502"}, least=0.05, most=0.5, logged="500 InternalError")
    LINES = [(15, "12:00:00  env 1  S3 answered 500 InternalError")]

    def problems(self, *more, fault=FAULT, lines=LINES, **others):
        every = [answer(at / 2) for at in range(0, 60)] + [answer(11 + at, "failed", status="502") for at in range(5)]
        return faults.judge(fault, every + list(more), lines, 10, 20, **others)[1]

    def test_what_goes_as_stated_has_no_problem(self):
        self.assertEqual(self.problems(), [])

    def test_one_wrong_answer_is_a_problem_at_any_time(self):
        for at in (5, 15, 25):
            self.assertEqual(self.problems(answer(at, "wrong")), ["1 wrong answers: see k6.log"])

    def test_failures_of_another_kind_before_the_fault_or_long_after_it_are_problems(self):
        self.assertIn("['504']", self.problems(answer(15, "failed", status="504"))[0])
        self.assertEqual(self.problems(answer(5, "failed", status="502")), ["requests failed before the fault"])
        self.assertIn("well again 5.0 s", self.problems(answer(25, "failed", status="502"))[0])

    def test_too_many_and_too_few_failures_are_problems(self):
        self.assertIn("failed, not", self.problems(*[answer(12, "failed", status="502")] * 30)[0])
        self.assertIn("failed, not", self.problems(*[answer(12)] * 200)[0])

    def test_dropped_requests_and_a_told_secret_are_problems(self):
        self.assertIn("3 requests were not made", self.problems(dropped=3)[0])
        told = [*self.LINES, (15, f"12:00:00  env 1  {faults.cloud.SECRET}")]
        self.assertEqual(self.problems(lines=told), ["a line tells the secret"])

    def test_a_fault_of_which_nothing_is_seen_is_a_problem(self):
        self.assertIn("no line says", self.problems(lines=[])[0])
        self.assertEqual(self.problems(proven=False), ["nothing shows that the fault was there"])
        slow = replace(self.FAULT, slowest=100)
        self.assertIn("was it there?", self.problems(fault=slow)[0])
        crowd = replace(self.FAULT, seen="413")
        self.assertIn("no rude client saw", self.problems(fault=crowd, seen_by=faults.collections.Counter({"200": 9}))[0])

    def test_what_only_the_end_of_the_fault_saved_had_no_answer_while_it_lasted(self):
        saved = [answer(20.5, ms=3000.0)] * 10
        (problem, *_) = self.problems(*saved)
        self.assertIn("had no answer when it ended", problem)
        row, problems = faults.judge(replace(self.FAULT, waiting=0.5), [answer(at / 2) for at in range(60)] + saved
                                     + [answer(11 + at, "failed", status="502") for at in range(5)], self.LINES, 10, 20)
        self.assertEqual(problems, [])
        self.assertIn("still waiting when it ended", row[2])

    def test_slow_answers_are_not_well_again(self):
        slow = [answer(25 + part / 10, ms=900.0) for part in range(8)]
        (problem,) = self.problems(*slow)
        self.assertIn("well again 6.0 s", problem)
        hiccup = [answer(25.1 + part / 100, ms=900.0) for part in range(20)]
        self.assertEqual(self.problems(*hiccup), [])

    def test_a_drill_without_requests_in_one_of_its_parts_is_a_problem(self):
        only = [answer(at) for at in (1, 2, 25)]
        self.assertTrue(faults.judge(replace(self.FAULT, least=0), only, self.LINES, 10, 20)[1])


class Knee(unittest.TestCase):
    """Steps of 10 s, of 10, 20 and 30 a second."""

    class Given:
        most, steps, step_seconds, p99 = 30, 3, 10, 100

    def rows(self, until=30.0, dropped=(), ms=5.0):
        # The first step is quick, whatever the others are.
        sent = [(step * 10 + at / (10 * (step + 1)), ms if step else 5.0) for step in range(3) for at in range(100 * (step + 1))]
        answers = [answer(at + took / 1e3, ms=took) for at, took in sent]
        samples = [(at, at * 1.0, at * 0.5, at * 0.1) for at in range(31)]
        rows = knee.steps(self.Given, [each for each in answers if each.at < until], dropped, [s for s in samples if s[0] <= until])
        return [(row[0], row[-2], row[-1]) for row in rows]

    def test_steps_that_hold_are_told_and_none_that_was_not_offered(self):
        self.assertEqual(self.rows(), [(10, 0, True), (20, 0, True), (30, 0, True)])
        self.assertEqual(self.rows(until=20.5), [(10, 0, True), (20, 0, True)])

    def test_a_step_in_which_requests_were_dropped_did_not_hold_and_is_the_last(self):
        self.assertEqual(self.rows(dropped=[12.0, 12.1]), [(10, 0, True), (20, 2, False)])
        # At the jump to the next one.
        self.assertEqual(self.rows(dropped=[20.1]), [(10, 0, True), (20, 0, True), (30, 1, False)])
        self.assertEqual(self.rows(until=20.5, dropped=[20.1, 20.6]), [(10, 0, True), (20, 0, True), (30, 2, False)])

    def test_a_step_that_was_slow_did_not_hold(self):
        self.assertEqual(self.rows(ms=150.0), [(10, 0, True), (20, 0, False)])


class Soak(unittest.TestCase):
    """Two environments over 400 s, of which the second is idle."""

    def checks(self, grows=0.0, most=12.0, **others):
        class Watcher:
            samples = [(at, pid, 18.0 + (grows * at / 400 if pid == 7 else 0), 9, 4) for at in range(400) for pid in (0, 7, 8)]

        Watcher.most = {0: 50.0, 7: most, 8: 9.0}
        answers = others.pop("answers", [answer(at) for at in range(400)])
        ran = soak.Ran(400, answers, Watcher, 8.0, 1.0, others.get("code", 0), others.get("secrets", 0), others.get("ended", 0))
        return [what for what, _, _, holds in soak.judge(ran) if not holds]

    def test_what_stays_as_it_is_passes(self):
        self.assertEqual(self.checks(), [])

    def test_one_environment_that_grows_does_not_hide_behind_an_idle_one(self):
        self.assertEqual(self.checks(grows=12.0), ["memory of the environment 1, MiB, second → last quarter"])

    def test_a_peak_past_p6_fails_however_short(self):
        (what,) = self.checks(most=8.0 + 1.25 * 8 + 3 + 0.1)
        self.assertIn("P6", what)

    def test_wrong_and_failed_answers_missed_thresholds_and_told_secrets_fail(self):
        bad = [answer(at) for at in range(400)] + [answer(399, "wrong"), answer(399, "failed")]
        self.assertEqual(self.checks(answers=bad), ["answers that are wrong", "answers that failed"])
        self.assertEqual(self.checks(code=99, secrets=1), ["k6's thresholds", "lines that tell the secret"])
        self.assertEqual(self.checks(ended=1), ["environments that ended before the end"])

    def test_answers_that_become_slower_fail(self):
        slower = [answer(at, ms=5 if at < 200 else 50) for at in range(400)]
        self.assertEqual(self.checks(answers=slower), ["p99 of all answers, ms, second → last quarter"])


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

    def test_answers_that_were_counted_and_not_told_of_are_no_result(self):
        with tempfile.TemporaryDirectory() as folder:
            run = object.__new__(k6.K6)
            run.summary, run.log = pathlib.Path(folder) / "s.json", pathlib.Path(folder) / "k6.log"
            run.process = types.SimpleNamespace(returncode=k6.MISSED)
            run.summary.write_text(json.dumps({"rows": [{"count": 99}, {"count": 1}]}))
            for told, stopped, holds in ((100, False, True), (99, False, False), (101, False, False), (102, True, True), (103, True, False)):
                run.answers = [answer(1)] * told
                with self.subTest(told=told, stopped=stopped):
                    if holds:
                        run.result(stopped)
                    else:
                        self.assertRaises(SystemExit, run.result, stopped)

    def test_answers_that_were_saved_are_read_again(self):
        with tempfile.TemporaryDirectory() as folder:
            run = object.__new__(k6.K6)
            run.out = pathlib.Path(folder)
            run.answers = [k6.Answer(1.5, 2.5, "v1", "found", "200", "right")]
            run.save()
            self.assertEqual(k6.load(run.out / "answers.csv"), run.answers)


if __name__ == "__main__":
    unittest.main()
