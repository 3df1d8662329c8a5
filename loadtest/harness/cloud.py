"""Runs the local cloud as a child process and inspects its processes."""

import json
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

from . import ROOT, preflight
from .command import fail

# On SIGTERM, run the `finally` clauses, which stop the child processes.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

# The local cloud's defaults.
ACCESS_KEY_ID = "AKIALOCALNEAREDGE000"
SECRET_ACCESS_KEY = "local-nearedge-secret-key-that-opens-nothing"
BUCKET = "lambda-api-2022"
SECRET = "lambdaapi_test"


def build():
    """Returns the path of the nearedge binary: EMULATOR if set, else a new release build."""
    if path := os.environ.get("EMULATOR"):
        if not (pathlib.Path(path).is_file() and os.access(path, os.X_OK)):
            fail(f"EMULATOR={path}: expected a nearedge binary, such as target/debug/nearedge")
        return pathlib.Path(path)
    # Cargo reports where it writes: an environment variable or its configuration may select another folder or target.
    command = ["cargo", "build", "--locked", "--release", "-p", "emulator"]
    command.append("--message-format=json-render-diagnostics")
    or_emulator = "or set EMULATOR to a nearedge binary, such as target/debug/nearedge"
    try:
        built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    except FileNotFoundError:
        fail(f"cargo is not installed: install Rust (https://rustup.rs), {or_emulator}")
    messages = map(json.loads, filter(None, built.stdout.splitlines()))
    paths = [message.get("executable") for message in messages if message.get("target", {}).get("name") == "nearedge"]
    # The library nearedge has the same name, and no executable.
    executables = list(filter(None, paths))
    if built.returncode or not executables:
        fail(f"cargo did not build nearedge: correct the error above, {or_emulator}")
    return pathlib.Path(executables[-1])


class Cloud:
    """A local cloud on four free ports from `port` on. `lines` collects its output as (Unix seconds, line).

    `setup` is a shell command that runs in a private mount namespace before the local cloud starts there. This requires
    root."""

    def __init__(self, nearedge, *arguments, port=13100, setup=None, env=None):
        port = preflight.free_ports(port, 4)
        self.edge, self.gateway, self.s3, self.console = (f"http://127.0.0.1:{port + number}" for number in range(4))
        # The test of the sample site is off, unless `arguments` sets experiments: the function would load its definition.
        command = [str(nearedge), "--logs", "--env", "experiments=", *arguments]
        for option, number in (("--edge", 0), ("--gateway", 1), ("--s3", 2), ("--console", 3)):
            command += [option, f"127.0.0.1:{port + number}"]
        if setup:
            command = ["unshare", "--mount", "sh", "-c", f'{setup}; exec "$@"', "sh", *command]
        self.lines = []
        self.ready = queue.Queue()
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, **(env or {})},
        )
        threading.Thread(target=self._read, daemon=True).start()
        try:
            problem = self.ready.get(timeout=30)
        except queue.Empty:
            problem = "not ready after 30 s"
        if problem:
            self.process.kill()
            fail(f"the local cloud did not start: {problem}")

    def _read(self):
        waiting = True
        for line in self.process.stdout:
            self.lines.append((time.time(), line.rstrip("\n")))
            if waiting and "nearedge is ready" in line:
                waiting = False
                self.ready.put("")
        if waiting:
            self.ready.put("\n".join(line for _, line in self.lines[-5:]) or "it exited without output")

    def set_faults(self, *faults):
        """Replaces the active faults; without arguments, ends them."""
        method, body = ("PUT", "\n".join(faults).encode()) if faults else ("DELETE", None)
        request = urllib.request.Request(f"{self.console}/fault", data=body, method=method)
        try:
            urllib.request.urlopen(request, timeout=5).read()
        except urllib.error.HTTPError as error:
            fail(f"the local cloud rejected the fault: {error.read().decode()}")

    def handlers(self):
        """The process ids of the execution environments."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return sorted(int(pid) for file in children for pid in _read_text(file).split())

    def s3_client(self):
        """A boto3 client for the local S3."""
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

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            sys.exit("the local cloud did not exit within 10 s of SIGTERM and was killed")


def stop_all(*parts):
    """Stops each part that is not None, even if another one fails to stop; then raises the first error."""
    errors = []
    for part in filter(None, parts):
        try:
            part.stop()
        except (Exception, SystemExit) as error:  # noqa: BLE001
            errors.append(error)
    if errors:
        raise errors[0]


def _read_text(path):
    try:
        return pathlib.Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def memory_mib(pid, field="VmRSS"):
    """A process's resident memory in MiB, or with VmHWM its peak; None if the process has exited."""
    found = re.search(rf"{field}:\s+(\d+) kB", _read_text(f"/proc/{pid}/status"))
    return int(found[1]) / 1024 if found else None


def descriptors(pid):
    """A process's number of open file descriptors and of sockets among them; None if the process has exited."""
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
    """The CPU time that a process has used, in seconds; 0 if it has exited."""
    text = _read_text(f"/proc/{pid}/stat")
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0
