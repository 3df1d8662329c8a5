#!/usr/bin/env python3
"""Keeps the imports between Rust modules acyclic, inside crates too, and downward in crate nearedge.

    .ci/imports.py               reports cycles and upward imports; exits 1 if it finds one
    .ci/imports.py --graph       prints every import between two module files
    .ci/imports.py --self-test   checks this script on small synthetic trees

A node is a module that is a file. An edge is a path in a `use` declaration or in code that starts with `crate`, `self`,
`super`, a crate of this workspace, a child module or an imported module. It leads to the deepest module file that the
path names: `crate::storage::cache::Cache` leads to storage/cache. `mod x;` is not an edge. Comments, strings, items
under `#[cfg(test)]` and modules named `tests` do not count.
"""

import argparse
import collections
import pathlib
import re
import sys
import tempfile
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Crate name → root files. `main.rs` is a crate of its own, which uses the library by its name.
CRATES = {
    "nearedge": ["src/lib.rs", "src/main.rs"],
    "nearedge_core": ["src/core/lib.rs"],
    "nearedge_report": ["emulator/report/src/lib.rs"],
    "emulator": ["emulator/src/lib.rs", "emulator/src/main.rs"],
    "dashboards": ["dashboards/src/lib.rs", "dashboards/src/main.rs"],
}

# Crate → top-level modules from the highest layer to the lowest. A module may import from its own layer and from those
# below. `config` parses the environment into settings types of the layers below it. The compiler keeps nearedge_core
# below all of them.
LAYERS = {"nearedge": "main bootstrap config lambda warm_up origin storage telemetry http_client moment".split()}

TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<comment>/\*)
  | (?P<raw>\b[bc]?r(?P<hashes>\#*)"(?s:.*?)"(?P=hashes))
  | (?P<text>\b[bc]?"(?s:\\.|[^"\\])*"|"(?s:\\.|[^"\\])*")
  | (?P<char>b?'(?:\\.[^'\n]*|[^'\\\n])')
  | (?P<lifetime>'\w+)
  | (?P<name>(?:r\#)?[^\W\d]\w*)
  | (?P<number>\d\w*)
  | (?P<other>::|.)
    """,
    re.VERBOSE | re.DOTALL,
)
COMMENT_EDGE = re.compile(r"/\*|\*/")
ITEM = set("async const enum extern fn impl let macro_rules mod pub static struct trait type union unsafe use".split())
OPEN, CLOSE = "([{", ")]}"


class SourceError(Exception):
    """A file that this script cannot read."""


@dataclass
class Token:
    text: str
    line: int
    # Neither a literal nor a lifetime.
    code: bool = True


@dataclass(eq=False)
class Module:
    """A module file, or an inline module inside one."""

    name: str  # such as `nearedge::storage::cache`
    file: pathlib.Path
    parent: "Module | None" = None
    inline: bool = False
    children: dict = field(default_factory=dict)
    # Local name of an imported module → that module.
    aliases: dict = field(default_factory=dict)
    # Paths of this module: (segments, line), of `use` declarations and of code.
    imports: list = field(default_factory=list)
    paths: list = field(default_factory=list)

    def node(self):
        """The module whose file holds this one."""
        return self.parent.node() if self.inline else self


def tokens(text):
    """The tokens of a Rust source, without comments and attributes' whitespace."""
    found, at, line = [], 0, 1
    while at < len(text):
        match = TOKEN.match(text, at)
        end = match.end()
        if match["comment"]:
            depth = 1
            while depth:
                edge = COMMENT_EDGE.search(text, end)
                if not edge:
                    raise SourceError(f"line {line}: expected the end of a block comment, found the end of the file")
                depth, end = depth + (1 if edge[0] == "/*" else -1), edge.end()
        elif not match["space"]:
            literal = match["raw"] or match["text"] or match["char"] or match["lifetime"]
            found.append(Token((match["name"] or match[0]).removeprefix("r#"), line, not literal))
        line += text.count("\n", at, end)
        at = end
    return found


def is_code(token, *texts):
    return token.code and token.text in texts


def closing(stream, at):
    """The index after the bracket that closes the one at `at`."""
    depth = 0
    for index in range(at, len(stream)):
        depth += is_code(stream[index], *OPEN) - is_code(stream[index], *CLOSE)
        if depth == 0:
            return index + 1
    raise SourceError(f"line {stream[at].line}: expected a closing bracket, found the end of the file")


def end_of_item(stream, at):
    """The index after the item, field, arm or statement at `at`."""
    item = stream[at].text in ITEM
    while at < len(stream):
        token = stream[at]
        if is_code(token, *CLOSE):
            return at
        if is_code(token, *OPEN):
            at = closing(stream, at)
            if item and token.text == "{":
                return at
            continue
        at += 1
        if is_code(token, ";") or (not item and is_code(token, ",")):
            return at
    return at


def for_tests_only(attribute):
    """Whether the attribute removes its item from every build but that of tests."""
    words = [token.text for token in attribute if token.code]
    return words[:2] == ["cfg", "("] and "test" in words and not {"not", "any"} & set(words)


def without_tests(stream):
    """The tokens without attributes and without items for tests. Keeps `#[path]` of a module."""
    kept, at = [], 0
    while at < len(stream):
        start = at + 1
        if is_code(stream[at], "#") and start < len(stream):
            start += is_code(stream[start], "!")
            if is_code(stream[start], "["):
                end = closing(stream, start)
                attribute = stream[start + 1 : end - 1]
                at = end
                if for_tests_only(attribute):
                    while at < len(stream) and is_code(stream[at], "#"):
                        at = closing(stream, at + 1)
                    at = end_of_item(stream, at) if at < len(stream) else at
                elif attribute and attribute[0].text == "path":
                    kept.append(Token("#[path]" + attribute[-1].text.strip('"'), attribute[0].line, False))
                continue
        if is_code(stream[at], "mod") and at + 1 < len(stream) and stream[at + 1].text == "tests":
            at = end_of_item(stream, at)
            continue
        kept.append(stream[at])
        at += 1
    return kept


def leaves(stream, at, prefix):
    """The paths of the use tree at `at` as (segments, local name or None, line), and the index after it."""
    found, path = [], list(prefix)
    while True:
        token = stream[at]
        if token.text == "{":
            at += 1
            while stream[at].text != "}":
                more, at = leaves(stream, at, path)
                found += more
                at += stream[at].text == ","
            return found, at + 1
        if token.text == "*":
            return [(path, None, token.line)], at + 1
        if token.text != "::":
            path.append(token.text)
            if stream[at + 1].text != "::":
                break
        at += 1
    whole = path[:-1] if path[-1] == "self" and len(path) > 1 else path
    name = whole[-1]
    if stream[at + 1].text == "as":
        name, at = stream[at + 2].text, at + 2
    return [(whole, name, token.line)], at + 1


def file_of(module, folder, name, path):
    """Where the module `name` that `module` declares is stored."""
    if path:
        return module.file.parent / path
    for file in (folder / f"{name}.rs", folder / name / "mod.rs"):
        if file.is_file():
            return file
    raise SourceError(
        f"{module.file}: expected {folder / name}.rs or {folder / name}/mod.rs for `mod {name};`, found neither"
    )


def read(module, folder):
    """Reads a module file and, recursively, those that it declares. `folder` holds its children."""
    try:
        stream = without_tests(tokens(module.file.read_text()))
    except SourceError as error:
        raise SourceError(f"{module.file}: {error}") from None
    current, braces, path, at = module, [], None, 0
    inside = [folder]
    while at < len(stream):
        token, previous = stream[at], stream[at - 1].text if at else ""
        at += 1
        if token.text.startswith("#[path]"):
            path = token.text.removeprefix("#[path]")
        elif not token.code:
            pass
        elif token.text == "mod" and at + 1 < len(stream) and stream[at + 1].text in (";", "{"):
            name, inline = stream[at].text, stream[at + 1].text == "{"
            child = Module(f"{current.name}::{name}", module.file, current, inline)
            current.children[name] = child
            if inline:
                braces.append(current)
                current = child
                inside.append(inside[-1] / name)
            else:
                child.file = file_of(module, inside[-1], name, path)
                stored_as_mod = child.file.name == "mod.rs" or path
                read(child, child.file.parent if stored_as_mod else child.file.with_suffix(""))
            path = None
            at += 2
        elif token.text == "pub" and at < len(stream) and stream[at].text == "(":
            at = closing(stream, at)
        elif token.text == "use" and previous != "::" and at < len(stream) and stream[at].text not in ("<", ">", ","):
            found, at = leaves(stream, at, [])
            current.imports += found
        elif token.text == "{":
            braces.append(None)
        elif token.text == "}":
            outer = braces.pop() if braces else None
            if outer:
                current = outer
                inside.pop()
        elif (token.text[0].isalpha() or token.text[0] == "_") and previous not in ("::", "."):
            segments = [token.text]
            while at + 1 < len(stream) and stream[at].text == "::" and re.match(r"[^\W\d]", stream[at + 1].text):
                segments.append(stream[at + 1].text)
                at += 2
            if len(segments) > 1 or (at < len(stream) and stream[at].text == "::"):
                current.paths.append((segments, token.line))


def crate_roots(root):
    """Reads every crate: crate name → its library, and all root modules."""
    libraries, roots = {}, []
    for crate, files in CRATES.items():
        for relative in files:
            file = root / relative
            if not file.is_file():
                if relative.endswith("/main.rs"):
                    continue
                raise SourceError(
                    f"{file}: expected the root of crate {crate}, found no file; correct CRATES in .ci/imports.py"
                )
            library = not relative.endswith("/main.rs")
            module = Module(crate if library else f"{crate}::main", file)
            read(module, file.parent)
            roots.append(module)
            if library:
                libraries[crate] = module
    return libraries, roots


def resolve(module, segments, libraries):
    """The deepest module that the path names, as (module, segments left); None if it leads outside."""
    rest = list(segments)
    first = rest.pop(0)
    if first == "crate":
        while module.parent:
            module = module.parent
    elif first in ("self", "super"):
        module = module.parent if first == "super" else module
        while module and rest[:1] == ["super"]:
            module = module.parent
            rest.pop(0)
        if module is None:
            return None
    elif first in module.children:
        module = module.children[first]
    elif first in module.aliases:
        module = module.aliases[first]
    elif first in libraries:
        module = libraries[first]
    else:
        return None
    while rest and rest[0] in module.children:
        module = module.children[rest.pop(0)]
    return module, rest


def walk(module):
    yield module
    for child in module.children.values():
        yield from walk(child)


def edges(libraries, roots):
    """(from, to) → the first import as (file, line, path). Both are names of module files."""
    found = {}
    modules = [module for root in roots for module in walk(root)]
    # An alias of an alias takes a second round.
    for _ in range(2):
        for module in modules:
            for segments, name, _line in module.imports:
                target = resolve(module, segments, libraries)
                if name and target and not target[1] and target[0] is not module.children.get(name):
                    module.aliases[name] = target[0]
    for module in modules:
        used = [(segments, line) for segments, _, line in module.imports] + module.paths
        for segments, line in sorted(used, key=lambda path: path[1]):
            target = resolve(module, segments, libraries)
            if target and target[0].node() is not module.node():
                key = (module.node().name, target[0].node().name)
                found.setdefault(key, (module.file, line, "::".join(segments)))
    return found


def components(graph):
    """Strongly connected components of two nodes and more (Tarjan)."""
    index, low, stack, result = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                result.append(set(component))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return result


def shortest(graph, start, end, within):
    """The shortest path between two nodes of one component."""
    before, queue = {start: None}, collections.deque([start])
    while queue:
        node = queue.popleft()
        if node == end:
            path = []
            while node is not None:
                path.append(node)
                node = before[node]
            return path[::-1]
        for other in sorted(graph[node] & within):
            if other not in before:
                before[other] = node
                queue.append(other)
    raise AssertionError(f"{start} and {end} are in one component")


def cycles(found):
    """For each import that is part of a cycle, the shortest such cycle, each once: lists of names."""
    graph = collections.defaultdict(set)
    for one, other in found:
        graph[one].add(other)
        graph[other] |= set()
    unique = {}
    for component in components(graph):
        for one, other in sorted(found):
            if one in component and other in component:
                path = shortest(graph, other, one, component)
                first = path.index(min(path))
                cycle = path[first:] + path[:first]
                unique[tuple(cycle)] = cycle
    return sorted(unique.values(), key=lambda cycle: (len(cycle), cycle))


def layer(name):
    """(crate, top-level module) of a module, with `main` for lib.rs itself: nothing below may import from it."""
    crate, _, rest = name.partition("::")
    return crate, rest.split("::")[0] or "main"


def upward(found, modules):
    """Imports from a layer to a higher one, and top-level modules without a layer: lines."""
    lines = []
    for name in modules:
        crate, top = layer(name)
        if crate in LAYERS and name.count("::") == 1 and top not in LAYERS[crate]:
            lines.append(f"{name} has no layer: add it to LAYERS in .ci/imports.py")
    for (one, other), (file, line, path) in sorted(found.items()):
        (crate, above), (other_crate, below) = layer(one), layer(other)
        order = LAYERS.get(crate, [])
        if crate != other_crate or above not in order or below not in order:
            continue
        if order.index(below) < order.index(above):
            lines.append(f"{one} imports from {other}, a higher layer\n    {file}:{line}: {path}")
    return lines


def check(root):
    """(edges, cycles as text, upward imports as text, number of module files) of the tree at `root`."""
    libraries, roots = crate_roots(root)
    modules = [module.name for top in roots for module in walk(top) if not module.inline]
    found = {key: (file.relative_to(root), line, path) for key, (file, line, path) in edges(libraries, roots).items()}
    texts = []
    for cycle in cycles(found):
        text = " → ".join([*cycle, cycle[0]])
        for pair in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            file, line, path = found[pair]
            text += f"\n    {file}:{line}: {path}"
        texts.append(text)
    return found, texts, upward(found, modules), len(modules)


def self_test():
    """Checks the script on small trees: (what, files, expected edges, number of cycles, number of upward imports)."""
    cases = [
        (
            "a cycle inside a crate",
            {
                "src/lib.rs": "pub mod origin; pub mod storage; pub mod telemetry;",
                "src/origin.rs": "use crate::storage::cache::Cache;\nfn f() { let x = 'a'; }",
                "src/storage/mod.rs": "pub mod cache;",
                "src/storage/cache.rs": "use crate::telemetry::{self, trace::Span};",
                "src/telemetry/mod.rs": "pub mod trace;",
                "src/telemetry/trace.rs": "fn f() {\n    crate::origin::record()\n}",
            },
            {
                "origin storage::cache",
                "storage::cache telemetry",
                "storage::cache telemetry::trace",
                "telemetry::trace origin",
            },
            1,
            1,
        ),
        (
            "a cycle between parent and child",
            {
                "src/lib.rs": "pub mod storage;",
                "src/storage/mod.rs": "mod cache;\npub use cache::Cache as C;\npub struct Key;",
                "src/storage/cache.rs": "use super::Key;",
            },
            {"storage storage::cache", "storage::cache storage"},
            1,
            0,
        ),
        (
            "siblings that import through their parent",
            {
                "src/lib.rs": "pub mod storage;",
                "src/storage.rs": "mod cache;\nmod s3;",
                "src/storage/cache.rs": "use super::s3::{\n    Client,\n    Error as S3Error,\n};",
                "src/storage/s3.rs": "",
            },
            {"storage::cache storage::s3"},
            0,
            0,
        ),
        (
            "tests, comments and strings",
            {
                "src/lib.rs": "pub mod origin; pub mod storage; pub(crate) mod config;",
                "src/config.rs": "",
                "src/origin.rs": "use crate::storage::Store; // crate::config::A\n#[cfg(test)]\nmod tests;\n",
                "src/origin/tests.rs": "use crate::config::B;",
                "src/storage.rs": """
                    /// [`crate::origin::Origin`]
                    pub(in crate::storage) struct Store<'a>(&'a str);
                    /* crate::origin::A /* nested */ crate::origin::B */
                    const TEXT: &str = "crate::origin::C \\" crate::origin::D";
                    const RAW: &str = r#"" crate::origin::E "#;
                    #[cfg(test)]
                    use crate::origin::F;
                    #[cfg(test)]
                    #[allow(dead_code)]
                    fn f() { crate::origin::g(); }
                    #[cfg(test)]
                    mod tests { use crate::origin::H; fn f() { super::super::origin::i(); } }
                """,
            },
            {"origin storage"},
            0,
            0,
        ),
        (
            "inline modules, aliases and the core",
            {
                "src/lib.rs": "pub mod lambda; pub mod telemetry;",
                "src/main.rs": "fn main() { nearedge::lambda::run() }",
                "src/lambda.rs": "use crate::telemetry as t;\nmod m { fn f() { super::g() } } fn g() { t::trace::f() }",
                "src/telemetry/mod.rs": "pub mod trace;",
                "src/telemetry/trace.rs": "use nearedge_core::object::Key;",
                "src/core/lib.rs": "pub mod object;",
                "src/core/object.rs": "",
            },
            {"main lambda", "lambda telemetry", "lambda telemetry::trace", "telemetry::trace nearedge_core::object"},
            0,
            0,
        ),
        (
            "an upward import and a module without a layer",
            {
                "src/lib.rs": "pub mod bootstrap; pub mod config; pub mod helper;",
                "src/bootstrap.rs": "use crate::config::Config;",
                "src/config.rs": "use crate::helper::h;",
                "src/helper.rs": "",
            },
            {"bootstrap config", "config helper"},
            0,
            1,
        ),
        (
            "an import of bootstrap",
            {
                "src/lib.rs": "pub mod bootstrap; pub mod lambda;",
                "src/bootstrap.rs": "",
                "src/lambda.rs": "use crate::bootstrap::run;",
            },
            {"lambda bootstrap"},
            0,
            1,
        ),
    ]
    for what, files, expected, cycle_count, upward_count in cases:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            empty = {file: "" for crate in CRATES.values() for file in crate if file.endswith("lib.rs")}
            for name, text in (empty | files).items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            found, loops, higher, _ = check(root)
            short = {" ".join(name.removeprefix("nearedge::") for name in pair) for pair in found}
            for got, wanted in ((short, expected), (len(loops), cycle_count), (len(higher), upward_count)):
                if got != wanted:
                    sys.exit(f"FAILED: self-test: {what}: expected {wanted}, found {got}")
    print(f"self-test: {len(cases)} trees passed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graph", action="store_true", help="print every import between two module files")
    parser.add_argument("--self-test", action="store_true", help="check this script on small synthetic trees")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="the tree to read (default: this repository)")
    options = parser.parse_args()
    if options.self_test:
        self_test()
        return
    try:
        found, loops, higher, count = check(options.root.resolve())
    except SourceError as error:
        sys.exit(f"FAILED: {error}")
    if options.graph:
        for (one, other), (file, line, path) in sorted(found.items()):
            print(f"{one} → {other}    {file}:{line}: {path}")
        return
    for text in loops:
        print(f"cycle: {text}")
    for text in higher:
        print(f"layer: {text}")
    print(f"{count} module files, {len(found)} imports: {len(loops)} cycles, {len(higher)} layer errors")
    if loops or higher:
        sys.exit("FAILED: move the shared item to the lower module, or pass it as an argument")


if __name__ == "__main__":
    main()
