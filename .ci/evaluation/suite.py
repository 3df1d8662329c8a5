"""GrowthBook's cases as lines of input."""

import bisect
import json

from oracle import Case, FEATURE_FIELDS, differences


def bucket_of(seed, value, version):
    """GrowthBook's hash: FNV-1a over UTF-16 code units."""

    def fnv(text):
        units, state = text.encode("utf-16-le", "surrogatepass"), 0x811C9DC5
        for low, high in zip(units[::2], units[1::2], strict=True):
            state = (state ^ (low | high << 8)) * 0x01000193 & 0xFFFFFFFF
        return state

    return fnv(str(fnv(seed + value))) % 10_000 / 10_000 if version == 2 else fnv(value + seed) % 1000 / 1000


class Boundaries:
    """Ids whose buckets are next to a number."""

    SEED = "boundaries"

    def __init__(self):
        self.ids = {}
        for number in range(60_000):
            self.ids.setdefault(bucket_of(self.SEED, str(number), 2), str(number))
        self.buckets = sorted(self.ids)

    def around(self, boundary, exact):
        """Buckets on both sides. Only if `exact` may the right one equal the boundary: rounding must not decide."""
        margin = 0 if exact else 1e-6
        left = bisect.bisect_left(self.buckets, boundary - margin) - 1
        right = bisect.bisect_left(self.buckets, boundary + margin)
        return [self.buckets[index] for index in (left, right) if 0 <= index < len(self.buckets)]

    def cases(self, name, ranges, experiment, buckets):
        """One case for each bucket: its variation is the first range that contains it."""
        for bucket in sorted(set(buckets)):
            ident = self.ids[bucket]
            variation = next((index for index, (low, high) in enumerate(ranges) if low <= bucket < high), -1)
            expected = {"variationId": max(variation, 0), "inExperiment": variation >= 0}
            expected |= {"hashUsed": variation >= 0, "bucket": bucket if variation >= 0 else None}
            fields = {"key": "boundaries", "seed": self.SEED, "hashVersion": 2, **experiment}
            request = {"context": {"attributes": {"id": ident}}, "experiment": fields}
            yield Case(f"{name}, bucket {bucket}", json.dumps(request), check_fields(expected))


def check_fields(expected):
    return lambda found: differences(expected, found, expected)


def suite_cases(suite):
    """The cases of the file, by section and name."""
    for name, context, experiment, value, inside, hashed in suite["run"]:
        expected = {"value": value, "inExperiment": inside, "hashUsed": hashed}
        request = {"context": context, "experiment": experiment}
        yield Case(f"run, {name}", json.dumps(request), check_fields(expected))

    for name, context, key, expected in suite["feature"]:

        def check(found, expected=expected):
            lines = differences(expected, found, FEATURE_FIELDS)
            for part in ("experiment", "experimentResult"):
                if part in expected and isinstance(found, dict) and "error" not in found:
                    lines += differences(expected[part], found.get(part), expected[part], f"{part}.")
            return lines

        yield Case(f"feature, {name}", json.dumps({"context": context, "feature": key}), check)

    for name, condition, attributes, expected, *groups in suite["evalCondition"]:
        request = {"condition": condition, "attributes": attributes}
        if groups:
            request["savedGroups"] = groups[0]
        yield Case(f"evalCondition, {name}", json.dumps(request), check_fields({"result": expected}))

    for name, ident, namespace, expected in suite["inNamespace"]:
        experiment = {"key": "namespaces", "variations": [0, 1], "namespace": namespace}
        request = {"context": {"attributes": {"id": ident}}, "experiment": experiment}
        yield Case(f"inNamespace, {name}", json.dumps(request), check_fields({"inExperiment": expected}))

    yield from hash_cases(suite)
    yield from range_cases(suite)


def hash_cases(suite):
    for seed, value, version, expected in suite["hash"]:
        name = f"hash, {json.dumps([seed, value, version])}"
        context = {"attributes": {"id": value}}
        experiment = {"key": "hash", "variations": [0, 1], "hashVersion": version, "ranges": [[0, 1]]}
        inside = {"inExperiment": expected is not None}
        if seed:
            request = {"context": context, "experiment": {**experiment, "seed": seed}}
            yield Case(name, json.dumps(request), check_fields({**inside, "bucket": expected}))
            continue
        # An experiment without a seed hashes its key. A filter has an empty seed: this bucket only, then all others.
        for ranges, included in (
            ([[expected, expected + 1e-5]], True),
            ([[0, expected], [expected + 1e-5, 1]], False),
        ):
            filters = [{"seed": "", "hashVersion": version, "ranges": ranges}]
            request = {"context": context, "experiment": {"key": "hash", "variations": [0, 1], "filters": filters}}
            yield Case(f"{name}, filter {ranges}", json.dumps(request), check_fields({"inExperiment": included}))


def range_cases(suite):
    boundaries = Boundaries()
    for name, (count, coverage, weights), ranges in suite["getBucketRange"]:
        experiment = {"variations": list(range(count)), "coverage": coverage}
        if weights:
            experiment["weights"] = weights
        buckets = [bucket for edges in ranges for edge in edges for bucket in boundaries.around(edge, exact=False)]
        yield from boundaries.cases(f"getBucketRange, {name}", ranges, experiment, buckets)
    for name, bucket, ranges, expected in suite["chooseVariation"]:
        experiment = {"variations": list(range(len(ranges))), "ranges": ranges}
        buckets = [bucket for edges in ranges for edge in edges for bucket in boundaries.around(edge, exact=True)]
        for case in boundaries.cases(f"chooseVariation, {name}", ranges, experiment, [*buckets, bucket]):
            yield case
        request = {"context": {"attributes": {"id": boundaries.ids[bucket]}}}
        request["experiment"] = {"key": "x", "seed": boundaries.SEED, "hashVersion": 2, **experiment}
        wanted = {"variationId": max(expected, 0), "inExperiment": expected >= 0}
        yield Case(f"chooseVariation, {name}", json.dumps(request), check_fields(wanted))
    for count, weights in suite["getEqualWeights"]:
        name = f"getEqualWeights, {count}"
        experiment = {"variations": list(range(count))}
        if count < 2:
            request = {"context": {"attributes": {"id": "1"}}, "experiment": {"key": "one", **experiment}}
            yield Case(name, json.dumps(request), check_fields({"inExperiment": False}))
            continue
        edges = [0, *(sum(weights[: index + 1]) for index in range(count))]
        # The file rounds a third.
        edges = [round(edge * count) / count for edge in edges]
        buckets = [bucket for edge in edges for bucket in boundaries.around(edge, exact=False)]
        yield from boundaries.cases(name, list(zip(edges, edges[1:], strict=False)), experiment, buckets)
