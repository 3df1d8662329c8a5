"""Lines that must be answered quickly, and with an error where they are unreadable."""

import json

from oracle import Case, shown
from suite import check_fields


def is_error(found):
    if isinstance(found, dict) and isinstance(found.get("error"), str) and found["error"]:
        return []
    return [f'expected {{"error": "…"}}, found {shown(found)}']


def is_any(found):
    """An answer or an error: only the line counts."""
    return [] if isinstance(found, (dict, list)) else [f"expected an object, found {shown(found)}"]


def condition_line(condition, attributes):
    return json.dumps({"condition": condition, "attributes": attributes}).encode()


def hostile_cases():
    """Lines that are no request, and requests that cost too much if evaluated naively."""

    def nested(opening, closing, inside=b"", levels=10_000):
        return opening * levels + inside + closing * levels

    def result(value):
        return check_fields({"result": value})

    sticky = {"attributeName": "id", "attributeValue": "1", "assignments": {"other__0": "0"}}
    versions = {"key": "exp", "variations": [0, 1], "minBucketVersion": 2**53 - 1, "bucketVersion": 2**53 - 1}
    chain = {
        f"f{index}": {"rules": [{"parentConditions": [{"id": f"f{index + 1}", "condition": {}}], "force": 1}]}
        for index in range(10_000)
    }
    groups = {
        f"g{index}": {"type": "condition", "condition": {"$savedGroup": {"id": f"g{index + 1}"}}}
        for index in range(10_000)
    }
    big = {"key": "exp", "variations": [0, 1], "weights": [1e308, 1e308], "coverage": 1e308, "hashVersion": 1e300}
    yield Case("broken JSON", b'{"condition": {', is_error)
    yield Case("an empty line", b"", is_error)
    yield Case("spaces", b"  \t ", is_error)
    yield Case("a number", b"12", is_error)
    yield Case("null", b"null", is_error)
    yield Case("a string", b'"feature"', is_error)
    yield Case("an empty object", b"{}", is_error)
    yield Case("two objects", b'{"condition": {}, "attributes": {}} {}', is_error)
    yield Case("NaN", b'{"condition": {"a": NaN}, "attributes": {}}', is_error)
    yield Case("bytes that are no UTF-8", b'{"condition": {"a": "\xff\xfe"}, "attributes": {}}', is_error)
    yield Case("a context that is a number", b'{"context": 5, "feature": "a"}', is_any)
    yield Case("a feature that is a number", b'{"context": {}, "feature": 5}', is_any)
    yield Case("an experiment that is null", b'{"context": {}, "experiment": null}', is_any)
    yield Case("features that are a list", b'{"context": {"features": [1]}, "feature": "a"}', is_any)
    yield Case("a condition that is a list", condition_line([1], {}), is_any)
    yield Case(
        "operators with wrong arguments", condition_line({"$or": 5, "$not": "a", "b": {"$elemMatch": 1}}, {}), is_any
    )
    yield Case("10,000 levels of arrays", nested(b"[", b"]"), is_error)
    yield Case("10,000 levels that never end", nested(b'{"a":', b""), is_error)
    yield Case(
        "10,000 levels of $not", b'{"attributes": {}, "condition": ' + nested(b'{"$not":', b"}", b"{}") + b"}", is_any
    )
    deep = nested(b'{"a":', b"}", b"1")
    yield Case("10,000 levels of an attribute", b'{"condition": {"a": 1}, "attributes": ' + deep + b"}", is_any)
    for escape in (b"\\ud800", b"\\udc00", b"\\ud800x", b"\\udc00\\ud800"):
        line = b'{"condition": {"a": "' + escape + b'"}, "attributes": {"a": "' + escape + b'"}}'
        yield Case(f"an unpaired surrogate {escape.decode()}", line, is_any)
        line = (
            b'{"context": {"attributes": {"id": "' + escape + b'"}}, "experiment": {"key": "x", "variations": [0, 1]}}'
        )
        yield Case(f"an id with an unpaired surrogate {escape.decode()}", line, is_any)
    large = "é" * 500_000
    yield Case("a string of 1 MB", condition_line({"a": large}, {"a": large}), result(True))
    yield Case("a key of 1 MB", condition_line({"a" * 1_000_000: 1}, {}), result(False))
    yield Case("a path of 500,000 segments", condition_line({"a." * 500_000: 1}, {"a": {"a": 1}}), result(False))
    hashed = {"context": {"attributes": {"id": large}}, "experiment": {"key": "x", "variations": [0, 1]}}
    yield Case("an id of 1 MB", json.dumps(hashed).encode(), check_fields({"inExperiment": True, "hashValue": large}))
    for pattern in ("(a+)+$", "^(a|a)*$", "^(.*a){20}$"):
        text = "a" * 5000 + "!"
        yield Case(
            f"a catastrophic pattern {pattern}", condition_line({"a": {"$regex": pattern}}, {"a": text}), result(False)
        )
    for pattern in ("((a{1000}){1000}){1000}", "(" * 5000 + ")" * 5000, "[", "(?=a)", "\\1(a)", "(?<n>a)\\k<n>"):
        name = f"an expensive or unsupported pattern {pattern[:30]}"
        yield Case(name, condition_line({"a": {"$regex": pattern}}, {"a": "aaa"}), is_any)
    context = {"attributes": {"id": "1"}, "stickyBucketAssignmentDocs": [sticky]}
    request = {"context": context, "experiment": versions}
    yield Case("2^53 bucket versions", json.dumps(request).encode(), is_any)
    request = {"context": {"features": chain}, "feature": "f0"}
    yield Case("10,000 prerequisites in a chain", json.dumps(request).encode(), is_any)
    request = {"condition": {"$savedGroup": {"id": "g0"}}, "attributes": {}, "savedGroups": groups}
    yield Case("10,000 saved groups in a chain", json.dumps(request).encode(), is_any)
    request = {"context": {"attributes": {"id": "1"}}, "experiment": big}
    yield Case("numbers of 1e308", json.dumps(request).encode(), is_any)
    yield Case("a number above all doubles", b'{"condition": {"a": 1e999}, "attributes": {"a": 1e999}}', is_any)
    yield Case("a number of 100,000 digits", condition_line({"a": "1"}, {"a": 1})[:-2] + b"0" * 100_000 + b"}}", is_any)
    separated = '{"condition": {"a": "\u2028\u0085"}, "attributes": {"a": "\u2028\u0085"}}'.encode()
    yield Case("characters that some programs treat as line ends", separated, result(True))
    yield Case("a carriage return at the end", condition_line({"a": 1}, {"a": 1}) + b"\r", result(True))
    yield Case("a request after all that", condition_line({"a": 1}, {"a": 1}), result(True))
