"""Uploads a folder to the bucket; `deploy.sh site` runs it. See deploy.sh --help for the options.

It decides by content: a file is uploaded unless the bucket holds the same bytes under its key. `aws s3 sync` compares
size and time instead, and so skips a file that a rollback has replaced with an older one of equal size. Every file is
read before the first upload. Assets come first and pages last, so that no page refers to an object that does not exist yet. Copies
in content codings follow: the function sends none that is older than its source.
"""

import argparse
import codecs
import fnmatch
import hashlib
import json
import os
import pathlib
import re
import shlex
import stat
import subprocess
import sys
import tempfile
import time

import copies
import media

IMMUTABLE = "public, max-age=31536000, immutable"
# S3 limits a key to 1,024 bytes (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).
KEY_MAX_BYTES = 1024
# The AWS CLI uploads files of at least this size in parts of this size
# (https://docs.aws.amazon.com/cli/latest/topic/s3-config.html).
PART_BYTES = 8 * 1024 * 1024
# Objects in one request (https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html).
DELETE_MAX = 1000

# Files that belong to the author's machine. Patterns of names in lower case; a hidden name is excluded by its dot.
KEYS = "id_rsa* id_dsa* id_ecdsa* id_ed25519* *.pem *.key *.p12 *.pfx *.ppk *.jks *.keystore *.kdbx *.env".split()
KEYS += "credentials credentials.csv rootkey.csv *accesskeys.csv htpasswd *.tfstate *.tfstate.*".split()
BACKUPS = "*~ #*# *.bak *.orig *.rej *.swp *.swo thumbs.db desktop.ini __macosx".split()


def fail(text, status=1):
    print(f"deploy.sh: {text}", file=sys.stderr)
    sys.exit(status)


def note(text):
    print(f"deploy.sh: {text}", file=sys.stderr)


def md5(content=b""):
    # To compare files, not for security: an interpreter in FIPS mode refuses MD5 otherwise.
    return hashlib.md5(content, usedforsecurity=False)


def excluded_name(name):
    """Whether a file or folder of this name is never uploaded by default. RFC 8615 defines /.well-known/ for publication."""
    lower = name.lower()
    hidden = name.startswith(".") and name != ".well-known"
    return hidden or any(fnmatch.fnmatchcase(lower, pattern) for pattern in KEYS + BACKUPS)


class File:
    def __init__(self, key, path):
        self.key, self.path = key, path

    def read(self):
        """Reads the file once. Sets its ETag in S3, its size, its type, and whether it is a private key."""
        whole, parts, head, self.size = md5(), [], b"", 0
        decoder, self.is_utf8 = codecs.getincrementaldecoder("utf-8")(), True
        with open(self.path, "rb") as file:
            while block := file.read(PART_BYTES):
                head = head or block[:512]
                self.size += len(block)
                whole.update(block)
                parts.append(md5(block).digest())
                self.is_utf8 = self.is_utf8 and decodes(decoder, block)
        self.is_utf8 = self.is_utf8 and decodes(decoder, b"", final=True)
        # The ETag of an object in plaintext or with SSE-S3 is the MD5 of its bytes
        # (https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html), after a multipart upload the MD5 of the parts'
        # MD5s. With SSE-KMS it is neither, and the file is uploaded each time.
        self.etags = {whole.hexdigest()}
        if self.size >= PART_BYTES:
            self.etags.add(f"{md5(b''.join(parts)).hexdigest()}-{len(parts)}")
        first_line = head.split(b"\n", 1)[0]
        self.is_private_key = first_line.startswith(b"-----BEGIN ") and b"PRIVATE KEY" in first_line
        self.type, self.encoding, self.warning = media.describe(self.key, head, self.is_utf8)
        self.is_page = self.type.split(";")[0] in ("text/html", "application/xhtml+xml")


def decodes(decoder, block, final=False):
    try:
        decoder.decode(block, final)
    except UnicodeDecodeError:
        return False
    return True


# The usual name of the rules of access, which hold keys.
ACCESS = "access.json"


