"""Tests the calculations of the load test programs: python3 -m unittest loadtest/check_harness.py"""

import collections
import contextlib
import http.server
import importlib.machinery
import importlib.util
import io
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import types
import unittest
from dataclasses import replace

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from harness import ROOT, cloud, k6, preflight
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

    def test_the_environment_selects_the_folder(self):
        def folder(**env):
            inherited = {name: value for name, value in os.environ.items() if name != "LOADTEST_OUT"}
            command = [sys.executable, "-c", "import harness; print(harness.OUT)"]
            return subprocess.run(
                command, cwd=HERE, env={**inherited, **env}, capture_output=True, text=True, check=True
            ).stdout.strip()

        self.assertEqual(folder(), str(ROOT / "target" / "loadtest"))
        self.assertEqual(folder(LOADTEST_OUT="/reports"), "/reports")

    def test_blocks_of_ports_in_use_are_skipped(self):
        first = preflight.free_ports(14100, 4)
        with socket.create_server(("127.0.0.1", first + 3)):
            self.assertGreater(preflight.free_ports(first, 4), first)
        self.assertEqual(preflight.free_ports(first, 4), first)


def refusal(function, *arguments):
    """The message of a function that ends the program because nothing can be tested."""
    output = io.StringIO()
    with contextlib.redirect_stderr(output):
        try:
            function(*arguments)
        except SystemExit as error:
            return error.code, output.getvalue().strip()
    raise AssertionError("expected an exit")


class Preflight(unittest.TestCase):
    """What a user may have wrong ends a program at once, with exit code 2 and one line."""

    def refused(self, text, function, *arguments):
        code, message = refusal(function, *arguments)
        self.assertEqual(code, 2)
        self.assertIn(text, message)
        self.assertNotIn("\n", message)

    def test_a_missing_server_is_reported_with_the_remedy(self):
        port = preflight.free_ports(14200, 1)
        url = f"http://127.0.0.1:{port}"
        self.refused(f"no server at {url}: start `cargo run`", preflight.server, "BASE_URL", url)
        for host in ("no-such-host.invalid", "a..b", "a" * 70):
            self.refused("correct API_URL", preflight.server, "API_URL", f"https://{host}")

    def test_an_address_that_is_no_url_is_refused(self):
        for url in ("127.0.0.1:3000", "localhost", "ftp://a", "http://", "http://a:b", "http://a:99999", "http://a?b"):
            with self.subTest(url=url):
                self.refused(f"BASE_URL={url}: expected a URL", preflight.server, "BASE_URL", url)

    def test_a_server_without_tls_is_reported(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]

            def respond():
                connection, _ = listener.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

            threading.Thread(target=respond, daemon=True).start()
            self.refused("expected TLS", preflight.server, "BASE_URL", f"https://127.0.0.1:{port}")

    @unittest.skipUnless(importlib.util.find_spec("trustme"), "needs trustme")
    def test_an_untrusted_certificate_is_reported(self):
        from harness import tls

        with tempfile.TemporaryDirectory() as folder:
            proxy = tls.SlowTls("http://127.0.0.1:9", preflight.free_ports(14300, 1), folder)
            try:
                self.refused("SSL_CERT_FILE", preflight.server, "BASE_URL", proxy.url)
                preflight.server("BASE_URL", proxy.url, skip_tls_verify=True)
            finally:
                proxy.stop()

    def test_unknown_settings_are_refused(self):
        def settings(*arguments):
            return preflight.settings("steady", arguments)

        self.assertEqual(settings("RATE=5", "K6_DNS=a=b"), {"RATE": "5", "K6_DNS": "a=b"})
        self.refused("did you mean RATE?", settings, "RAET=5")
        self.refused("did you mean RATE?", settings, "--rate=5")
        self.refused("did you mean P99_MS?", settings, "--p99-ms")
        self.refused("expected RATE=VALUE", settings, "RATE", "5")
        self.refused("expected NAME=VALUE, found '5'", settings, "5")
        self.refused("steady has no setting 'BURSTS'", settings, "BURSTS=2")

    def test_the_document_describes_every_setting(self):
        scenarios = [path.stem for path in HERE.glob("*.js")]
        read = {name for scenario in scenarios for name in preflight.setting_names(scenario)}
        rows = re.findall(r"^\| (`[A-Z0-9_`, ]+`) \|", (ROOT / "docs/loadtest.md").read_text(), re.M)
        self.assertEqual({name for row in rows for name in re.findall(r"[A-Z0-9_]+", row)}, read)
        self.assertIn(f"'{preflight.BASE_URL}'", (HERE / "lib/settings.js").read_text())

    def test_missing_packages_are_listed(self):
        self.refused("no_such_package", preflight.packages, "json", "no_such_package")

    def test_cargo_reports_where_the_binary_is(self):
        with tempfile.TemporaryDirectory() as folder:
            library, binary = ({"target": {"name": "nearedge"}, "executable": path} for path in (None, "/b/nearedge"))
            program = pathlib.Path(folder, "cargo")

            def cargo(code, *messages):
                lines = "\n".join(map(json.dumps, messages))
                program.write_text(f"#!/bin/sh\ncat <<'END'\n{lines}\nEND\nexit {code}\n")
                program.chmod(0o755)

            path = os.environ["PATH"]
            self.addCleanup(os.environ.update, PATH=path, **{n: v for n, v in os.environ.items() if n == "EMULATOR"})
            os.environ.pop("EMULATOR", None)
            os.environ["PATH"] = f"{folder}{os.pathsep}{path}"
            cargo(0, library, {"reason": "build-script-executed"}, binary, {"reason": "build-finished"})
            self.assertEqual(str(cloud.build()), "/b/nearedge")
            cargo(101, library)
            self.refused("cargo did not build nearedge", cloud.build)
            os.environ["PATH"] = "/no-such-folder"
            self.refused("cargo is not installed", cloud.build)
            os.environ["EMULATOR"] = folder
            self.refused("expected a nearedge binary", cloud.build)
            del os.environ["EMULATOR"]


