"""Edits and compares definitions of experiments; experiment.sh runs it.

    experiment.py show FILE
    experiment.py diff OLD NEW
    experiment.py ramp FILE NEW KEY COVERAGE [--force]
    experiment.py stop FILE NEW KEY
    experiment.py promote FILE NEW KEY VARIATION
    experiment.py stamp | age | seconds TIME

It replaces parts of the text, so that the rest of a file keeps its formatting. An experiment with a key may occur in several
features, as GrowthBook's linked features do: each command changes all its rules.
"""

import argparse
import datetime
import difflib
import email.utils
import json
import pathlib
import re
import sys

SPACE = re.compile(r"[ \t\r\n]*")
STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
SCALAR = re.compile(r"[^ \t\r\n,\]}]+")
# What stays of a rule that forces a value: whom it concerns. GrowthBook's payload of a stopped experiment keeps coverage and
# namespace too, and so excludes visitors (getFeatureDefinition in packages/back-end/src/util/features.ts).
KEPT_OF_RULE = ("id", "condition", "parentConditions")
# What selects the participants of an automatic experiment by their hash or by an earlier assignment.
SELECTING = ("coverage", "weights", "ranges", "namespace", "filters", "minBucketVersion", "force")


def fail(text, status=1):
    print(f"experiment.sh: {text}", file=sys.stderr)
    sys.exit(status)


class Node:
    """A value in a text that is valid JSON: where it starts and ends, and its members or elements."""

    def __init__(self, text, start):
        self.text, self.start, self.members, self.elements = text, start, {}, []
        opening = text[start]
        if opening not in "{[":
            self.end = (STRING if opening == '"' else SCALAR).match(text, start).end()
            return
        at = skip(text, start + 1)
        while text[at] not in "}]":
            if opening == "{":
                name = STRING.match(text, at)
                colon = skip(text, name.end())
                value = Node(text, skip(text, colon + 1))
                # Of equal names the last one counts.
                self.members.pop(json.loads(name[0]), None)
                self.members[json.loads(name[0])] = (at, name.end(), value)
            else:
                value = Node(text, at)
                self.elements.append(value)
            at = skip(text, value.end)
            if text[at] == ",":
                at = skip(text, at + 1)
        self.end = at + 1

    def source(self):
        return self.text[self.start : self.end]

    def value(self):
        return json.loads(self.source())

    def member(self, name):
        return self.members[name][2] if name in self.members else None

    def indent(self, name):
        """The white space before a member's name."""
        at = self.members[name][0]
        return re.search(r"[ \t\r\n]*$", self.text[self.start : at])[0]

    def colon(self, name):
        """What separates a member's name from its value."""
        _, end, value = self.members[name]
        return self.text[end : value.start]


def skip(text, at):
    return SPACE.match(text, at).end()


class Place:
    """An experiment in a definition: in a rule of a feature, or an automatic one."""

    def __init__(self, path, node, siblings, index, feature=None):
        self.path, self.node, self.siblings, self.index, self.feature = path, node, siblings, index, feature
        self.json = node.value()
        # The experiment of a rule without a key has the feature's.
        self.key = text_of(self.json, "key") or feature or ""

    def variations(self):
        return [value if isinstance(value, dict) else {} for value in self.json["variations"]]

    def names(self):
        """The key of each variation: that of `meta`, or the index."""
        meta = self.json.get("meta") if isinstance(self.json.get("meta"), list) else []
        keys = [text_of(item, "key") for item in meta]
        return [
            keys[index] if index < len(keys) and keys[index] else str(index)
            for index in range(len(self.json["variations"]))
        ]

    def is_passthrough(self, index):
        meta = self.json.get("meta") if isinstance(self.json.get("meta"), list) else []
        return index < len(meta) and isinstance(meta[index], dict) and bool(meta[index].get("passthrough"))

    def labels(self):
        """Each variation with its value, for people."""
        values = self.json["variations"]
        if not self.feature:
            values = [value.get("urlRedirect") or "no redirect" for value in self.variations()]
        names = self.names()
        return [f"{'none' if value is None else value} ({names[index]})" for index, value in enumerate(values)]

    def coverage(self):
        coverage = self.json.get("coverage")
        return coverage if is_number(coverage) else 1

    def weights(self):
        weights, count = self.json.get("weights"), len(self.json["variations"])
        usable = isinstance(weights, list) and len(weights) == count and all(map(is_number, weights))
        # The tolerance of GrowthBook's SDKs.
        return weights if usable and 0.99 <= sum(weights) <= 1.01 else [1 / max(count, 1)] * count

    def shares(self):
        """The part of the visitors whom the conditions admit that each variation gets, without earlier assignments."""
        ranges = pairs(self.json.get("ranges"))
        covered = min(max(self.coverage(), 0), 1)
        shares = [end - start for start, end in ranges] if ranges else [covered * weight for weight in self.weights()]
        namespace = self.json.get("namespace")
        share = 1
        filters = self.json.get("filters") if isinstance(self.json.get("filters"), list) else []
        for item in filters:
            share *= sum(end - start for start, end in pairs(item.get("ranges") if isinstance(item, dict) else None))
        # Filters replace the namespace.
        if not filters and isinstance(namespace, list) and pairs([namespace[1:]]):
            share = namespace[2] - namespace[1]
        shares += [0] * (len(self.json["variations"]) - len(shares))
        return [share * each for each in shares]


