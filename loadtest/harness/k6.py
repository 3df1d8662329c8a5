"""Runs k6 and reads the responses that it records, while it runs."""

import csv
import datetime
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from typing import NamedTuple

from . import LOADTEST, preflight
from .command import fail


class Response(NamedTuple):
    """A response that k6 recorded; one row of responses.csv."""

    at: float  # when it was complete, in Unix seconds
    ms: float
    variant: str
    outcome: str
    status: str
    verdict: str  # correct, failed or wrong

    @property
    def sent(self):
        """When its request was sent, in Unix seconds."""
        return self.at - self.ms / 1e3


def check(scenario, settings):
    """Lets k6 read the scenario with these settings, without a request. Fails if it rejects one."""
    # By default, `inspect` hides the environment from the scripts, which read their settings there.
    options = ["--include-system-env-vars", "--log-format", "raw"]
    command = [preflight.find_k6(), "inspect", *options, str(LOADTEST / f"{scenario}.js")]
    result = subprocess.run(command, env=_environment(settings), capture_output=True, text=True, errors="replace")
    if result.returncode:
        # The first line is the message of the exception, the others are its stack trace.
        message = result.stderr.strip().split("\n")[0]
        fail(f"k6 cannot run {scenario}: {message.removeprefix('Error: ')}")


def _environment(settings, **defaults):
    # Settings go through the environment: a command line with a secret would be visible to other users.
    added = {**defaults, **(settings or {})}
    return {**os.environ, **{name: str(value) for name, value in added.items()}}


# k6's exit codes of a completed run: all thresholds passed, or some were missed.
PASSED, MISSED = 0, 99


class K6:
    """A run of one scenario.

    `responses` grows during the run. `dropped` has the times of dropped iterations, in Unix seconds."""

    def __init__(self, scenario, out, settings=None, quiet=False):
        self.responses = []
        self.dropped = []
        self.out = pathlib.Path(out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.log = self.out / "k6.log"
        self.pipe = self.out / "points"
        self.summary = self.out / f"{scenario}.json"
        # Do not mistake an earlier run's files for results of this one.
        for stale in (self.pipe, self.summary):
            stale.unlink(missing_ok=True)
        os.mkfifo(self.pipe)
        command = [preflight.find_k6(), "run", "--out", f"json={self.pipe}", "--no-usage-report"]
        command += ["--quiet"] if quiet else []
        env = _environment(
            {**(settings or {}), "OUT": self.out},
            # Write the HTML report, without a server (port -1).
            K6_WEB_DASHBOARD="true",
            K6_WEB_DASHBOARD_PORT="-1",
            K6_WEB_DASHBOARD_PERIOD="2s",
            K6_WEB_DASHBOARD_EXPORT=self.out / "report.html",
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        command.append(str(LOADTEST / f"{scenario}.js"))
        if quiet:
            with open(self.log, "wb") as log:
                self.process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        else:
            self.process = subprocess.Popen(command, env=env)

    def _read(self):
        with open(self.pipe, "rb") as points:
            for line in points:
                # k6 writes about ten other points per request; skip them without parsing.
                if b'"type":"Point"' not in line or (
                    b'"metric":"response_ms"' not in line and b'"metric":"dropped_iterations"' not in line
                ):
                    continue
                point = json.loads(line)
                data = point["data"]
                at = datetime.datetime.fromisoformat(_iso_time(data["time"])).timestamp()
                if point["metric"] == "dropped_iterations":
                    self.dropped += [at] * int(data["value"])
                    continue
                tags = data["tags"]
                self.responses.append(
                    Response(at, data["value"], tags["variant"], tags["outcome"], tags["status"], tags["verdict"])
                )

    def stop(self):
        """Kills k6 if it is still running."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def result(self, aborted=False):
        """The summary that lib/report.js wrote, after a check that `responses` is complete.

        `aborted`: a threshold may have aborted the run. A VU may then have recorded a response's time but not its
        count."""
        if self.process.returncode not in (PASSED, MISSED) or not self.summary.exists():
            sys.exit(f"k6 exited with code {self.process.returncode} and wrote no result\n{self._log_tail()}")
        result = json.loads(self.summary.read_text())
        counted = sum(row["count"] for row in result["rows"])
        tolerance = counted // 50 if aborted else 0
        if not 0 <= len(self.responses) - counted <= tolerance:
            sys.exit(f"k6 counted {counted} responses but reported {len(self.responses)}")
        return result

    def wait(self, seconds):
        """Waits for k6 to exit and returns its exit code: 0 if all thresholds passed."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            sys.exit(f"k6 did not exit within {seconds:g} s and was killed")
        # If k6 failed to start, it has not opened the pipe and the reader still waits for a writer.
        if self.reader.is_alive() and not self.responses:
            with open(self.pipe, "wb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)):
                pass
        self.reader.join(60)
        if self.reader.is_alive():
            sys.exit("k6 exited, but its output is not complete after 60 s")
        self.pipe.unlink(missing_ok=True)
        return code

    def wait_for_responses(self, count, seconds=30):
        """Waits until k6 has recorded `count` responses."""
        end = time.monotonic() + seconds
        while len(self.responses) < count:
            if self.process.poll() is not None or time.monotonic() > end:
                reported = f"k6 recorded {len(self.responses)} responses within {seconds} s, expected {count}"
                sys.exit(f"{reported}\n{self._log_tail()}")
            time.sleep(0.01)

    def save(self):
        """Writes all responses to responses.csv."""
        with open(self.out / "responses.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(Response._fields)
            writer.writerows(self.responses)

    def _log_tail(self):
        return self.log.read_text()[-2000:] if self.log.exists() else ""


def _iso_time(text):
    """Converts Go's timestamps (up to nine decimals, `Z`) to what `fromisoformat` accepts in each Python version."""
    head, _, rest = text.replace("Z", "+00:00").partition(".")
    if not rest:
        return text.replace("Z", "+00:00")
    for index, letter in enumerate(rest):
        if not letter.isdigit():
            return f"{head}.{rest[:index][:6].ljust(6, '0')}{rest[index:]}"
    return f"{head}.{rest[:6]}"


def load(path):
    """Reads the responses that `K6.save` wrote."""
    with open(path, newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return [Response(float(at), float(ms), *others) for at, ms, *others in rows]
