"""GrowthBook's Python SDK as an oracle, and the comparison of results."""

import collections
import copy
import json
import logging

from growthbook import core
from growthbook.common_types import (
    EvaluationContext,
    Experiment,
    Feature,
    GlobalContext,
    Options,
    StackContext,
    UserContext,
)
from growthbook.growthbook import InMemoryStickyBucketService


# Differences that are printed.
PRINTED = 20
# A debug build needs a fraction of it.
TIMEOUT_SECONDS = 300
HOSTILE_SECONDS = 5

ORDERING = ("$lt", "$lte", "$gt", "$gte")
VERSIONS = ("$veq", "$vne", "$vlt", "$vlte", "$vgt", "$vgte")
REGEXES = ("$regex", "$regexi", "$notRegex", "$notRegexi")

# `check` takes the parsed output line and returns the differences as text.
Case = collections.namedtuple("Case", "name line check")


# The SDK calls its logger at each step.
logging.disable(logging.CRITICAL)

STICKY = InMemoryStickyBucketService()


def without_side_effect(find_assignments):
    """The SDK merges the fallback attribute's assignments into the user's document, and then returns that document."""

    def find(evalContext, **arguments):
        documents = evalContext.user.sticky_bucket_assignment_docs
        evalContext.user.sticky_bucket_assignment_docs = copy.deepcopy(documents)
        try:
            return find_assignments(evalContext=evalContext, **arguments)
        finally:
            evalContext.user.sticky_bucket_assignment_docs = documents

    return find


core._get_sticky_bucket_assignments = without_side_effect(core._get_sticky_bucket_assignments)


def evaluate(request):
    """What the SDK answers to an input of `nearedge experiment evaluate`."""
    if "condition" in request:
        attributes, groups = request.get("attributes") or {}, request.get("savedGroups")
        return {"result": core.evalCondition(attributes, request["condition"], groups)}
    if "queryStringOverride" in request:
        return {"result": core.getQueryStringOverride(*request["queryStringOverride"])}
    context = request["context"]
    url = context.get("url") or ""
    options = Options(
        url=url,
        enabled=context.get("enabled", True),
        qa_mode=context.get("qaMode", False),
        sticky_bucket_service=STICKY,
    )
    features = {
        key: Feature(defaultValue=feature.get("defaultValue"), rules=feature.get("rules"))
        for key, feature in (context.get("features") or {}).items()
    }
    user = UserContext(
        url=url,
        attributes=context.get("attributes") or {},
        forced_variations=context.get("forcedVariations") or {},
    )
    evaluation = EvaluationContext(
        user=user,
        global_ctx=GlobalContext(options=options, features=features, saved_groups=context.get("savedGroups") or {}),
        stack=StackContext(evaluated_features=set()),
        save_sticky_bucket_doc=lambda _: None,
    )
    user.sticky_bucket_assignment_docs = own_documents(request, evaluation)
    if "feature" in request:
        result = core.eval_feature(request["feature"], evaluation).to_dict()
    else:
        result = core.run_experiment(Experiment(**request["experiment"]), None, evaluation).to_dict()
    return {**result, "stickyBucketAssignmentDocs": user.sticky_bucket_assignment_docs}


def own_documents(request, evaluation):
    """The documents that GrowthBook loads: those of the user's values of the attributes that experiments hash."""
    experiments = [request["experiment"]] if "experiment" in request else []
    for feature in (request["context"].get("features") or {}).values():
        experiments += [rule for rule in feature.get("rules") or [] if rule.get("variations") is not None]
    names = {experiment.get("hashAttribute", "id") for experiment in experiments}
    names |= {experiment.get("fallbackAttribute") for experiment in experiments}
    documents = {}
    for document in request["context"].get("stickyBucketAssignmentDocs") or []:
        name, value = document["attributeName"], document["attributeValue"]
        if name in names and core._getHashValue(attr=name, eval_context=evaluation)[1] == value:
            documents[f"{name}||{value}"] = document
    return documents


class Undecided(BaseException):
    """The SDK is no oracle for this case. Not an Exception, because the SDK catches those."""