def text_of(value, name):
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) and found else None


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def pairs(value):
    found = value if isinstance(value, list) else []
    return [pair for pair in found if isinstance(pair, list) and len(pair) == 2 and all(map(is_number, pair))]


def read(file):
    """The text of a definition, which is valid JSON."""
    name = pathlib.Path(file).name
    try:
        text = pathlib.Path(file).read_bytes().decode("utf-8")
        value = json.loads(text)
        # So that a nesting too deep for it is an error here.
        Node(text, skip(text, 0))
        if not isinstance(value, dict):
            fail(f"{name} is not a JSON object: put a correct definition with experiment.sh put FILE")
    except (ValueError, RecursionError) as error:
        fail(f"{name} is not valid JSON ({error}): put a correct definition with experiment.sh put FILE")
    return text


def places(text):
    """Every experiment of a definition."""
    root, found = Node(text, skip(text, 0)), []
    features = root.member("features")
    for name, (_, _, feature) in features.members.items() if features else ():
        rules = feature.member("rules")
        for index, rule in enumerate(rules.elements if rules else ()):
            json_rule = rule.value()
            # A value that is forced comes first; null forces none.
            if (
                isinstance(json_rule, dict)
                and isinstance(json_rule.get("variations"), list)
                and json_rule.get("force") is None
            ):
                found.append(Place(f"features.{name}.rules[{index}]", rule, rules, index, name))
    automatic = root.member("experiments")
    for index, node in enumerate(automatic.elements if automatic else ()):
        value = node.value()
        if isinstance(value, dict) and isinstance(value.get("variations"), list):
            found.append(Place(f"experiments[{index}]", node, automatic, index))
    return found


def places_of(text, key):
    every = places(text)
    found = [place for place in every if place.key == key]
    if not found:
        known = ", ".join(dict.fromkeys(place.key for place in every if place.key))
        fail(f"the definition has no experiment {key}: {'it has ' + known if known else 'it has none'}", 2)
    return found


def edited(text, edits):
    for start, end, replacement in sorted(edits, reverse=True):
        text = text[:start] + replacement + text[end:]
    return text


def percent(part):
    return f"{part * 100:.4g} %"


# --- commands ------------------------------------------------------------------------------------------------------------------


def show(options):
    rows = [("experiment", "place", "weights", "coverage", "phase", "versions")]
    for place in places(read(options.file)):
        ranges = pairs(place.json.get("ranges"))
        weights = " ".join(f"{weight:.4g}" for weight in place.weights()) if not ranges else "ranges"
        coverage = f"{sum(end - start for start, end in ranges) if ranges else place.coverage():.9g}"
        # Of rules, these fields have no effect.
        stopped = place.json.get("active") is False or place.json.get("status") in ("draft", "stopped")
        if stopped and not place.feature:
            coverage = "inactive"
        rows.append(
            (place.key, place.path, weights, coverage, place.json.get("phase") or "-", ", ".join(place.labels()))
        )
    if len(rows) == 1:
        print("The definition has no experiment.")
        return
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(str(cell).ljust(widths[column]) for column, cell in enumerate(row)).rstrip())