class Scan:
    """The files of a folder that belong to the site, what was skipped, and the errors that stop the upload."""

    def __init__(self, root, include, exclude, follow_links):
        self.root, self.include, self.exclude, self.follow_links = root, include, exclude, follow_links
        self.real_root = os.path.realpath(root)
        self.files, self.skipped, self.errors = [], [], []
        self.folder(root, "", [identity(os.stat(root))], False)

    def folder(self, path, prefix, above, is_excluded):
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            self.errors.append(f"{prefix or path} cannot be read: {error.strerror}")
            return
        for entry in entries:
            self.entry(entry, prefix + entry.name, above, is_excluded)

    def entry(self, entry, key, above, was_excluded):
        if matches(key, self.exclude):
            return
        is_excluded = was_excluded or excluded_name(entry.name)
        if is_excluded and not matches(key, self.include):
            self.skip(entry, key, above, was_excluded)
            return
        if entry.is_symlink():
            if error := self.link_error(entry, key):
                self.errors.append(error)
                return
        try:
            status = entry.stat()
        except OSError as error:
            self.errors.append(f"{key} cannot be read: {error.strerror}")
            return
        if error := key_error(key):
            self.errors.append(error)
        elif stat.S_ISDIR(status.st_mode):
            if identity(status) in above:
                self.errors.append(f"{key} is a link to a folder that contains it, and would repeat without end: remove it")
            else:
                self.folder(entry.path, key + "/", [*above, identity(status)], is_excluded)
        elif stat.S_ISREG(status.st_mode):
            self.files.append(File(key, entry.path))
        else:
            self.errors.append(f"{key} is neither a file nor a folder: remove it")

    def skip(self, entry, key, above, was_excluded):
        """Skips an excluded entry, and lists it unless it is in a folder that is listed."""
        before = len(self.files)
        if self.include and entry.is_dir(follow_symlinks=False):
            # An included file may be in it.
            self.folder(entry.path, key + "/", [*above, identity(entry.stat())], True)
        if not was_excluded and len(self.files) == before:
            self.skipped.append(key + ("/" if entry.is_dir() else ""))

    def link_error(self, entry, key):
        to = f"(to {os.readlink(entry.path)})"
        if not os.path.exists(entry.path):
            return f"{key} is a broken link {to}: remove it, or create its target"
        target = os.path.relpath(os.path.realpath(entry.path), self.real_root).split(os.sep)
        is_outside = target[0] == os.pardir
        # A link must not publish under a harmless name a file that its own name would exclude.
        names = target[-1:] if is_outside else target
        if any(excluded_name(name) for name in names if name != os.curdir) and not matches(key, self.include):
            return f"{key} is a link {to} to a hidden file, a key or a backup: copy its target, or add --include '{key}'"
        if is_outside and not self.follow_links:
            return f"{key} is a link out of the folder {to}: copy its target, or add --follow-links"
        return None

    def drop(self, is_dropped):
        """Removes files, and returns their keys."""
        dropped = [file.key for file in self.files if is_dropped(file.key)]
        self.files = [file for file in self.files if file.key not in dropped]
        return dropped

    def read(self):
        kept = []
        for file in self.files:
            try:
                file.read()
            except OSError as error:
                self.errors.append(f"{file.key} cannot be read: {error.strerror}")
                continue
            if file.is_private_key and not matches(file.key, self.include):
                self.skipped.append(f"{file.key} (a private key)")
            else:
                kept.append(file)
        self.files = kept


def identity(status):
    return status.st_dev, status.st_ino


def matches(key, globs):
    """As the filters of `aws s3`: `*` matches `/` too."""
    return any(fnmatch.fnmatchcase(key, glob) for glob in globs)


def is_definition(key, definition):
    """Whether this is the definition of experiments, or one of its old versions. experiment.sh alone writes them: an upload
    would undo a ramp without a word."""
    return bool(definition) and (key == definition or key.startswith(definition + ".versions/"))


def key_error(key):
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return f"{ascii(key)} has a name that is not UTF-8: rename it"
    if re.search(r"[\x00-\x1f\x7f]", key):
        return f"{ascii(key)} has a control character in its name: rename it"
    if size > KEY_MAX_BYTES:
        return f"{key[:60]}… has a path of {size} bytes: S3 allows {KEY_MAX_BYTES}"
    return None


