"""The local cloud as a process: started, watched, ended."""

import os
import pathlib
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from . import ROOT

# Told to go, a script still ends what it has started.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

ACCESS_KEY_ID = "AKIALOCALNEAREDGE000"
SECRET_ACCESS_KEY = "local-nearedge-secret-key-that-opens-nothing"
BUCKET = "lambda-api-2022"
SECRET = "lambdaapi_test"


def build():
    """The optimised emulator, or the one that EMULATOR names."""
    if named := os.environ.get("EMULATOR"):
        return pathlib.Path(named)
    subprocess.run(["cargo", "build", "--locked", "--release", "-p", "emulator"], cwd=ROOT, check=True)
    return ROOT / "target" / "release" / "emulator"


class Cloud:
    """The emulator at four ports from `port` on; its lines are kept with the time of each."""

    def __init__(self, emulator, *arguments, port=13100, shell=None, env=None):
        self.edge, self.gateway, self.s3, self.console = (f"http://127.0.0.1:{port + number}" for number in range(4))
        command = [str(emulator), "--logs", *arguments]
        for flag, number in (("--edge", 0), ("--gateway", 1), ("--s3", 2), ("--console", 3)):
            command += [flag, f"127.0.0.1:{port + number}"]
        # A shell makes its world, which is no one else's, and becomes the emulator.
        if shell:
            command = ["unshare", "--mount", "sh", "-c", f'{shell}; exec "$@"', "sh", *command]
        self.lines = []
        self.ready = queue.Queue()
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env={**os.environ, **(env or {})}
        )
        threading.Thread(target=self._read, daemon=True).start()
        try:
            problem = self.ready.get(timeout=30)
        except queue.Empty:
            problem = "it is not ready after 30 s"
        if problem:
            self.process.kill()
            sys.exit(f"the local cloud does not start: {problem}")

    def _read(self):
        waiting = True
        for line in self.process.stdout:
            self.lines.append((time.time(), line.rstrip("\n")))
            if waiting and "nearedge is ready" in line:
                waiting = False
                self.ready.put("")
        if waiting:
            self.ready.put("\n".join(line for _, line in self.lines[-5:]) or "it ended at once")

    def fault(self, *names):
        """Puts these faults in force; none ends them."""
        method, body = ("PUT", "\n".join(names).encode()) if names else ("DELETE", None)
        request = urllib.request.Request(f"{self.console}/fault", data=body, method=method)
        try:
            urllib.request.urlopen(request, timeout=5).read()
        except urllib.error.HTTPError as error:
            sys.exit(error.read().decode())

    def handlers(self):
        """The processes of the execution environments."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return sorted(int(pid) for file in children for pid in _text(file).split())

    def bucket(self):
        """A client for the bucket."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.s3,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY_ID,
            aws_secret_access_key=SECRET_ACCESS_KEY,
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            sys.exit("the local cloud does not end: killed")


def end(*parts):
    """Ends each of what has been started, whatever comes of the others; None is nothing."""
    problems = []
    for part in filter(None, parts):
        try:
            part.end()
        except (Exception, SystemExit) as problem:  # noqa: BLE001
            problems.append(problem)
    if problems:
        raise problems[0]


def _text(path):
    try:
        return pathlib.Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def memory_mb(pid, what="VmRSS"):
    """What a process holds now, in MiB, or with VmHWM the most that it ever held; None when it is gone."""
    found = re.search(rf"{what}:\s+(\d+) kB", _text(f"/proc/{pid}/status"))
    return int(found[1]) / 1024 if found else None


def descriptors(pid):
    """How many descriptors a process has open, and how many of them are sockets."""
    links = []
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            try:
                links.append(os.readlink(entry.path))
            except FileNotFoundError:
                pass
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return len(links), sum(link.startswith("socket:") for link in links)


def cpu_seconds(pid):
    """The CPU that a process has used, in seconds; 0 when it is gone."""
    text = _text(f"/proc/{pid}/stat")
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0
