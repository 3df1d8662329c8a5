"""The doors of the stack in the emulated account: moves between them, and the check of its distribution."""

import functools
import json
import os
import re

from account_emulated import DEPLOY, SITE, TARGET, Viewers, check


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