class Upload:
    def __init__(self, options):
        self.options = options
        self.destination = f"s3://{options.bucket}/"

    def cache_control(self, file):
        return IMMUTABLE if matches(file.key, self.options.immutable) else self.options.cache_control

    def groups(self, files):
        """Files by equal headers, in the order of upload."""
        groups = {}
        for file in files:
            order = (file.is_page, self.cache_control(file) != IMMUTABLE)
            groups.setdefault((*order, file.type, file.encoding or "", self.cache_control(file)), []).append(file)
        return [(self.headers(*group[2:]), files) for group, files in sorted(groups.items())]

    def headers(self, type, encoding, cache_control):
        encodings = ["--content-encoding", encoding] if encoding else []
        return ["--content-type", type, *encodings, "--cache-control", cache_control]

    def plan(self, files):
        """A dry run: the bucket is not read, so each statement is conditional."""
        print("# would upload each of these files, unless the bucket holds the same bytes; assets first, pages last:")
        for headers, group in self.groups(files):
            for file in group:
                print("+", shlex.join(["aws", "s3", "cp", file.path, self.destination + file.key, *headers]))
        if wanted := copies.wanted(files, self.options.codings, self.private()):
            print(f"# would then make and upload the copies of changed files: {some([key for *_, key in wanted])}")
        if self.options.delete:
            print("# would then delete the objects that are not among these files, if any exist:")
            print("+", shlex.join(["aws", *self.deletion("KEYS.json")]))

    def run(self, files):
        stored = self.listing()
        changed = [file for file in files if self.options.force or stored.get(file.key, ('', ''))[0] not in file.etags]
        note(f"uploading {len(changed)} of {counted(files)}{self.unchanged(files, changed)}")
        done = 0
        with tempfile.TemporaryDirectory() as work:
            for number, (headers, group) in enumerate(self.groups(changed)):
                self.upload(pathlib.Path(work, str(number)), headers, group, f"{done} of {counted(changed)} uploaded")
                done += len(group)
            keys = {file.key for file in files}
            keys |= self.upload_copies(files, changed, stored, pathlib.Path(work, "copies"))
            # A key that ends in `/` is a folder of the S3 console.
            gone = [key for key in stored if key not in keys and not (key.endswith("/") and has_prefix(keys, key))]
            gone = [key for key in gone if not is_definition(key, self.options.definition) and key != self.options.access]
            if self.options.delete:
                self.delete(gone, pathlib.Path(work, "keys.json"))
            elif published := [key for key in gone if any(map(excluded_name, key.split("/")))]:
                note(f"the bucket holds {some(published)}: --delete deletes what is not in the folder; replace such secrets")
        print(f"uploaded {counted(changed)}{f', deleted {len(gone)}' if self.options.delete else ''}")

    def upload_copies(self, files, changed, stored, work):
        """Makes and uploads the copies of changed files, and those that the bucket lacks or that are not newer than their source.
        Returns the keys of all copies."""
        wanted, made, kept = copies.wanted(files, self.options.codings, self.private()), [], set()
        sources = {file.key for file in changed}
        for source, coding, key in wanted:
            if source.key not in sources and key in stored and stored[key][1] > stored[source.key][1]:
                kept.add(key)
            elif self.copied(source, coding, work / key):
                copy = File(key, str(work / key))
                copy.type, copy.encoding, copy.is_page = source.type, coding, False
                made.append(copy)
        if made and changed:
            # Last-Modified counts seconds, and a copy must be newer than its source.
            time.sleep(1.1)
        for number, (headers, group) in enumerate(self.groups(made)):
            self.upload(work.with_name(f"copies{number}"), headers, group, "the site is uploaded, its copies are not")
        if wanted:
            note(f"uploaded {len(made)} of {len(made) + len(kept)} copies in {', '.join(self.options.codings)}")
        return kept | {copy.key for copy in made}

    def private(self):
        configuration = (self.options.access, self.options.definition, self.options.redirects, self.options.headers)
        return {ACCESS, *filter(None, configuration)}

    def copied(self, source, coding, target):
        try:
            return copies.make(source.path, coding, target)
        except (OSError, subprocess.CalledProcessError) as error:
            fail(f"the site is uploaded, its copies are not: cannot encode {source.key}: {error}")

    def unchanged(self, files, changed):
        same = len(files) - len(changed)
        return f"; {same} have the same bytes and keep their headers (--force uploads them too)" if same else ""

    def listing(self):
        """The ETag, without quotes, and Last-Modified of each object, by key."""
        bucket = self.options.bucket
        command = [*"s3api list-objects-v2 --query Contents[].[Key,ETag,LastModified] --output json --bucket".split(), bucket]
        output = aws(command, f"cannot list the bucket {bucket}: nothing was uploaded").strip()
        return {key: (etag.strip('"'), modified) for key, etag, modified in json.loads(output or "null") or []}

    def upload(self, stage, headers, files, progress):
        # One process uploads all files with these headers, in parallel. Links to them form a folder that holds nothing
        # else: filters would take quadratic time, and the CLI would visit excluded folders too.
        for file in files:
            link = stage / file.key
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.abspath(file.path))
        command = ["s3", "cp", "--recursive", "--only-show-errors", f"{stage}/", self.destination, *headers]
        aws(command, f"the upload failed ({progress}): correct the error above and run it again; it continues there")

    def deletion(self, file):
        # DeleteObjects succeeds even if it could not delete an object: `Errors` lists those.
        query = "--query Errors[].[Key,Message] --output text".split()
        return ["s3api", "delete-objects", "--bucket", self.options.bucket, "--delete", f"file://{file}", *query]

    def delete(self, keys, file):
        for start in range(0, len(keys), DELETE_MAX):
            batch = [{"Key": key} for key in keys[start : start + DELETE_MAX]]
            file.write_text(json.dumps({"Objects": batch, "Quiet": True}))
            errors = aws(self.deletion(file), "the files are uploaded, but the deletion failed: see the error above").strip()
            if errors not in ("", "None"):
                fail(f"the files are uploaded, but S3 did not delete {errors.splitlines()[0]}")


