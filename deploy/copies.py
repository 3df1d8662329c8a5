"""Copies of a site's texts in content codings, such as app.js.br, which the function sends if Precompressed names the coding.

They are made at the highest level, which takes about a second per megabyte, so only for files that changed.
"""

import pathlib
import shutil
import subprocess
import zlib

import media

SUFFIXES = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}
COMMANDS = {"br": ["brotli", "-q", "11", "-c"], "zstd": ["zstd", "-q", "-19", "-c"]}
# The function codes no smaller text either (docs/encoding.md).
BYTES_MIN = 1000
# A copy must save a tenth.
PERCENT_MAX = 90
# Other types that shrink; the function has the same list (src/core/object/copy.rs).
SHRINK = {"application/wasm", "application/vnd.ms-fontobject", "font/ttf", "font/otf", "image/bmp", "image/x-icon"}


def missing_tools(codings):
    """The commands that these codings need and this machine lacks."""
    return [command[0] for coding, command in COMMANDS.items() if coding in codings and not shutil.which(command[0])]


def shrinks(file):
    kind = file.type.split(";")[0]
    is_text = kind in media.TEXT or kind.startswith("text/") or kind.endswith(("+json", "+xml")) or kind in SHRINK
    return is_text and not file.encoding and file.size >= BYTES_MIN


def wanted(files, codings, private):
    """The copies that these files should have, as (source, coding, key), unless the folder itself contains them.

    `private` are the keys of files that configure the function, which are never sent.
    """
    keys = {file.key for file in files}
    sources = [file for file in files if shrinks(file) and file.key not in private]
    candidates = ((file, coding, file.key + SUFFIXES[coding]) for file in sources for coding in codings)
    return [(file, coding, key) for file, coding, key in candidates if key not in keys and fits(key)]


def fits(key):
    """Whether S3 has such a key, and this machine such a file."""
    return len(key.encode()) <= 1024 and all(len(name.encode()) <= 255 for name in key.split("/"))


def make(path, coding, target):
    """Writes the copy of the file at `path` to `target`. Returns whether it is small enough to be of use."""
    content = pathlib.Path(path).read_bytes()
    if coding == "gzip":
        # Level 9 with a gzip header without name and time, so that equal files have equal copies.
        encoder = zlib.compressobj(9, zlib.DEFLATED, 31)
        coded = encoder.compress(content) + encoder.flush()
    else:
        coded = subprocess.run(COMMANDS[coding], input=content, stdout=subprocess.PIPE, check=True).stdout
    if len(coded) * 100 > len(content) * PERCENT_MAX:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(coded)
    return True