class Commands(unittest.TestCase):
    """Whole programs, as a user starts them."""

    def output(self, code, program, *arguments, **env):
        command = [sys.executable, str(HERE / program), *arguments]
        result = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)
        self.assertNotIn("Traceback", result.stderr)
        self.assertEqual(result.returncode, code, result.stderr)
        return result.stdout + result.stderr

    def test_a_run_without_a_server_ends_with_one_line(self):
        url = f"http://127.0.0.1:{preflight.free_ports(14200, 1)}"
        message = self.output(2, "run", "smoke", f"BASE_URL={url}")
        self.assertIn(f"no server at {url}: start `cargo run`", message)
        self.assertEqual(message.count("\n"), 1)

    def test_wrong_arguments_exit_with_2(self):
        for program, *arguments in (
            ("run",),
            ("run", "smkoe"),
            ("run", "smoke", "RAET=5"),
            ("manifest",),
            ("manifest", "/no-such-folder"),
            ("compare", "/no-such-file", "/no-such-file", "/no-such-file"),
            ("compare", *[str(HERE / "run")] * 3),
            ("local/faults", "s3-hagn"),
            ("local/faults", "--seconds", "1,2"),
            ("local/knee", "--most", "0"),
            ("local/knee", "--steps", "1"),
            ("local/soak", "--minutes", "nan"),
        ):
            with self.subTest(program=program, arguments=arguments):
                self.output(2, program, *arguments)
        self.assertIn("did you mean smoke?", self.output(2, "run", "smkoe"))

    def test_help_exits_with_0(self):
        for program in ("run", "manifest", "compare", "local/faults", "local/knee", "local/soak"):
            with self.subTest(program=program):
                self.assertIn(pathlib.Path(program).name, self.output(0, program, "--help"))

    def test_a_manifest_lists_visible_files_only(self):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "v1/.git").mkdir(parents=True)
            (root / ".well-known").mkdir()
            for name in ("v1/a.html", "v1/.DS_Store", "v1/.git/config", ".env", ".well-known/b.txt"):
                (root / name).write_text("x")
            (root / "v1/up").symlink_to("..")
            keys = [each["key"] for each in json.loads(self.output(0, "manifest", folder))]
            self.assertEqual(keys, [".well-known/b.txt", "v1/a.html"])
            (root / "v1/gone.html").symlink_to("nothing")
            self.assertIn("broken link", self.output(2, "manifest", folder))

    def test_a_manifest_of_an_empty_folder_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertIn("has no files", self.output(2, "manifest", folder))


@unittest.skipUnless(preflight.find_k6(), "needs k6")
class WithK6(unittest.TestCase):
    output = Commands.output

    def test_k6_refuses_wrong_values_before_the_run(self):
        with tempfile.TemporaryDirectory() as folder:
            wrong = pathlib.Path(folder, "wrong.json")
            wrong.write_text("[1]")
            for scenario, setting, text in (
                ("steady", "RATE=abc", "expected a number"),
                ("steady", "RATE=1.5", "expected a whole number"),
                ("steady", "VUS=0", "of at least 1"),
                ("steady", "DURATION=5x", "is not a duration"),
                ("steady", "FAILURES=2", "0 to 1"),
                ("steady", "VARIANTS=red", "has no objects below red/"),
                ("steady", "MANIFEST=/no-such-file", "cannot be read"),
                ("steady", f"MANIFEST={wrong}", "expected a list of objects"),
                ("ramp", "STEPS=1", "of at least 2"),
                ("experiment", "EXPERIMENTS=/no-such-file", "set EXPERIMENTS to a copy of the object"),
                ("experiment", f"EXPERIMENTS={wrong}", "expected a feature test_version"),
                ("experiment", "DEVIATIONS=x", "expected a number"),
            ):
                with self.subTest(setting=setting):
                    code, message = refusal(k6.check, scenario, dict([setting.split("=", 1)]))
                    self.assertEqual((code, message.count("\n")), (2, 0), message)
                    self.assertIn(text, message)

    def test_k6_alone_explains_a_missing_server(self):
        url = f"http://127.0.0.1:{preflight.free_ports(14200, 1)}"
        command = [preflight.find_k6(), "run", "--quiet", "--no-usage-report", str(HERE / "smoke.js")]
        env = {**os.environ, "BASE_URL": url, "VARIANTS": "v1"}
        result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        self.assertIn(f"No server at {url}: start `cargo run`", result.stderr)

    @unittest.skipUnless(importlib.util.find_spec("matplotlib"), "needs matplotlib")
    def test_another_site_is_explained_with_the_first_response(self):
        class OtherSite(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(404)
                self.end_headers()

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OtherSite)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with tempfile.TemporaryDirectory() as folder:
                url = f"http://127.0.0.1:{server.server_port}"
                output = self.output(99, "run", "smoke", f"BASE_URL={url}", "VARIANTS=v1", LOADTEST_OUT=folder)
        finally:
            server.shutdown()
            server.server_close()
        lines = [line for line in output.splitlines() if "level=error" in line]
        self.assertIn("WRONG", lines[0])
        explanations = [line for line in lines if "loadtest/manifest DIR > FILE" in line and "MANIFEST=FILE" in line]
        self.assertIn(explanations[0], lines[:3])
        # One for each VU.
        self.assertLessEqual(len(explanations), 2)
        self.assertRegex(output, "(?m)^The responses are compared with loadtest/site.json")


if __name__ == "__main__":
    unittest.main()