def diff(options):
    """Compares the members, one per line, so that a definition in one line has a readable difference too."""
    lines = []
    for file in (options.file, options.new):
        try:
            text = pathlib.Path(file).read_bytes().decode("utf-8")
            lines.append(json.dumps(json.loads(text), indent=2, ensure_ascii=False).splitlines())
        except (ValueError, RecursionError):
            # `experiment check` reports what is wrong with it.
            return
    if lines[0] == lines[1]:
        print("only the formatting differs")
        return
    for line in difflib.unified_diff(*lines, "the present definition", "the new definition", lineterm=""):
        print(line)


def ramp(options):
    text, edits = read(options.file), []
    coverage = float(options.value)
    for place in places_of(text, options.key):
        if pairs(place.json.get("ranges")):
            fail(f"{place.path} has ranges, which replace coverage: change them in the file, and put it")
        old = place.coverage()
        if coverage < old and not options.force:
            fail(
                f"{options.key} has the coverage {old:g}, and {options.value} is lower: that takes visitors out. Participants"
                " stay only as long as a cookie holds their assignment, and nobody replaces those who leave: the results are"
                " biased. stop ends the experiment; --force lowers the coverage all the same"
            )
        if coverage == old:
            continue
        print(f"{options.key}: coverage {old:g} becomes {options.value} in {place.path}")
        present = place.node.member("coverage")
        if present:
            edits.append((present.start, present.end, options.value))
        else:
            before = "weights" if "weights" in place.node.members else "variations"
            end = place.node.member(before).end
            member = f',{place.node.indent(before)}"coverage"{place.node.colon(before)}{options.value}'
            edits.append((end, end, member))
    return edited(text, edits)


def stop(options):
    text = read(options.file)
    for place in places_of(text, options.key):
        shares = place.shares()
        had = [f"{percent(shares[index])} {label}" for index, label in enumerate(place.labels())]
        print(f"{options.key}: {place.path} is removed. By their hash, the visitors whom it concerns had:")
        print(f"  {', '.join(had)}, {percent(max(0, 1 - sum(shares)))} no part in it")
        print("  all get what the other rules and the default give" if place.feature else "  nobody is redirected")
    # One at a time, because neighbours share a comma.
    while found := [place for place in places(text) if place.key == options.key]:
        text = without(text, found[0])
    return text


def without(text, place):
    """The text without an element of a list, and without the comma that separated it."""
    elements, index = place.siblings.elements, place.index
    if len(elements) == 1:
        start, end = place.siblings.start + 1, place.siblings.end - 1
    elif index + 1 < len(elements):
        start, end = place.node.start, elements[index + 1].start
    else:
        start, end = elements[index - 1].end, place.node.end
    return text[:start] + text[end:]


def promote(options):
    text, edits = read(options.file), []
    found = places_of(text, options.key)
    index = variation_of(found, options.value)
    for place in found:
        if place.is_passthrough(index):
            fail(
                f"the variation {options.value} leaves the decision to the rules below: use experiment.sh stop {options.key}"
            )
        edits += force(text, place, index) if place.feature else force_redirect(place, index)
        share, label = place.shares()[index], place.labels()[index]
        becomes = "becomes a rule that gives everybody" if place.feature else "gives every visitor with an id"
        print(f"{options.key}: {place.path} {becomes} {label}")
        print(
            f"  of the visitors whom it concerns, {percent(share)} have it by their hash, {percent(max(0, 1 - share))} move to it"
        )
        if place.json.get("condition") or place.json.get("parentConditions"):
            print("  its conditions stay: visitors whom they exclude get what they got before")
    return edited(text, edits)


def variation_of(found, name):
    """The index of a variation. Linked features list the variations in the same order, but perhaps not their keys."""
    indices = [place.names().index(name) for place in found if name in place.names()]
    if not indices:
        fail(f"{found[0].key} has no variation {name}: it has {', '.join(found[0].names())}", 2)
    for place in found:
        if indices[0] >= len(place.json["variations"]):
            fail(f"{place.path} has no variation {indices[0]}, which is {name} elsewhere: change the file, and put it")
    return indices[0]


