"""Puts what a run made into a page of docs/, with its picture."""

import shutil
import textwrap

from . import ROOT

DOCS = ROOT / "docs"


def put(page, command, text, pictures=()):
    """Replaces what stands between the marks of `command` in docs/`page`; `pictures` are (file, name in docs/pictures)."""
    path = DOCS / page
    start, end = f"<!-- made by `{command}` -->\n", "<!-- until here -->\n"
    head, found, rest = path.read_text().partition(start)
    if not found or end not in rest:
        raise SystemExit(f"docs/{page} has no place for {command}")
    # Tables stay as they are.
    lines = [line if line.startswith("|") else textwrap.fill(line, 140, break_on_hyphens=False) for line in text.strip().split("\n")]
    text = "\n".join(lines)
    path.write_text(f"{head}{start}\n{text}\n\n{end}{rest.partition(end)[2]}")
    for file, name in pictures:
        shutil.copyfile(file, DOCS / "pictures" / name)
