"""experiment.sh in the emulated account."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys

from account_emulated import DEPLOY, SITE, TARGET, check

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
