"""Random contexts, features, experiments and conditions."""

import json
import random

from growthbook import core

from oracle import (
    ORDERING,
    REGEXES,
    VERSIONS,
    Case,
    Undecided,
    compare_experiment,
    compare_feature,
    differences,
    evaluate,
    guarded,
)


STRINGS = ["", "a", "A", "b", "abc", "ABC", "us", "US", "CN", "HK", "0", "1", "10", "2", "1.0", "true", "null", "a b"]
STRINGS += ["x/y", "user@example.com", "é", "É", "straße", "STRASSE", "ΑΣ", "ας", "İ", "日本", "～", "😀", "😀a", "a😀"]
VERSION_STRINGS = ["1.2.3", "v1.2.3", "1.2.3-rc.1", "1.2.3-rc.2+b1", "1.10.0", "1.2", "2", "10.0.0", "1-2-3", "1.0.0--"]
NUMBERS = [0, 1, -1, 2, 3, 5, 10, 100, 1.0, 1.5, 0.1, 0.30000000000000004, -0.0, 2.0, 1e21, 1.5e-7, 123456789]
NUMBERS += [9007199254740991, 1e300, 100000000000000000000.0, 0.000001, -2.5]
REGEX_STRINGS = [
    "^a",
    "b$",
    "[a-z]+",
    "^v?\\d+\\.\\d+",
    "(US|CN)",
    "a.c",
    "^$",
    "\\w+@\\w+",
    "\\bab",
    "é",
    "😀",
    "^.$",
    "/y",
]
REGEX_STRINGS += ["^[^/]+/", "(?:ab)+c?", "^[A-Z]{2}$", "a|b|c", "STRASSE"]
PATHS = ["id", "country", "age", "version", "tags", "premium", "score", "nested.a", "nested.a.b", "nested.list.0"]
PATHS += ["nested.list.length", "items", "missing", "ключ", "numbers", "name", "nested"]
HASH_ATTRIBUTES = ["id", "anonymousId", "deviceId", "premium", "score", "tags"]
KEYS = ["exp", "new-checkout", "ключ", "😀"]
META_KEYS = ["control", "treatment", "0", "1", "b"]
FEATURES = ["f0", "f1", "f2", "f3"]
GROUPS = ["list", "typed", "condition", "cycle", "other", "absent"]


def lookup(attributes, path):
    return core.getPath(attributes, path)


