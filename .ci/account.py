#!/usr/bin/env python3
"""Deploys the templates in an emulated AWS account, then uses, updates, rotates, rolls back and deletes the stack.

    pip install ministack awscli
    cargo build --workspace && deploy/build.sh x86_64 && .ci/account.py [ZIP]

MiniStack emulates CloudFormation, Lambda (it runs `bootstrap`), HTTP APIs and CloudFront in one process, here on
loopback behind TLS with a certificate of this run. `deploy/deploy.sh`, `rotate.sh`, `variant.sh` and `smoke.sh` run as
against AWS, except for two template parameters (ApiDomainSuffix, ApiPort) and two features that MiniStack lacks: metric
math in alarms (Watch=false) and CodeDeploy (Rollout=AllAtOnce).

Known differences from AWS: a path loses its trailing slash, an event has no `cookies`, 6 MB is no limit, a 304 has
Content-Type application/json, a distribution's alias has no address, and an origin access identity named by its
canonical user has no access. ACCOUNT corrects three more, so that the templates need no exception: it resolves names
under .localhost to this machine, it marks the distribution's reads from S3, which use no socket in MiniStack, as
encrypted, and it adds an Authorization to the distribution's requests to a function URL with origin access control: MiniStack
requires one and does not verify it.
"""

import contextlib
import functools
import gzip
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
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


def main():
    archive = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "target" / "deploy" / "nearedge-x86_64.zip")
    if not archive.exists():
        sys.exit(f"FAILED: expected {archive}, found no such file: run deploy/build.sh x86_64")
    with tempfile.TemporaryDirectory() as work:
        account = Account(pathlib.Path(work))
        with account.running():
            try:
                aws(account, archive)
                china(account, archive)
            except BaseException:
                log = (account.work / "ministack.log").read_text().splitlines()
                print(*log[25:][-15:], sep="\n", file=sys.stderr)
                raise
    print(f"{checked} passed, 0 failed")


def settings(account):
    values = ["Watch=false", "Rollout=AllAtOnce", "ApiDomainSuffix=execute-api.localhost", f"ApiPort={account.port}"]
    return [word for value in values for word in ("--set", value)]


