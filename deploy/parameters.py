"""Checks template parameters before CloudFormation is called: parameters.py MODE TEMPLATE OTHER_TEMPLATE <PAIRS

PAIRS are texts `Name=Value`, each ended by a NUL byte. They come by standard input, because a command line is visible to
other processes. An empty text separates the stack's present parameters from the new ones; only the new ones' names and
values are checked. MODE is `new` (parameters without a default are required), `update` (the stack has them) or `unknown`
(a dry run of an update, which does not read the stack). OTHER_TEMPLATE is that of the other partition. Prints one line
per error and exits with 2.

It reads the section Parameters as this project writes it, with names indented by two spaces and attributes by four: the
standard library has no YAML parser, and the scripts must run without `pip install`.
"""

import difflib
import pathlib
import re
import sys

# deploy.sh sets these itself.
COMPUTED = {"ArtifactBucket", "ArtifactKey", "Release"}
# The templates' Rules state the same; CloudFormation evaluates them after the artifact has been uploaded.
NEEDS = {"SecretArn": "SecretVersionId", "Alias": "CertificateArn"}
FIXES = {
    "Alias": "--set Alias=ab.example.com.cn, a domain with ICP recordal: *.cloudfront.cn must not serve content",
    "CertificateId": "--set CertificateId=ASCA…, as `aws iam upload-server-certificate --path /cloudfront/…` prints it",
}


def scalar(text):
    text = text.strip()
    quoted = re.fullmatch(r"'((?:[^']|'')*)'|\"(.*)\"", text)
    return text if not quoted else quoted[2] if quoted[1] is None else quoted[1].replace("''", "'")


def items(text):
    return [scalar(item) for item in text.strip()[1:-1].split(",")]


def parameters(template):
    """The parameters of a template: name → attribute → text, or a list for AllowedValues."""
    found, name, attribute, inside = {}, None, None, False
    for line in pathlib.Path(template).read_text(encoding="utf-8").splitlines():
        if re.match(r"\S", line) and not line.startswith("#"):
            inside = line.rstrip() == "Parameters:"
        if not inside:
            continue
        if match := re.match(r"  (\w+):\s*$", line):
            name = match[1]
            found[name] = {}
        elif match := re.match(r"    (\w+):\s*(.*)$", line):
            attribute, text = match[1], match[2]
            is_list = attribute == "AllowedValues"
            found[name][attribute] = ([] if not text else items(text)) if is_list else scalar(text)
        elif (match := re.match(r"      - (.*)$", line)) and attribute == "AllowedValues":
            found[name][attribute].append(scalar(match[1]))
    if not found:
        sys.exit(f"parameters.py: expected a section Parameters in {template}, found none")
    return found


def name_error(name, known, others, template, other_template):
    if name in others:
        return f"{name} is a parameter of {other_template}, but not of {template}, the template for this region"
    by_lower_case = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.6)
    hint = f"did you mean {by_lower_case[close[0]]}?" if close else "the template lists all of them"
    return f"{template} has no parameter {name}: {hint}"


def value_error(name, value, rules):
    """Why CloudFormation would refuse this value, or None. Contains no value of a secret parameter."""
    shown = "its value" if rules.get("NoEcho") == "true" else f"'{value}'"
    if re.search(r"[\x00-\x1f\x7f]", value):
        return f"{name}: expected one line of text, found a control character: remove it"
    if "AllowedValues" in rules and value not in rules["AllowedValues"]:
        close = difflib.get_close_matches(value, rules["AllowedValues"], n=1)
        hint = f"did you mean {close[0]}?" if close else f"use one of {', '.join(rules['AllowedValues'])}"
        return f"{name}: {shown} is not an allowed value: {hint}"
    if rules.get("Type") == "Number":
        low, high = rules.get("MinValue"), rules.get("MaxValue")
        limits = f" from {low} to {high}" if low and high else f" of at least {low}" if low else ""
        whole = re.fullmatch(r"-?[0-9]{1,18}", value)
        if not whole or (low and int(value) < int(low)) or (high and int(value) > int(high)):
            return f"{name}: expected a whole number{limits}, found {shown}"
    if "MaxLength" in rules and len(value) > int(rules["MaxLength"]):
        return f"{name}: expected at most {rules['MaxLength']} characters, found {len(value)}"
    if "AllowedPattern" in rules and not re.fullmatch(rules["AllowedPattern"], value):
        expected = rules.get("ConstraintDescription", f"a value that matches {rules['AllowedPattern']}")
        return f"{name}: expected {expected}, found {shown}"
    if name == "Alias" and value.endswith((".cloudfront.cn", ".cloudfront.net")):
        return f"Alias: expected your own domain, found {shown}, a domain of CloudFront"
    return None


def conflicts(value):
    """Values that need another value; the templates' Rules state the same. `value` gives a parameter's value by its name."""
    if value("FrontDoor").startswith("FunctionUrl") and value("Access") and value("AccessAuthorization") == "true":
        yield (
            f"FrontDoor={value('FrontDoor')}: CloudFront's signature replaces the viewer's Authorization: send tokens in cookies "
            "or query strings, and set AccessAuthorization=false"
        )
    # aws-cn.yaml has no FrontDoor: AWS documents no endpoint for metrics there.
    if value("Metrics") == "otlp" and not value("OtlpEndpoint") and not value("FrontDoor"):
        yield "Metrics=otlp needs OtlpEndpoint: the collector that receives the metrics"


def check(mode, template, other_template, present, new):
    known, others = parameters(template), parameters(other_template)
    names = [pathlib.Path(each).name for each in (template, other_template)]
    errors = []
    for name, value in new:
        if name not in known:
            errors.append(name_error(name, known, others, *names))
        elif error := value_error(name, value, known[name]):
            errors.append(error)
    given = [name for name, _ in new]
    errors += [f"{name} is set twice: set it once" for name in sorted(set(given)) if given.count(name) > 1]
    merged = dict(present) | dict(new)
    headers = [merged.get(name, known[name]["Default"]) for name in ("AuthHeader", "VersionHeader")]
    if headers[0] == headers[1]:
        errors.append(f"AuthHeader and VersionHeader are both {headers[0]}: the secret and the variant need two headers")
    if errors or mode == "unknown":
        return errors
    for name, rules in known.items():
        if name not in COMPUTED and "Default" not in rules and not merged.get(name):
            errors.append(f"a new stack from {names[0]} needs {name}: add {FIXES.get(name, f'--set {name}=…')}")
    for name, needed in NEEDS.items():
        if needed in known and merged.get(name) and not merged.get(needed):
            errors.append(f"{name} needs {needed}: {known[needed].get('Description', f'add --set {needed}=…')}")
    return errors + list(conflicts(lambda name: merged.get(name, known.get(name, {}).get("Default", ""))))


def main(mode, template, other_template):
    texts = sys.stdin.buffer.read().decode("utf-8", "surrogateescape").split("\0")[:-1]
    border = texts.index("")
    present, new = ([tuple(text.split("=", 1)) for text in part] for part in (texts[:border], texts[border + 1 :]))
    errors = check(mode, template, other_template, present, new)
    print("\n".join(errors))
    return 2 if errors else 0


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("new", "update", "unknown"):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
