#!/usr/bin/env python3
"""Deploys the templates in an emulated AWS account, then uses, updates, rotates, rolls back and deletes the stack.

    pip install ministack awscli
    cargo build --workspace && deploy/build.sh x86_64 && .ci/account.py [ZIP]

MiniStack emulates CloudFormation, Lambda (it runs `bootstrap`), HTTP APIs and CloudFront in one process, here on
loopback behind TLS with a certificate of this run. `deploy/deploy.sh`, `rotate.sh`, `variant.sh` and `smoke.sh` run as
against AWS, except for two template parameters (ApiDomainSuffix, ApiPort) and two features that MiniStack lacks: metric
math in alarms (Watch=false) and CodeDeploy (Rollout=AllAtOnce).

`account_emulated.py` describes how MiniStack differs from AWS.
"""

import functools
import gzip
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time

import account_emulated
from account_doors import accepts, doors
from account_emulated import DEPLOY, FILES, ROOT, SITE, Account, Viewers, check
from account_experiments import DEFINITION, Operator, experiments


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
    print(f"{account_emulated.checked} passed, 0 failed")


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