def aws(arguments, error):
    """The output of the AWS CLI. Its messages go to the terminal."""
    done = subprocess.run(["aws", *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        fail(error)
    return done.stdout


def has_prefix(keys, prefix):
    return any(key.startswith(prefix) for key in keys)


def counted(files):
    return "1 file" if len(files) == 1 else f"{len(files)} files"


def some(names, most=8):
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def main():
    parse = argparse.ArgumentParser(prog="deploy.sh site", allow_abbrev=False)
    parse.add_argument("folder")
    parse.add_argument("--bucket", required=True)
    parse.add_argument("--variants", default="")
    parse.add_argument("--definition", default="")
    parse.add_argument("--access", default="")
    parse.add_argument("--redirects", default="")
    parse.add_argument("--headers", default="")
    parse.add_argument("--cache-control", required=True)
    for name in ("--immutable", "--include", "--exclude"):
        parse.add_argument(name, action="append", default=[])
    parse.add_argument("--codings", default="")
    for name in ("--delete", "--force", "--follow-links", "--dry-run", "--no-compress"):
        parse.add_argument(name, action="store_true")
    options = parse.parse_args()
    options.codings = [] if options.no_compress or options.codings in ("", "off") else options.codings.split(",")
    if missing := copies.missing_tools(options.codings):
        fail(f"{', '.join(missing)} is missing, which Precompressed needs: install it, or add --no-compress", 2)

    scan = Scan(options.folder, options.include, options.exclude, options.follow_links)
    if not scan.errors:
        scan.read()
    if scan.errors:
        for error in scan.errors[:20]:
            note(error)
        fail(f"errors in {options.folder}: {len(scan.errors)}; nothing was uploaded")
    if scan.skipped:
        note(f"skipping {some(scan.skipped)}: hidden files, keys and backups (--include GLOB uploads them)")
    if definition := scan.drop(lambda key: is_definition(key, options.definition)):
        note(f"skipping {some(definition)}: experiment.sh put replaces the definition of experiments")
    if not options.access and scan.drop(lambda key: key == ACCESS and not matches(key, options.include)):
        note(
            f"skipping {ACCESS}: without the setting access the function would serve it with its keys; "
            f"first deploy.sh set Access={ACCESS} (--include {ACCESS} uploads it now)"
        )
    if not scan.files:
        fail(f"{options.folder} contains no file to upload: nothing was changed", 2)
    for file in scan.files:
        if file.warning:
            note(f"{file.key}: {file.warning}")
    keys = [file.key for file in scan.files]
    for name, globs in (("immutable", options.immutable), ("include", options.include)):
        for glob in globs:
            if not any(matches(key, [glob]) for key in keys):
                note(f"--{name} '{glob}' matches no file")
    for variant in filter(None, options.variants.split(",")):
        if not has_prefix(keys, variant + "/"):
            note(f"{options.folder} has no folder {variant}/: viewers of that variant get 404")
    upload = Upload(options)
    if options.dry_run:
        upload.plan(scan.files)
    else:
        upload.run(scan.files)


if __name__ == "__main__":
    main()
