"""Content-Type and Content-Encoding of a file of the site, by its name and first bytes."""

import mimetypes
import re

# Types of the text formats. They get a charset, without which a browser guesses one; the AWS CLI sets none.
TEXT = {
    "text/html": "html htm shtml",
    "application/xhtml+xml": "xhtml xht",
    "text/css": "css",
    "text/javascript": "js mjs cjs",  # RFC 9239
    "application/json": "json map topojson",
    "application/ld+json": "jsonld",
    "application/geo+json": "geojson",
    "application/manifest+json": "webmanifest",
    "application/x-ndjson": "ndjson jsonl",
    "application/xml": "xml xsl xslt xsd",
    "application/rss+xml": "rss",
    "application/atom+xml": "atom",
    "image/svg+xml": "svg",
    "text/plain": "txt text log conf ini srt",
    "text/markdown": "md markdown",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv tab",
    "text/vtt": "vtt",
    "text/calendar": "ics ifb",
    "text/vcard": "vcf",
    "text/n3": "n3",
    "text/turtle": "ttl",
    "application/yaml": "yaml yml",  # RFC 9512
    "application/toml": "toml",
}
# Binary formats that Python does not know in all supported versions, or names differently.
BINARY = {
    "application/wasm": "wasm",
    "font/woff": "woff",
    "font/woff2": "woff2",
    "font/ttf": "ttf",
    "font/otf": "otf",
    "image/png": "png",
    "image/jpeg": "jpg jpeg",
    "image/webp": "webp",
    "image/avif": "avif",
    "image/x-icon": "ico",
    "video/mp4": "mp4 m4v",
    "video/webm": "webm",
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "application/vnd.apple.mpegurl": "m3u8",
    "video/mp2t": "ts",
    "audio/webm": "weba",
    "audio/ogg": "oga ogg opus",
    "video/ogg": "ogv",
    "application/vnd.ms-fontobject": "eot",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/epub+zip": "epub",
    "model/gltf-binary": "glb",
    "application/gzip": "gz tgz",
    "application/zstd": "zst",
    "application/zip": "zip",
}
TYPES = {extension: kind for kinds in (TEXT, BINARY) for kind, names in kinds.items() for extension in names.split()}
# Only the types that Python contains: those of the machine's /etc/mime.types differ from one machine to the next.
KNOWN = mimetypes.MimeTypes(())

# Codings of HTTP by extension, and the bytes that such a file begins with. Brotli has none (RFC 7932).
CODINGS = {"gz": ("gzip", b"\x1f\x8b"), "br": ("br", b""), "zst": ("zstd", b"\x28\xb5\x2f\xfd")}
# A compressed archive is a file to save, not a coding of the response.
ARCHIVES = {"tar", "cpio", "zip", "sql", "dump", "img", "iso"}


def extension_of(name):
    """The extension in lower case; empty for a name without one, such as `gz` or `.gz`."""
    match = re.fullmatch(r".+\.([^.]+)", name)
    return match[1].lower() if match else ""


def base_type(name):
    extension = extension_of(name)
    # guess_type reports the compression of a .gz apart; `x.` keeps the rest of a name from influencing the result.
    return TYPES.get(extension) or (extension and KNOWN.guess_type(f"x.{extension}")[0]) or "application/octet-stream"


def describe(key, head, is_utf8):
    """Content-Type, Content-Encoding or None, and a warning or None, for a key and the file's first bytes.

    `app.js.gz` is JavaScript in the coding gzip. `site.tar.gz` and `dump.gz` are files of type application/gzip.
    """
    name, warning, encoding = key.rsplit("/", 1)[-1], None, None
    extension = extension_of(name)
    if extension == "svgz":
        name, extension = name[:-1] + ".gz", "gz"
    if extension in CODINGS:
        coding, magic = CODINGS[extension]
        inner = name[: -len(extension) - 1]
        if extension_of(inner) not in ARCHIVES and (base_type(inner) != "application/octet-stream" or coding == "br"):
            encoding, name = coding, inner
            if not head.startswith(magic):
                warning = f"expected {coding} data in a .{extension} file, found other bytes: browsers cannot decode it"
    kind = base_type(name)
    if kind in TEXT or kind.startswith("text/"):
        # Compressed text is not examined. A charset in the header would override that of a page's <meta>.
        if is_utf8 or encoding:
            kind += "; charset=utf-8"
        else:
            warning = "expected text in UTF-8, found other bytes: uploading it without a charset"
    return kind, encoding, warning
