"""The emulated AWS account: MiniStack behind TLS, the AWS CLI, and viewers of the distribution.

Known differences from AWS: a path loses its trailing slash, an event has no `cookies`, 6 MB is no limit, a 304 has
Content-Type application/json, a distribution's alias has no address, and an origin access identity named by its
canonical user has no access. ACCOUNT corrects three more, so that the templates need no exception: it resolves names
under .localhost to this machine, it marks the distribution's reads from S3, which use no socket in MiniStack, as
encrypted, and it adds an Authorization to the distribution's requests to a function URL with origin access control: MiniStack
requires one and does not verify it.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SITE = ROOT / "emulator" / "site"
FILES = sum(path.is_file() for path in SITE.rglob("*"))
DEPLOY = ROOT / "deploy"
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"

ACCOUNT = """
import functools, runpy, socket, sys
known = socket.getaddrinfo
def lookup(host, *rest, **named):
    name = host.decode() if isinstance(host, bytes) else host
    return known("127.0.0.1" if name and name.endswith(".localhost") else host, *rest, **named)
socket.getaddrinfo = lookup
from ministack.core import iam_evaluator
iam_evaluator.EvalContext.__init__ = functools.partialmethod(iam_evaluator.EvalContext.__init__, secure_transport=True)
from ministack.services import cloudfront
unsigned = cloudfront._origin_request_headers
def sign(origin, *rest):
    signature = {"Authorization": "AWS4-HMAC-SHA256 Credential=cloudfront"} if origin.get("oac_id") else {}
    return unsigned(origin, *rest) | signature
cloudfront._origin_request_headers = sign
sys.argv = ["ministack"]
runpy.run_module("ministack", run_name="__main__")
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


checked = 0


def check(what, holds, found=""):
    global checked
    if not holds:
        sys.exit(f"FAILED: {what}: found {found}")
    checked += 1
    print(f"ok {checked}  {what}", flush=True)


class Account:
    def __init__(self, work):
        self.work, self.port = work, free_port()
        self.certificates()
        (work / ".curlrc").write_text(f'connect-to = "::127.0.0.1:{self.port}"\n')
        self.env = os.environ | {
            "AWS_ENDPOINT_URL": f"https://localhost:{self.port}",
            "AWS_CA_BUNDLE": str(work / "authority.pem"),
            "SSL_CERT_FILE": str(work / "authority.pem"),
            "CURL_CA_BUNDLE": str(work / "authority.pem"),
            "CURL_HOME": str(work),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "STACK": "ab",
        }
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            self.env.pop(name, None)

    def certificates(self):
        """Creates a CA and a certificate: the function's TLS rejects a self-signed server certificate."""
        names = "DNS:localhost,DNS:*.execute-api.localhost,DNS:*.cloudfront.net,IP:127.0.0.1"
        (self.work / "names").write_text(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\n")
        for command in (
            "req -x509 -newkey rsa:2048 -nodes -keyout authority.key -out authority.pem -days 2 -subj /CN=authority",
            "req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=account",
            "x509 -req -in request.pem -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 -extfile names"
            " -out leaf.pem",
        ):
            subprocess.run(["openssl", *command.split()], cwd=self.work, check=True, capture_output=True)
        both = (self.work / "leaf.pem").read_text() + (self.work / "authority.pem").read_text()
        (self.work / "certificate.pem").write_text(both)

    @contextlib.contextmanager
    def running(self):
        log = open(self.work / "ministack.log", "w")
        python = pathlib.Path(shutil.which("ministack") or sys.exit("FAILED: pip install ministack")).parent / "python"
        env = self.env | {
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "USE_SSL": "1",
            "MINISTACK_SSL_CERT": str(self.work / "certificate.pem"),
            "MINISTACK_SSL_KEY": str(self.work / "key.pem"),
            "TMPDIR": str(self.work),
        }
        process = subprocess.Popen(
            [python, "-c", ACCOUNT], env=env, cwd=self.work, stdout=log, stderr=log, start_new_session=True
        )
        try:
            deadline = time.monotonic() + 60
            health = ["curl", "-s", "-o", os.devnull, "https://localhost/_ministack/health"]
            while subprocess.run(health, env=self.env).returncode:
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(
                        "FAILED: MiniStack has not started; its log ends with:\n"
                        + (self.work / "ministack.log").read_text()[-2000:]
                    )
                time.sleep(0.2)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)

    def run(self, *command, fails=False, **more):
        """The output of a command, which must succeed, or with `fails` must fail."""
        words, env = [str(part) for part in command], self.env | more
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=300)
        if (done.returncode != 0) != fails:
            output = f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            expected = "an error" if fails else "success"
            sys.exit(f"FAILED: {' '.join(words)}: expected {expected}, found exit code {done.returncode}\n{output}")
        return done.stdout + done.stderr

    def aws(self, *command):
        return json.loads(self.run("aws", *command, "--output", "json") or "null")

    def outputs(self):
        stack = self.aws("cloudformation", "describe-stacks", "--stack-name", self.env["STACK"])["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def live(self):
        return self.aws("lambda", "get-alias", "--function-name", "lambdaapi", "--name", "live")["FunctionVersion"]

    def setting(self, name):
        function = self.aws(
            "lambda", "get-function-configuration", "--function-name", "lambdaapi", "--qualifier", "live"
        )
        return function["Environment"]["Variables"].get(name, "")

    def url(self):
        return self.aws("lambda", "get-function-url-config", "--function-name", "lambdaapi", "--qualifier", "live")

    def smoke(self, outputs, **more):
        output = self.run(
            DEPLOY / "smoke.sh",
            outputs["Address"],
            outputs["ApiAddress"],
            LAMBDA_AUTH=self.setting("lambda_auth"),
            SITE=str(SITE),
            KNOWN="a trailing / selects index.html",
            **more,
        )
        return output.strip().splitlines()[-1]


class Viewers(threading.Thread):
    """Requests both variants through the distribution continuously. `wrong` collects all but the variant's 200."""

    def __init__(self, account, domain):
        super().__init__(daemon=True)
        self.account, self.domain, self.wrong, self.responses, self.stopped = account, domain, [], 0, False

    def fetch(self, variant):
        trust = ssl.create_default_context(cafile=self.account.env["AWS_CA_BUNDLE"])
        lines = [
            "GET /test.html HTTP/1.1",
            f"Host: {self.domain}",
            f"test_version: {variant}",
            "Connection: close",
            "",
            "",
        ]
        with (
            socket.create_connection(("127.0.0.1", self.account.port), 30) as plain,
            trust.wrap_socket(plain, server_hostname=self.domain) as connection,
        ):
            connection.sendall("\r\n".join(lines).encode())
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def run(self):
        while not self.stopped:
            for variant in ("v1", "v2"):
                try:
                    response = self.fetch(variant)
                except OSError as error:
                    response = str(error).encode()
                if not response.startswith(b"HTTP/1.1 200") or f"x-variant: {variant}".encode() not in response.lower():
                    self.wrong.append(response[:200])
                self.responses += 1

    def end(self):
        self.stopped = True
        self.join()
        return self.wrong