def force(text, place, index):
    """A rule with a value instead of the experiment."""
    variation = place.node.member("variations").elements[index]
    if variation.value() is None:
        return force_nothing(text, place, index)
    members = []
    for name in place.node.members:
        start, _, value = place.node.members[name]
        if name == "variations":
            members.append(f'{place.node.indent(name)}"force"{place.node.colon(name)}{variation.source()}')
        elif name in KEPT_OF_RULE:
            members.append(place.node.indent(name) + text[start : value.end])
    return [(place.node.start, place.node.end, rejoined(place.node, members))]


def force_nothing(text, place, index):
    """Gives null. A rule cannot force it, but as the default it is possible."""
    root = Node(text, skip(text, 0))
    feature = root.member("features").member(place.feature)
    default = feature.member("defaultValue")
    is_null = default is None or default.value() is None
    is_last = place.index + 1 == len(place.siblings.elements)
    if not is_last or not (is_null or not (place.json.get("condition") or place.json.get("parentConditions"))):
        fail(
            f"the variation {place.names()[index]} of {place.path} has the value null, which a rule cannot force while rules follow"
            " or conditions restrict it: change the file, and put it"
        )
    gone = without(text, place)
    start = place.siblings.end - (len(text) - len(gone))
    edits = [(place.siblings.start, place.siblings.end, gone[place.siblings.start : start])]
    return edits if is_null else [*edits, (default.start, default.end, "null")]


def force_redirect(place, index):
    """An automatic experiment with `force`, as in GrowthBook's payload of a stopped one (generateAutoExperimentsPayload)."""
    members = []
    for name in place.node.members:
        start, _, value = place.node.members[name]
        if name not in SELECTING:
            members.append(place.node.indent(name) + place.node.text[start : value.end])
        if name == "variations":
            members.append(f'{place.node.indent(name)}"force"{place.node.colon(name)}{index}')
    return [(place.node.start, place.node.end, rejoined(place.node, members))]


def rejoined(node, members):
    """An object of these members, with the white space of `node` at its start and its end."""
    first = next(iter(node.members))
    last = max(value.end for _, _, value in node.members.values())
    members = [node.indent(first) + members[0].lstrip(), *members[1:]]
    return "{" + ",".join(members) + node.text[last : node.end - 1] + "}"


# --- times ---------------------------------------------------------------------------------------------------------------------


def parse_time(text):
    """A time as the AWS CLI prints it: of ISO 8601 or, as S3 sends it, of RFC 9110."""
    try:
        if "," in text:
            return email.utils.parsedate_to_datetime(text)
        return datetime.datetime.fromisoformat(re.sub(r"(\.[0-9]+)?Z$", "+00:00", text))
    except (TypeError, ValueError):
        fail(f"expected a time from the AWS CLI, found '{text}'")


def age(time):
    seconds = max(0, int((datetime.datetime.now(datetime.timezone.utc) - time).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def main():
    parse = argparse.ArgumentParser(prog="experiment.py", allow_abbrev=False)
    commands = parse.add_subparsers(dest="command", required=True)
    for name in ("show", "diff", "ramp", "stop", "promote"):
        command = commands.add_parser(name, allow_abbrev=False)
        command.add_argument("file")
        if name != "show":
            command.add_argument("new")
        if name in ("ramp", "stop", "promote"):
            command.add_argument("key")
            command.add_argument("--force", action="store_true")
        if name in ("ramp", "promote"):
            command.add_argument("value")
    for name in ("stamp", "age", "seconds"):
        commands.add_parser(name).add_argument("time")
    options = parse.parse_args()
    if options.command in ("stamp", "age", "seconds"):
        time = parse_time(options.time).astimezone(datetime.timezone.utc)
        print(
            {
                "stamp": time.strftime("%Y%m%dT%H%M%SZ"),
                "age": f"{time:%Y-%m-%d %H:%M:%S} UTC, {age(time)} ago",
                "seconds": str(int(time.timestamp())),
            }[options.command]
        )
    elif options.command in ("show", "diff"):
        globals()[options.command](options)
    else:
        text = globals()[options.command](options)
        pathlib.Path(options.new).write_bytes(text.encode())


if __name__ == "__main__":
    main()
