"""Packs a program into a zip for Lambda: artifact.py PROGRAM ARCH GLIBC ZIP

Rejects a program for another architecture, or one that needs a newer glibc than GLIBC, the version of the runtime. The zip
is reproducible: it contains only `bootstrap`, without time or owner. Writes the zip's SHA-256 to ZIP.sha256.
"""

import hashlib
import pathlib
import re
import struct
import sys
import zipfile

import zopfli

MACHINES = {"arm64": 183, "x86_64": 62}  # e_machine of the ELF header
PT_INTERP = 3


def version(text):
    return tuple(int(part) for part in text.split("."))


def fail(error):
    sys.exit(f"artifact.py: {error}")


def main(program, arch, glibc, archive):
    code = pathlib.Path(program).read_bytes()
    if code[:6] != b"\x7fELF\x02\x01":
        fail(f"{program} is not a 64-bit Linux program")
    machine = struct.unpack_from("<H", code, 18)[0]
    if machine != MACHINES[arch]:
        fail(f"{program} is not for {arch}: its e_machine is {machine}, expected {MACHINES[arch]}")
    start, size, count = struct.unpack_from("<Q", code, 32)[0], *struct.unpack_from("<HH", code, 54)
    dynamic = any(struct.unpack_from("<I", code, start + i * size)[0] == PT_INTERP for i in range(count))
    # The symbol versions that the program requires are strings in it, such as GLIBC_2.34.
    required = max({version(found.decode()) for found in re.findall(rb"GLIBC_([0-9.]+[0-9])\0", code)}, default=(0,))
    if dynamic and required > version(glibc):
        fail(f"{program} needs glibc {'.'.join(map(str, required))}, but the runtime has {glibc}")

    entry = zipfile.ZipInfo("bootstrap", (1980, 1, 1, 0, 0, 0))
    entry.create_system, entry.external_attr, entry.compress_type = 3, 0o100755 << 16, zipfile.ZIP_DEFLATED
    with zopfli.ZipFile(archive, "w") as zipped:
        zipped.writestr(entry, code)
    digest = hashlib.sha256(pathlib.Path(archive).read_bytes()).hexdigest()
    name = pathlib.Path(archive).name
    pathlib.Path(archive + ".sha256").write_text(f"{digest}  {name}\n")
    linked = f"glibc {'.'.join(map(str, required))} or newer" if dynamic else "static"
    print(f"{name}  {len(code):,} B, {pathlib.Path(archive).stat().st_size:,} B zipped, {linked}")
    print(f"  sha256 {digest}")


if __name__ == "__main__":
    if len(sys.argv) != 5 or sys.argv[2] not in MACHINES:
        sys.exit(__doc__)
    main(*sys.argv[1:])