def aws(account, archive):
    deploy = functools.partial(account.run, DEPLOY / "deploy.sh")
    output = deploy("up", "--artifact", archive, *settings(account))
    outputs = account.outputs()
    check("up creates the stack in an empty account", "version   1 is live" in output, output)
    deploy("site", SITE, "--immutable", "v2/*.png")
    bucket = outputs["BucketName"]
    head = account.aws("s3api", "head-object", "--bucket", bucket, "--key", "v1/test.html")
    html = ("text/html; charset=utf-8", "public, max-age=60")
    check("site uploads a page with its Content-Type", (head["ContentType"], head["CacheControl"]) == html, head)
    head = account.aws("s3api", "head-object", "--bucket", bucket, "--key", "v2/test.png")
    immutable = head["ContentType"] == "image/png" and "immutable" in head["CacheControl"]
    check("site --immutable sets Cache-Control", immutable, head)
    site_by_content(account, deploy, bucket)

    os.chdir(account.work)
    secret = account.setting("lambda_auth")
    check("up has generated a secret", re.fullmatch("[0-9a-f]{64}", secret), "another form")
    results = {number: account.run("bash", "-c", outputs[f"Try{number}"], LAMBDA_AUTH=secret) for number in range(1, 8)}
    page = {variant: (SITE / variant / "test.html").read_text() for variant in ("v1", "v2")}
    check("command 1", "request is forbidden" in results[1], results[1])
    check("command 2", (SITE / "index.html").read_text() in results[2], results[2])
    check("command 3", page["v2"] in results[3], results[3])
    check("command 4", (account.work / "test.png").read_bytes() == (SITE / "v2" / "test.png").read_bytes())
    check("command 5", re.search(r"< HTTP/\S+ 302", results[5]) and "/v1/test.html" in results[5], results[5])
    check("command 6", page["v1"] in results[6], results[6])
    check("command 7", re.search(r"HTTP/\S+ 302", results[7]), results[7])
    check(f"smoke.sh: {account.smoke(outputs)}", True)

    accepts(account, outputs, "the deployed distribution")

    deploy("up", "--artifact", archive)
    check("up with the same artifact creates no version", account.live() == "1", account.live())
    deploy("set", "CacheTtlSecs=1", "VariantFallback=true")
    check("set: version 2 is live", account.live() == "2" and account.setting("cache_ttl_secs") == "1", account.live())
    check(f"smoke.sh: {account.smoke(outputs)}", True)
    deploy("back")
    check(
        "back: version 1 is live", account.live() == "1" and account.setting("cache_ttl_secs") == "10", account.live()
    )
    output = deploy("set", "CacheTtlSecs=2", fails=True)
    check("set after back needs --force", account.live() == "1" and "--force" in output, output)
    output = deploy("set", "CacheTtlSecs=2", "--force")
    check("set --force: version 3 is live", account.live() == "3" and "moved by hand" in output, output)
    output = deploy("set", "ArtifactKey=nearedge/none.zip", fails=True)
    status = account.aws("cloudformation", "describe-stacks", "--stack-name", "ab")["Stacks"][0]["StackStatus"]
    rolled_back = status == "UPDATE_ROLLBACK_COMPLETE" and "Function" in output
    check("a failed update rolls back and prints the reason", rolled_back, f"{status} {output}")
    check(f"version 3 is live after it: {account.smoke(outputs)}", account.live() == "3", account.live())

    viewers = Viewers(account, outputs["DistributionDomain"])
    viewers.start()
    account.run(DEPLOY / "rotate.sh", "--no-metrics")
    wrong, fresh = viewers.end(), account.setting("lambda_auth")
    check(f"rotate.sh loses none of {viewers.responses} requests", not wrong and viewers.responses > 50, wrong[:3])
    check(
        "rotate.sh: the function accepts the new secret only",
        fresh != secret and not account.setting("lambda_auth_next"),
    )
    output = account.run("curl", "-s", "-H", f"lambda_auth:{secret}", outputs["ApiAddress"] + "/")
    check("the API rejects the old secret", output == "request is forbidden", output)
    check(f"smoke.sh: {account.smoke(outputs)}", True)

    doors(account, outputs)
    # Another API than before.
    outputs = account.outputs()

    operator = experiments(account, outputs)

    address = outputs["Address"]
    account.run(DEPLOY / "variant.sh", "off", "v2", "--as", "v1")
    account.run(DEPLOY / "variant.sh", "off", "v2", "--as", "v1")
    time.sleep(2)  # CacheTtlSecs
    requests = [("-H", "test_version:v2", f"{address}/test.html"), (f"{address}/v2/test.html",)]
    pages = [account.run("curl", "-s", *request) for request in requests]
    check("variant.sh off: both addresses serve the other variant", pages == [page["v1"]] * 2, pages)
    account.run(DEPLOY / "variant.sh", "on", "v2")
    time.sleep(2)
    pages = [account.run("curl", "-s", *request) for request in requests]
    check("variant.sh on: both addresses serve the variant", pages == [page["v2"]] * 2, pages)
    deploy("purge", "/v1/*")
    check("purge", True)

    output = deploy("down")
    gone = account.run("aws", "cloudformation", "describe-stacks", "--stack-name", "ab", fails=True)
    objects = account.aws("s3api", "list-objects-v2", "--bucket", bucket)["Contents"]
    kept = "does not exist" in gone and len(objects) == FILES + len(operator.kept())
    check("down deletes the stack and keeps the bucket", kept, gone)