def guarded(evaluate_operator):
    """Raises Undecided for operands on which the SDK differs from the suite, or Python's patterns from Rust's."""

    def is_number(value):
        return isinstance(value, (int, float)) and not isinstance(value, bool)

    def guard(operator, attribute, value, *rest, **named):
        pair = (attribute, value)
        text = "".join(item for item in pair if isinstance(item, str))
        if operator in ORDERING or operator in VERSIONS:
            mixed = any(map(is_number, pair)) and any(isinstance(item, str) for item in pair)
            if mixed or None in pair:
                raise Undecided
            # The SDK compares padded versions by code points, GrowthBook's JavaScript by UTF-16 code units.
            if operator in VERSIONS and any(ord(character) > 0xFFFF for character in text):
                raise Undecided
        if operator in REGEXES and not text.isascii():
            # Classes are those of ASCII in JavaScript, `.` is a UTF-16 code unit, and case folding differs.
            if "\\" in value or ("." in value and max(text) > "\uffff") or set("İıſK") & set(text):
                raise Undecided
        return evaluate_operator(operator, attribute, value, *rest, **named)

    return guard


def equal(expected, found):
    """Equality of JSON values: 1 equals 1.0, and neither equals true."""
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(equal, expected, found))
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(equal(expected[key], found[key]) for key in expected)
    return expected == found


def shown(value):
    text = json.dumps(value)
    return text if len(text) <= 600 else f"{text[:600]}… ({len(text)} characters)"


def differences(expected, found, fields, path=""):
    """The differences of these fields. A field that is not in the output is null, or false, if it is optional."""
    if not isinstance(found, dict):
        return [f"{path or 'output'}: expected an object, found {shown(found)}"]
    if "error" in found and "error" not in expected:
        return [f"expected {shown(expected)}, found {shown(found)}"]
    lines = []
    for field in fields:
        default = OPTIONAL.get(field)
        wanted, got = expected.get(field, default), found.get(field, default)
        if not equal(wanted, got):
            absent = "" if field in found else " (no such field)"
            lines.append(f"{path}{field}: expected {shown(wanted)}, found {shown(got)}{absent}")
    return lines


OPTIONAL = {"name": "", "passthrough": False}
RESULT_FIELDS = ("value", "variationId", "inExperiment", "hashUsed", "hashAttribute", "hashValue", "bucket", "key")
RESULT_FIELDS += ("name", "passthrough", "stickyBucketUsed")
FEATURE_FIELDS = ("value", "on", "off", "source", "ruleId")


def compare_feature(request, expected, found):
    lines = differences(expected, found, FEATURE_FIELDS)
    if not isinstance(found, dict) or "error" in found:
        return lines
    for part, fields in (("experiment", ("key", "variations")), ("experimentResult", ("featureId", *RESULT_FIELDS))):
        if part in expected:
            lines += differences(expected[part], found.get(part), fields, f"{part}.")
        elif found.get(part) is not None:
            lines.append(f"{part}: expected none, found {shown(found[part])}")
    return lines + compare_documents(request, expected, found)


def compare_experiment(request, expected, found):
    lines = differences(expected, found, RESULT_FIELDS)
    return lines + (compare_documents(request, expected, found) if isinstance(found, dict) else [])


def compare_documents(request, expected, found):
    """Compares the sticky buckets. A context without documents, and an experiment, may leave them out of the output."""
    field = "stickyBucketAssignmentDocs"
    given, wanted = request["context"].get(field), expected[field]
    if "error" in found or (field not in found and (given is None or "experiment" in request or not wanted)):
        return []
    got = found.get(field)
    if isinstance(got, dict):
        # The user's documents of attributes that no experiment hashes: GrowthBook does not load them. They do no harm.
        attributes = request["context"].get("attributes") or {}
        for document in given or []:
            name, value = document["attributeName"], document["attributeValue"]
            key = f"{name}||{value}"
            own = core._is_hashable(attributes.get(name)) and core._hash_string(attributes[name]) == value
            if own and key not in wanted and equal(document, got.get(key)):
                got = {other: got[other] for other in got if other != key}
    return [] if equal(wanted, got) else [f"{field}: expected {shown(wanted)}, found {shown(got)}"]