class Generator:
    """Random requests. The vocabulary is small, so that conditions often match."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.attributes = {}

    def chance(self, probability):
        return self.random.random() < probability

    def pick(self, items):
        return self.random.choice(items)

    def request(self):
        """One request, by kind."""
        kind = self.random.random()
        if kind < 0.02:
            return self.query_string()
        self.attributes = self.some_attributes()
        if kind < 0.35:
            request = {"condition": self.condition(3), "attributes": self.attributes}
            if self.chance(0.5):
                request["savedGroups"] = self.groups()
            return request
        context = self.context()
        request = {"context": context}
        if kind < 0.6:
            request["experiment"] = self.experiment()
            experiments = [request["experiment"]]
        else:
            request["feature"] = "f0" if self.chance(0.95) else self.pick([*FEATURES, "absent"])
            rules = context["features"].get(request["feature"], {}).get("rules", [])
            experiments = [{"key": request["feature"], **rule} for rule in rules if "variations" in rule]
        self.maybe(context, "stickyBucketAssignmentDocs", 0.6, lambda: self.documents(experiments))
        return request

    def query_string(self):
        key = self.pick(KEYS[:2])
        pairs = [f"{self.pick(KEYS[:2])}={self.pick(['0', '1', '2', '10', '', 'x', '-1'])}" for _ in range(3)]
        url = "https://example.com/a?" + "&".join(pairs[: self.random.randrange(4)]) + self.pick(["", "#end"])
        return {"queryStringOverride": [key, url, self.random.randrange(1, 12)]}

    # Attributes and values

    def identifier(self):
        number = self.random.randrange(3000)
        if self.chance(0.5):
            return f"user-{number}"
        if self.chance(0.5):
            return self.pick([f"{self.random.getrandbits(128):032x}", str(number), f"ü{number}", f"😀{number}"])
        numbers = [number + 1, number / 7, self.random.uniform(0, 1e6), self.pick(NUMBERS)]
        return self.pick([*numbers, self.pick(["", 0, None, True])])

    def scalar(self):
        kind = self.random.random()
        if kind < 0.45:
            return self.pick(STRINGS)
        if kind < 0.8:
            return self.pick(NUMBERS)
        return self.pick([True, False, None])

    def value(self, depth=2):
        kind = self.random.random()
        if depth == 0 or kind < 0.7:
            return self.scalar()
        if kind < 0.87:
            return [self.value(depth - 1) for _ in range(self.random.randrange(4))]
        return {self.pick(["a", "b", "0", "10", "é"]): self.value(depth - 1) for _ in range(self.random.randrange(4))}

    def some_attributes(self):
        attributes = {
            "id": self.identifier(),
            "anonymousId": self.identifier(),
            "deviceId": self.identifier(),
            "country": self.pick(["US", "us", "CN", "HK", "é"]),
            "age": self.pick(NUMBERS),
            "version": self.pick(VERSION_STRINGS),
            "tags": [self.pick(STRINGS) for _ in range(self.random.randrange(4))],
            "numbers": [self.pick([*NUMBERS, True, False]) for _ in range(self.random.randrange(4))],
            "premium": self.pick([True, False]),
            "score": self.pick([self.random.uniform(-10, 10), self.random.randrange(10)]),
            "name": self.pick(STRINGS),
            "nested": {"a": self.pick([{"b": self.scalar()}, self.scalar()]), "list": self.value()},
            "items": [{"a": self.scalar(), "b": self.scalar()} for _ in range(self.random.randrange(3))],
            "ключ": self.value(),
        }
        for name in list(attributes):
            if self.chance(0.12):
                del attributes[name]
            elif self.chance(0.06):
                attributes[name] = self.value()
        return attributes

    # Conditions

    def operand(self, path, depth):
        """A literal for an attribute, half of the time the attribute's own value."""
        actual = lookup(self.attributes, path)
        if self.chance(0.5):
            return actual
        if self.chance(0.3):
            return self.similar(actual)
        if isinstance(actual, str):
            return self.pick(VERSION_STRINGS if path == "version" else STRINGS)
        if isinstance(actual, (int, float)) and not isinstance(actual, bool):
            return self.pick(NUMBERS)
        return self.value(depth)

    def similar(self, value):
        """A value that a careless comparison takes for this one, or a careful one for another."""
        if isinstance(value, bool):
            return self.pick([int(value), str(value).lower(), not value])
        if isinstance(value, int):
            return self.pick([float(value), bool(value), str(value)])
        if isinstance(value, float):
            return int(value) if abs(value) < 2**53 else -value
        if isinstance(value, str):
            return self.pick([value.swapcase(), f"{value} ", value[:-1]])
        if isinstance(value, list):
            return self.pick([value[::-1], value[:-1], [self.similar(item) for item in value], {}])
        if isinstance(value, dict):
            keys = list(value)
            return self.pick([{key: value[key] for key in keys[::-1]}, {key: value[key] for key in keys[1:]}])
        return self.pick([False, 0, "", "null", [], {}])

    def list_for(self, path):
        actual = lookup(self.attributes, path)
        items = [self.scalar() for _ in range(self.random.randrange(4))]
        if self.chance(0.5):
            own = actual if isinstance(actual, list) else [actual]
            items += [item for item in own if self.chance(0.7)]
        if self.chance(0.3):
            items = [item.swapcase() if isinstance(item, str) else item for item in items]
        if self.chance(0.05):
            items.append(self.value())
        return items

    def operators(self, path, depth):
        return {key: value for key, value in (self.operator(path, depth) for _ in range(self.pick([1, 1, 1, 2])))}

    def operator(self, path, depth):
        actual = lookup(self.attributes, path)
        names = ["$eq", "$ne", "$in", "$nin", "$ini", "$nini", "$exists", "$type", "$not"]
        names += ["$inGroup", "$notInGroup"]
        if isinstance(actual, str):
            names += [*(VERSIONS * 2 if path == "version" else ORDERING), *REGEXES]
        elif isinstance(actual, list):
            names += ["$elemMatch", "$size", "$all", "$alli"] * 3
        else:
            names += ORDERING * 2
        if self.chance(0.08):
            names = [*VERSIONS, *ORDERING, *REGEXES, "$elemMatch", "$size", "$all", "$alli"]
        if self.chance(0.01):
            names = ["$unknown", "$or"]
        name = self.pick(names)
        return name, self.argument(name, path, depth)

    def argument(self, name, path, depth):
        """A well-formed argument of an operator."""
        if name in ("$in", "$nin", "$ini", "$nini"):
            return self.scalar() if self.chance(0.03) else self.list_for(path)
        if name in ("$all", "$alli"):
            items = self.list_for(path)
            return [*items, self.operators("name", 0)] if depth and self.chance(0.2) else items
        if name in REGEXES:
            actual = lookup(self.attributes, path)
            if isinstance(actual, str) and actual.isalnum() and self.chance(0.4):
                return f"^{actual[:2]}"
            return self.pick(REGEX_STRINGS)
        if name == "$exists":
            return self.pick([True, False])
        if name == "$type":
            return self.pick(["null", "boolean", "number", "string", "array", "object", "unknown"])
        if name in ("$inGroup", "$notInGroup"):
            return self.pick(["list", "list", "typed", *GROUPS])
        if name == "$size":
            return self.pick([0, 1, 2, 3, True, "1", {"$gt": 1}, {"$in": [0, 2]}, {"$lte": 2}])
        if name == "$not":
            return self.operators(path, depth - 1) if depth > 0 and self.chance(0.7) else self.operand(path, 1)
        if name == "$elemMatch":
            return self.element_condition(path, depth)
        if name in VERSIONS and not isinstance(lookup(self.attributes, path), (int, float)):
            return self.pick([*VERSION_STRINGS, self.operand(path, 1)])
        if name == "$or":
            return []
        return self.operand(path, 1)

    def element_condition(self, path, depth):
        elements = lookup(self.attributes, path)
        outer = self.attributes
        element = self.pick(elements) if isinstance(elements, list) and elements else None
        if isinstance(element, dict) and self.chance(0.8):
            self.attributes = element
            condition = self.fields(["a", "b", "c"], max(depth - 1, 0))
        else:
            self.attributes = {"name": element}
            condition = self.operators("name", max(depth - 1, 0))
        self.attributes = outer
        return condition

    def fields(self, paths, depth):
        condition = {}
        for _ in range(self.pick([0, 1, 1, 1, 1, 2, 2, 3])):
            kind = self.random.random()
            path = self.pick(paths)
            if depth > 0 and kind < 0.06:
                condition["$not"] = self.fields(paths, depth - 1)
            elif depth > 0 and kind < 0.24:
                name = self.pick(["$or", "$and", "$nor"])
                condition[name] = [self.fields(paths, depth - 1) for _ in range(self.random.randrange(4))]
            elif kind < 0.28:
                condition["$savedGroup"] = {"id": self.pick(GROUPS)}
                if self.chance(0.4):
                    condition["$savedGroup"]["attributeKey"] = path
            elif kind < 0.5:
                condition[path] = self.operand(path, 2)
            else:
                condition[path] = self.operators(path, depth)
        return condition

    def condition(self, depth):
        return self.fields(PATHS, depth)

    def groups(self):
        groups = {
            "list": self.list_for("tags")
            + [value for path in PATHS for value in self.list_for(path) if self.chance(0.3)],
            "typed": {"type": "list", "attributeKey": "country", "values": self.list_for("country")},
            "condition": {"type": "condition", "condition": self.condition(1)},
            "cycle": {
                "type": "condition",
                "condition": {"$savedGroup": {"id": self.pick(["cycle", "condition", "typed"])}},
            },
        }
        if self.chance(0.1):
            groups["other"] = {"type": "later", "values": [1]}
        if self.chance(0.3):
            del groups[self.pick(list(groups))]
        return groups

    # Experiments and features

    def ranges(self, count):
        edges = sorted(round(self.random.random(), self.pick([1, 2, 4])) for _ in range(2 * count))
        edges[0], edges[-1] = self.pick([0, edges[0]]), self.pick([1, edges[-1]])
        return [[edges[2 * index], edges[2 * index + 1]] for index in range(count)]

    def weights(self, count):
        kind = self.random.random()
        if kind < 0.15:
            return [self.pick([0.1, 0.5, 0.7, 1]) for _ in range(count)]
        if kind < 0.25:
            return [1 / (count + 1)] * (count + 1)
        parts = [self.random.random() + 0.01 for _ in range(count)]
        digits = self.pick([3, 4, 16])
        return [round(part / sum(parts), digits) for part in parts]

    def prerequisites(self):
        parents = []
        for _ in range(self.pick([1, 1, 2])):
            parent = {"id": self.pick([*FEATURES, "absent"])}
            outer, self.attributes = self.attributes, {"value": self.pick(["v1", "v2", True, 1, None])}
            parent["condition"] = self.pick([{"value": {"$exists": True}}, {"value": {"$ne": "v1"}}, None])
            parent["condition"] = parent["condition"] or self.fields(["value"], 1)
            self.attributes = outer
            if self.chance(0.4):
                parent["gate"] = self.pick([True, False])
            parents.append(parent)
        return parents

    def maybe(self, target, field, probability, make):
        if self.chance(probability):
            target[field] = make()

    def shared_fields(self, target):
        """Fields of experiments and of rules."""
        self.maybe(target, "hashVersion", 0.6, lambda: self.pick([1, 2, 2, 2, self.pick([0, 3, 99])]))
        self.maybe(target, "seed", 0.4, lambda: self.pick(["seed", "phase-1", "", "ключ", "😀"]))
        self.maybe(target, "hashAttribute", 0.3, lambda: self.pick(HASH_ATTRIBUTES))
        self.maybe(target, "fallbackAttribute", 0.3, lambda: self.pick(HASH_ATTRIBUTES[:3]))
        self.maybe(target, "disableStickyBucketing", 0.1, lambda: self.pick([True, False]))
        self.maybe(target, "condition", 0.2, lambda: self.condition(1))
        self.maybe(target, "coverage", 0.3, lambda: self.pick([0, 0.1, 0.5, 0.9, 1, 1.5, -0.2, self.random.random()]))
        if self.chance(0.1):
            target["filters"] = [self.filter() for _ in range(self.pick([1, 1, 2]))]

    def filter(self):
        result = {"seed": self.pick(["", "seed", "pricing"]), "ranges": self.ranges(self.pick([1, 2]))}
        self.maybe(result, "attribute", 0.4, lambda: self.pick(HASH_ATTRIBUTES))
        self.maybe(result, "hashVersion", 0.4, lambda: self.pick([1, 2, 3]))
        return result

    def experiment_fields(self, target):
        """Fields of an experiment that a rule has too."""
        count = self.pick([2] * 10 + [3] * 4 + [4, 4, 10, 1, 0])
        target["variations"] = [self.pick(["v1", "v2", index, self.value()]) for index in range(count)]
        self.shared_fields(target)
        self.maybe(target, "weights", 0.4, lambda: self.weights(count))
        self.maybe(target, "ranges", 0.2, lambda: self.ranges(max(1, count + self.pick([0, 0, 0, 0, -1, 1]))))
        self.maybe(target, "namespace", 0.1, lambda: [self.pick(["ns", "пр"]), *sorted(self.ranges(1)[0])])
        self.maybe(target, "bucketVersion", 0.3, lambda: self.random.randrange(4))
        self.maybe(target, "minBucketVersion", 0.2, lambda: self.random.randrange(4))
        self.maybe(target, "name", 0.1, lambda: self.pick(STRINGS))
        self.maybe(target, "phase", 0.1, lambda: "1")
        if self.chance(0.6):
            target["meta"] = [self.meta(index) for index in range(count)]
            if count > 1 and self.chance(0.03):
                target["meta"].pop()

    def meta(self, index):
        result = {}
        self.maybe(result, "key", 0.8, lambda: META_KEYS[index] if index < len(META_KEYS) else f"k{index}")
        self.maybe(result, "name", 0.3, lambda: self.pick(STRINGS))
        self.maybe(result, "passthrough", 0.15, lambda: self.pick([True, False]))
        return result

    def experiment(self):
        experiment = {"key": self.pick(KEYS)}
        self.experiment_fields(experiment)
        self.maybe(experiment, "active", 0.1, lambda: self.pick([True, False]))
        self.maybe(experiment, "force", 0.06, lambda: self.pick([0, 1, 2, -1]))
        self.maybe(experiment, "parentConditions", 0.2, self.prerequisites)
        return experiment

    def rule(self):
        rule = {}
        self.maybe(rule, "id", 0.7, lambda: f"rule-{self.random.randrange(100)}")
        self.maybe(rule, "parentConditions", 0.15, self.prerequisites)
        if self.chance(0.25):
            force = self.value()
            rule["force"] = "v2" if force is None else force
            self.shared_fields(rule)
            self.maybe(rule, "range", 0.2, lambda: self.ranges(1)[0])
        elif self.chance(0.97):
            self.maybe(rule, "key", 0.8, lambda: self.pick(KEYS))
            self.experiment_fields(rule)
        return rule

    def feature(self):
        feature = {}
        self.maybe(feature, "defaultValue", 0.9, lambda: self.pick(["v1", "v2", self.value()]))
        self.maybe(feature, "rules", 0.9, lambda: [self.rule() for _ in range(self.random.randrange(4))])
        return feature

    def context(self):
        context = {"attributes": self.attributes}
        context["features"] = {key: self.feature() for key in FEATURES[: self.pick([0, 1, 1, 1, 2, 2, 3, 3, 4, 4])]}
        self.maybe(context, "savedGroups", 0.5, self.groups)
        self.maybe(context, "enabled", 0.08, lambda: self.pick([True, False]))
        self.maybe(context, "qaMode", 0.06, lambda: self.pick([True, False]))
        self.maybe(context, "url", 0.15, lambda: self.query_string()["queryStringOverride"][1])
        forced = {self.pick([*KEYS, *FEATURES]): self.pick([0, 1, 1, 2, 5, -1]) for _ in range(2)}
        self.maybe(context, "forcedVariations", 0.1, lambda: forced)
        if not self.attributes and self.chance(0.5):
            del context["attributes"]
        return context

    def documents(self, experiments):
        """Sticky buckets: most of them of these experiments and of this user."""
        documents = {}
        for _ in range(self.pick([0, 1, 1, 2, 3])):
            experiment = self.pick(experiments) if experiments and self.chance(0.9) else {"key": self.pick(KEYS)}
            names = [experiment.get("hashAttribute", "id")] * 3 + [
                experiment.get("fallbackAttribute", "id"),
                "deviceId",
            ]
            name = self.pick(names)
            own = self.attributes.get(name)
            value = core._hash_string(own) if core._is_hashable(own) and self.chance(0.9) else "another"
            assignments = documents.get((name, value), {}).get("assignments", {})
            for _ in range(self.pick([0, 1, 1, 2])):
                version = experiment.get("bucketVersion", 0) if self.chance(0.75) else self.random.randrange(4)
                keys = [meta["key"] for meta in experiment.get("meta", []) if "key" in meta] * 3 + ["0", "unknown"]
                assignments[f"{experiment['key']}__{version}"] = self.pick(keys)
            documents[name, value] = {"attributeName": name, "attributeValue": value, "assignments": assignments}
        return list(documents.values())


def random_cases(count, seed):
    """Random requests that the SDK decides, each with the SDK's answer."""
    generator = Generator(seed)
    original, cases = core._eval_operator_condition, []
    core._eval_operator_condition = guarded(original)
    try:
        while len(cases) < count:
            line = json.dumps(generator.request(), ensure_ascii=generator.chance(0.5))
            request = json.loads(line)
            try:
                expected = evaluate(request)
            except Undecided:
                continue
            cases.append(Case(f"random {len(cases)}", line, check_random(request, expected)))
    finally:
        core._eval_operator_condition = original
    return cases


def check_random(request, expected):
    # `evaluate` returns objects of the request, which nobody changes afterwards.
    if "feature" in request:
        return lambda found: compare_feature(request, expected, found)
    if "experiment" in request:
        return lambda found: compare_experiment(request, expected, found)
    return lambda found: differences(expected, found, ("result",))