def accepts(account, outputs, what):
    """Passes the distribution to `nearedge policy check`."""
    distribution = account.aws("cloudfront", "get-distribution-config", "--id", outputs["DistributionId"])
    policies = []
    for kind, name in (("cache", "CachePolicyId"), ("origin-request", "OriginRequestPolicyId")):
        config = distribution["DistributionConfig"]
        behaviors = [config["DefaultCacheBehavior"], *config["CacheBehaviors"]["Items"]]
        for id in {behavior[name] for behavior in behaviors if name in behavior}:
            path = account.work / f"{id}.json"
            path.write_text(account.run("aws", "cloudfront", f"get-{kind}-policy", "--id", id))
            policies += ["--policy", path]
    (account.work / "distribution.json").write_text(json.dumps(distribution))
    output = account.run(TARGET / "nearedge", "policy", "check", account.work / "distribution.json", *policies)
    check(f"policy check accepts {what}", "0 errors, 0 warnings" in output, output)


def doors(account, outputs):
    """Moves the stack to the function URL and back, step by step, under continuous requests of viewers."""
    deploy = functools.partial(account.run, DEPLOY / "deploy.sh")
    names = ["HttpApi", "HttpApiWithFunctionUrl", "FunctionUrlWithHttpApi", "FunctionUrl"]
    output = deploy("set", "FrontDoor=FunctionUrl", fails=True)
    check("set FrontDoor refuses to skip a step", "first set FrontDoor=HttpApiWithFunctionUrl" in output, output)
    viewers = Viewers(account, outputs["DistributionDomain"])
    viewers.start()
    deploy("set", f"FrontDoor={names[1]}", "Streaming=on")
    for name in names[2:]:
        deploy("set", f"FrontDoor={name}")
    host = re.search("://([^/]+)", account.url()["FunctionUrl"])[1]
    pages = {
        variant: account.run("curl", "-s", "-H", f"test_version:{variant}", outputs["Address"] + "/test.html")
        for variant in ("v1", "v2")
    }
    check(
        "the distribution serves through the function URL",
        pages == {variant: (SITE / variant / "test.html").read_text() for variant in pages},
        pages,
    )
    url = account.url()
    mode = (url["AuthType"], url["InvokeMode"], account.setting("function_url_iam"), account.setting("streaming"))
    check("the URL streams to signed requests", mode == ("AWS_IAM", "RESPONSE_STREAM", "true", "true"), mode)
    direct = account.run(
        "curl", "-s", "-o", os.devnull, "-w", "%{http_code}", "-H", f"Host: {host}", "https://localhost/test.html"
    )
    check("the URL refuses an unsigned request", direct == "403", direct)
    accepts(account, outputs, "the distribution with the function URL")
    check("the stack has no API", "ApiAddress" not in account.outputs(), account.outputs())
    for name in names[-2::-1]:
        deploy("set", f"FrontDoor={name}")
    wrong = viewers.end()
    check(
        f"six moves between the doors lose none of {viewers.responses} requests",
        not wrong and viewers.responses > 50,
        wrong[:3],
    )
    check(f"smoke.sh: {account.smoke(account.outputs())}", True)


def site_by_content(account, deploy, bucket):
    """Uploads another state of the site, then goes back to the first."""
    site, page = account.work / "site", "v1/test.html"
    shutil.copytree(SITE, site)
    (site / page).write_bytes((SITE / page).read_bytes().swapcase())
    os.utime(site / page, (0, 0))
    (site / ".env").write_text("SECRET=1")
    (site / "app.js.gz").write_bytes(gzip.compress(b"1"))
    (site / "film.mp4").write_bytes(os.urandom(20_000_000))
    output = deploy("site", site)
    account.run("aws", "s3", "cp", f"s3://{bucket}/{page}", account.work / "page")
    same = (account.work / "page").read_bytes() == (site / page).read_bytes()
    check("site uploads an older file of equal size", same and "uploaded 3 files" in output, output)
    head = account.aws("s3api", "head-object", "--bucket", bucket, "--key", "app.js.gz")
    coded = (head["ContentType"], head["ContentEncoding"]) == ("text/javascript; charset=utf-8", "gzip")
    check("site sets the Content-Encoding of app.js.gz", coded, head)
    account.run("aws", "s3api", "head-object", "--bucket", bucket, "--key", ".env", fails=True)
    output = deploy("site", site)
    check("site uploads nothing twice, not even in parts", "uploaded 0 files" in output, output)
    output = deploy("site", SITE, "--delete")
    objects = account.aws("s3api", "list-objects-v2", "--bucket", bucket)["Contents"]
    check("site --delete goes back to the first state", "deleted 2" in output and len(objects) == FILES, output)


