#!/usr/bin/env python3
"""Runs REDbot, an independent HTTP linter, against a CDN with the sample site, and compares its notes with a page.

    pip install redbot
    .ci/conformance.py http://127.0.0.1:3000            # compares the notes with docs/conformance.md
    .ci/conformance.py http://127.0.0.1:3000 --write    # writes docs/conformance.md

REDbot requests each resource as a browser does, and repeats the request with conditions, ranges and content codings.
A note of level "bad" fails, and so does every difference from the page.
"""

import argparse
import concurrent.futures
import configparser
import multiprocessing
import pathlib
import re
import sys

import thor
from redbot.resource import HttpResource

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs" / "conformance.md"

RESOURCES = [
    ("GET", "/index.html", []),
    ("GET", "/test.html", [("test_version", "v1")]),
    ("GET", "/test.png", [("test_version", "v2")]),
    ("HEAD", "/test.png", [("test_version", "v2")]),
    ("GET", "/test.html", [("test_version", "v1"), ("redirect", "true")]),
    ("GET", "/none.html", [("test_version", "v1")]),
    ("GET", "/test.html", [("test_version", "../v1")]),
    ("OPTIONS", "/index.html", []),
]

INTRODUCTION = """# HTTP conformance

[REDbot](https://redbot.org) is an independent HTTP linter. It requests a resource as a browser does, repeats the request with
conditions, ranges and content codings, and reports notes. `.ci/conformance.py` runs it against the sample site through the local
CDN and HTTP API. It fails on every note of level "bad" and on every note that this page does not list. The notes below omit times
and sizes.

| request | level | note |
|---|---|---|
"""


def check(url, method, headers):
    """The status of one resource, and its notes as sorted (level, summary)."""
    config = configparser.ConfigParser()
    config.read_dict({"redbot": {"enable_local_access": "True"}})
    resource = HttpResource(config["redbot"])
    resource.set_request(url, method=method, headers=headers)
    resource.on("check_done", thor.stop)
    resource.check()
    thor.run()
    notes = {(note.level.value, str(note.summary)) for note in resource.response.notes}
    for active in resource.subreqs.values():
        for note in active.response.notes:
            if note.level.value in ("bad", "warning"):
                notes.add((note.level.value, f"{active.check_name}: {note.summary}"))
    return resource.response.status_code, sorted(notes)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", help="address of the CDN, such as http://127.0.0.1:3000")
    parser.add_argument("--write", action="store_true", help="write docs/conformance.md")
    options = parser.parse_args()
    page, bad = INTRODUCTION, []
    # REDbot's event loop supports one run per process.
    processes = {"max_workers": 1, "max_tasks_per_child": 1, "mp_context": multiprocessing.get_context("spawn")}
    with concurrent.futures.ProcessPoolExecutor(**processes) as pool:
        futures = [pool.submit(check, options.base + path, method, headers) for method, path, headers in RESOURCES]
        results = [future.result() for future in futures]
    for (method, path, headers), (status, notes) in zip(RESOURCES, results, strict=True):
        request = " ".join([method, path, *(f"{name}:{value}" for name, value in headers)])
        if not notes:
            sys.exit(f"FAILED: {request}: expected notes of REDbot, found none; check that {options.base} responds")
        for level, summary in notes:
            # Times differ between runs.
            summary = re.sub(r"^(The resource last changed) .*", r"\1 ….", summary)
            page += f"| `{request}` → {status} | {level} | {summary} |\n"
            if level == "bad":
                bad.append(f"{request}: {summary}")
    if bad:
        sys.exit("FAILED: expected no note of level bad, found " + "; ".join(bad))
    if options.write:
        PAGE.write_text(page)
    elif page != PAGE.read_text():
        print(page)
        sys.exit(f"FAILED: {PAGE} differs from REDbot's notes above: review the difference, then run this with --write")
    print(f"{len(RESOURCES)} passed, 0 failed")


if __name__ == "__main__":
    main()
