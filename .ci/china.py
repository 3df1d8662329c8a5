#!/usr/bin/env python3
"""Compares the resource types in deploy/README.md's table of AWS China with CloudFormation's schemas, as cfn-lint contains them.

  pip install cfn-lint && .ci/china.py

A type after `no` must be missing in both regions, or in the one that the cell names; any other type must exist in both. If
cfn-lint is not the version that the README names, differences are only printed: AWS has changed, the table was right."""

import importlib.metadata
import json
import pathlib
import re
import sys

import cfnlint

REGIONS = ("cn-north-1", "cn-northwest-1")
ROOT = pathlib.Path(__file__).resolve().parent.parent
README = (ROOT / "deploy/README.md").read_text()
TABLE = README.split("## AWS and AWS China\n")[1].split("\n## ")[0]
# AWS::Partition and AWS::URLSuffix are pseudo parameters.
TYPE = re.compile(r"(no )?`(AWS::\w+::\w+)`(?: in (cn-\w+-1))?")


def main():
    schemas = pathlib.Path(cfnlint.__file__).parent / "data/schemas/providers"
    known = {region: set(json.loads((schemas / f"{region}.json").read_text())) for region in REGIONS}
    everywhere = set(json.loads((schemas / "us-east-1.json").read_text()))
    found = TYPE.findall(TABLE)
    if len(found) < 8:
        sys.exit(f"FAILED: expected at least 8 resource types in the table of deploy/README.md, found {len(found)}")
    differences = [f"{name} is no resource type" for _, name, _ in found if name not in everywhere]
    for missing, name, only in found:
        for region in [only] if only else REGIONS:
            if (name in known[region]) == bool(missing):
                differences.append(f"{name} {'exists' if missing else 'is missing'} in {region}")
    version = importlib.metadata.version("cfn-lint")
    for difference in differences:
        print(f"deploy/README.md, AWS and AWS China: {difference} (cfn-lint {version})")
    if differences and f"cfn-lint {version} " in README:
        sys.exit("FAILED: correct the table")
    print(f"ok  {len(found)} resource types in the table of AWS China, cfn-lint {version}")


main()