DEFINITION = """{
  "features": {
    "test_version": {
      "defaultValue": null,
      "rules": [
        {"key": "new-checkout", "variations": ["v1", "v2"], "weights": [0.5, 0.5], "coverage": 0.1,
         "hashVersion": 2, "meta": [{"key": "control"}, {"key": "treatment"}], "phase": "0"}
      ]
    }
  }
}
"""


class Operator:
    """Changes the experiments of a stack with experiment.sh."""

    def __init__(self, account, outputs):
        self.account, self.bucket, self.api = account, outputs["BucketName"], outputs["ApiAddress"]
        self.file = account.work / "experiments.json"

    def run(self, *words, code=0, nearedge=TARGET / "nearedge"):
        command = [str(word) for word in (DEPLOY / "experiment.sh", *words)]
        env = self.account.env | {"NEAREDGE": str(nearedge)}
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        if done.returncode != code:
            sys.exit(
                f"FAILED: {' '.join(command)}: expected exit code {code}, found {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout + done.stderr

    def active(self):
        """The definition in the bucket."""
        return self.account.run("aws", "s3", "cp", "--only-show-errors", f"s3://{self.bucket}/experiments.json", "-")

    def kept(self):
        query = ["--bucket", self.bucket, "--prefix", "experiments.json.versions/", "--query", "Contents[].Key"]
        return self.account.aws("s3api", "list-objects-v2", *query) or []

    def variants(self, visitors=12):
        """The variants that new visitors get from the API, with `none` for the default."""
        browser = ["-A", "Mozilla/5.0 Firefox/140.0", "-H", "accept: text/html", "-H", "sec-fetch-dest: document"]
        request = ["curl", "-s", "-D", "-", "-o", os.devnull, *browser, f"{self.api}/test.html"]
        request += ["-H", f"lambda_auth: {self.account.setting('lambda_auth')}"]
        heads = [self.account.run(*request) for _ in range(visitors)]
        found = [re.search(r"(?im)^x-variant: (\S+)", head) for head in heads]
        return {match[1] if match else "none" for match in found}

    def enable(self):
        self.account.run(DEPLOY / "deploy.sh", "set", "Experiments=experiments.json", "CacheTtlSecs=1")


def experiments(account, outputs):
    operator = Operator(account, outputs)
    run, file = operator.run, operator.file
    file.write_text(DEFINITION)
    # The sample site has a definition, which `site` uploads like any file while the function has none.
    account.run("aws", "s3", "rm", f"s3://{operator.bucket}/experiments.json")
    output = run("put", file, code=2)
    check("experiment.sh put needs the setting experiments, or --key", "--key experiments.json" in output, output)
    output = run("put", file, "--key", "experiments.json", "--dry-run")
    check(
        "experiment.sh put --dry-run prints the write", "put-object" in output and "--if-none-match" in output, output
    )
    account.run("aws", "s3api", "head-object", "--bucket", operator.bucket, "--key", "experiments.json", fails=True)
    output = run("put", file, "--key", "experiments.json")
    check("experiment.sh put writes the first definition", operator.active() == DEFINITION, output)
    check(
        "it says that the function does not read it yet", "deploy.sh set Experiments=experiments.json" in output, output
    )
    operator.enable()

    output = run("show")
    table = "new-checkout  features.test_version.rules[0]  0.5 0.5  0.1       0      v1 (control), v2 (treatment)"
    check("experiment.sh show prints a table and the definition", table in output and DEFINITION in output, output)
    head = account.aws("s3api", "head-object", "--bucket", operator.bucket, "--key", "experiments.json")
    check("show prints ETag and age", head["ETag"] in output and re.search(r"\d+ (s|min) ago", output), output)
    check("the definition has its Content-Type", head["ContentType"] == "application/json", head)
    check("and is revalidated at each load", head["CacheControl"] == "max-age=0, stale-while-revalidate=0", head)

    output = run("ramp", "new-checkout", "1", "--dry-run")
    planned = "90.1 % join" in output and f'--if-match \\"{head["ETag"][1:-1]}\\"' in output
    check("ramp --dry-run shows who joins, and the write", planned and '-          "coverage": 0.1' in output, output)
    check("ramp --dry-run writes nothing", operator.active() == DEFINITION and not operator.kept(), operator.kept())
    output = run("ramp", "new-checkout", "1")
    ramped = DEFINITION.replace("0.1,", "1,")
    check("ramp changes only coverage", operator.active() == ramped, operator.active())
    check("ramp waits until the change is active", "active: the function has loaded it" in output, output)
    check("after it, new visitors get both variants", operator.variants() == {"v1", "v2"}, operator.variants())
    kept = operator.kept()
    check(
        "the old version is kept, with its time and ETag",
        len(kept) == 1 and re.search(rf"/\d{{8}}T\d{{6}}Z-{head['ETag'][1:-1]}$", kept[0]),
        kept,
    )
    output = run("ramp", "new-checkout", "0.5", code=1)
    check("ramp refuses to lower the coverage", "biased" in output and operator.active() == ramped, output)
    output = run("ramp", "new-checkout", "1")
    check("ramp to the same coverage changes nothing", "nothing to change" in output, output)
    run("ramp", "new-checkout", "0.5", "--force", "--wait", "0")
    check("ramp --force lowers it", '"coverage": 0.5' in operator.active(), operator.active())

    # The other person writes while this one's definition is being checked.
    other = DEFINITION.replace("0.1,", "0.3,")
    (account.work / "other.json").write_text(other)
    race = account.work / "race"
    write = f"aws s3api put-object --bucket {operator.bucket} --key experiments.json --body {account.work}/other.json"
    race.write_text(f'#!/bin/sh\n{write} >/dev/null && exec "{TARGET}/nearedge" "$@"\n')
    race.chmod(0o755)
    for words in (("put", file), ("ramp", "new-checkout", "0.9", "--force")):
        output = run(*words, "--yes", code=3, nearedge=race)
        check(f"{words[0]} does not overwrite another person's change", operator.active() == other, output)
        check("and says so", "somebody else has changed" in output and "this change was not written" in output, output)
        (account.work / "other.json").write_text(other := other + "\n")

    broken = DEFINITION.replace('"v2"]', '"v9"]')
    file.write_text(broken)
    output = run("put", file, code=1)
    check(
        "put refuses a definition with errors",
        "test_versions does not list" in output and "has errors" in output,
        output,
    )
    file.write_text(DEFINITION.replace("[0.5, 0.5]", "[0.9]"))
    output = run("put", file, code=1)
    check("put refuses warnings without --yes", "add --yes" in output and operator.active() != file.read_text(), output)
    output = run("put", file, "--yes", "--wait", "0")
    check("put --yes accepts them", operator.active() == file.read_text(), output)
    account.run("aws", "s3", "cp", f"s3://{operator.bucket}/{kept[0]}", file)
    output = run("put", file)
    check("put restores a kept version", operator.active() == DEFINITION and "active:" in output, output)

    deploy = functools.partial(account.run, DEPLOY / "deploy.sh")
    shutil.copytree(SITE, account.work / "with-definition")
    (account.work / "with-definition" / "experiments.json").write_text("{}")
    before = operator.kept()
    output = deploy("site", account.work / "with-definition", "--delete")
    same = operator.active() == DEFINITION and operator.kept() == before
    check(
        "deploy.sh site --delete keeps the definition and its versions",
        same and "skipping experiments.json" in output,
        output,
    )

    output = run("promote", "new-checkout", "treatment")
    rule = json.loads(operator.active())["features"]["test_version"]["rules"]
    check("promote replaces the experiment by a rule that forces the value", rule == [{"force": "v2"}], rule)
    check("promote says how many visitors move", "5 % have it by their hash, 95 % move to it" in output, output)
    check("after it, everybody gets the variation", operator.variants(6) == {"v2"}, operator.variants(6))
    output = run("put", file)
    output = run("stop", "new-checkout")
    rules = json.loads(operator.active())["features"]["test_version"]
    check("stop removes the experiment's rule", rules == {"defaultValue": None, "rules": []}, rules)
    check("after it, everybody gets the default", operator.variants(6) == {"none"}, operator.variants(6))
    check("each version is kept", len(operator.kept()) == len(before) + 3, operator.kept())
    output = run("stop", "new-checkout", code=2)
    check("stop names the experiments that exist", "has no experiment new-checkout: it has none" in output, output)
    return operator


def china(account, archive):
    account.env |= {"AWS_REGION": "cn-north-1", "AWS_DEFAULT_REGION": "cn-north-1", "STACK": "ab-cn"}
    deploy = functools.partial(account.run, DEPLOY / "deploy.sh")
    alias = ["--set", "Alias=ab.example.com.cn", "--set", "CertificateId=ASCAEXAMPLE"]
    deploy("up", "--artifact", archive, *alias, *settings(account))
    deploy("site", SITE)
    outputs, secret = account.outputs(), account.setting("lambda_auth")
    page = {variant: (SITE / variant / "test.html").read_text() for variant in ("v1", "v2")}
    results = {number: account.run("bash", "-c", outputs[f"Try{number}"], LAMBDA_AUTH=secret) for number in range(1, 6)}
    picture = (account.work / "test.png").read_bytes() == (SITE / "v2" / "test.png").read_bytes()
    check("AWS China: command 4", picture)
    expected = {1: "request is forbidden", 2: "<!DOCTYPE", 3: page["v2"]}
    check("AWS China: commands 1 to 3", all(text in results[number] for number, text in expected.items()), results)
    check(
        "AWS China: command 5 redirects to the alias",
        "https://ab.example.com.cn/v1/test.html" in results[5],
        results[5],
    )
    # MiniStack gives an alias no address.
    address = f"https://{outputs['DistributionDomain']}/test.html"
    check("AWS China: command 6", account.run("curl", "-s", "-H", "test_version:v1", address) == page["v1"])
    output = account.run("curl", "-sI", "-H", "test_version:v1", "-H", "redirect:true", address)
    check("AWS China: command 7", re.search(r"HTTP/\S+ 302", output), output)
    deploy("set", "CacheTtlSecs=1")
    check("AWS China: set", account.live() == "2" and account.setting("cache_ttl_secs") == "1", account.live())
    account.run(DEPLOY / "rotate.sh", "--no-metrics")
    check("AWS China: rotate.sh", account.setting("lambda_auth") != secret and not account.setting("lambda_auth_next"))
    check(
        "AWS China: command 6 with the new secret",
        account.run("curl", "-s", "-H", "test_version:v1", address) == page["v1"],
    )
    operator = Operator(account, outputs)
    operator.file.write_text(DEFINITION)
    operator.run("put", operator.file, "--key", "experiments.json")
    operator.enable()
    # MiniStack gives the alias no address, so that the script's requests do not arrive: viewers' do.
    viewers = Viewers(account, outputs["DistributionDomain"])
    viewers.start()
    output = operator.run("ramp", "new-checkout", "1")
    viewers.end()
    check("AWS China: experiment.sh ramp", "active: the function has loaded it" in output, output)
    live = account.live()
    deploy("set", "CacheTtlSecs=2")
    deploy("back")
    check("AWS China: back", account.live() == live and account.setting("cache_ttl_secs") == "1", account.live())
    deploy("down")


if __name__ == "__main__":
    main()
