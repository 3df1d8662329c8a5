#!/usr/bin/env python3
"""Compares the spans of a run with its log lines, as independent receivers get them, and tests failing collectors.

    pip install --pre rotel opentelemetry-proto
    cargo build --workspace && .ci/telemetry.py [--requests 10000]

Spans arrive through rotel, an OpenTelemetry collector, and over UDP as at X-Ray's daemon. The script decodes them with
the Python classes of OpenTelemetry. Each invocation's spans must arrive exactly once, below the invocation's span, and
neither spans nor lines may contain a secret. With metrics=otlp, the metrics that the collector passes on must be those of the requests.
"""

import argparse
import base64
import collections
import concurrent.futures
import contextlib
import gzip
import http.client
import http.server
import json
import pathlib
import signal
import socket
import statistics
import sys
import sysconfig
import tempfile
import threading
import time

# A folder __pycache__ in .ci would make tests/security.rs fail.
sys.dont_write_bytecode = True

import peers
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PACKET_PREFIX = b'{"format":"json","version":1}\nT1S'
CHILDREN = {"decision", "cache lookup", "encoding", "post"}
SECRETS = ["lambdaapi_test", peers.KEYS[1], "local-nearedge-session-token-of-the-role"]
# The default of OTEL_EXPORTER_OTLP_TIMEOUT, and what a slow machine may add.
TIMEOUT_MS, SLACK_MS = 500, 250


class Received:
    """The spans and metrics that have arrived."""

    def __init__(self):
        self.lock = threading.Lock()
        self.spans, self.metrics = [], []

    def add(self, message):
        request = ExportTraceServiceRequest.FromString(message)
        found = [s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]
        with self.lock:
            self.spans.extend(found)

    def add_metrics(self, message):
        request = ExportMetricsServiceRequest.FromString(message)
        found = [m for r in request.resource_metrics for scope in r.scope_metrics for m in scope.metrics]
        with self.lock:
            self.metrics.extend(found)


@contextlib.contextmanager
def otlp_endpoint(received):
    """The endpoint that rotel exports to: OTLP over HTTP/1.1. Yields its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            add = received.add_metrics if self.path == "/v1/metrics" else received.add
            add(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


# Collectors: each yields the settings that send spans to it.


@contextlib.contextmanager
def rotel(received, folder):
    """A real collector, which exports to this script."""
    port, grpc = peers.free_port(), peers.free_port()
    agent = pathlib.Path(sysconfig.get_paths()["purelib"]) / "rotel" / "rotel-agent"
    with otlp_endpoint(received) as endpoint:
        command = [
            agent,
            "start",
            "--otlp-http-endpoint",
            f"127.0.0.1:{port}",
            "--otlp-grpc-endpoint",
            f"127.0.0.1:{grpc}",
        ]
        command += ["--exporter", "otlp", "--otlp-exporter-protocol", "http"]
        command += ["--otlp-exporter-endpoint", f"http://127.0.0.1:{endpoint}", "--batch-timeout", "200ms"]
        with peers.running(command, folder / "rotel.log"):
            peers.wait_until("rotel listens", lambda: peers.listens(port))
            yield [f"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{port}"]


@contextlib.contextmanager
def daemon(received, _folder):
    """The UDP socket of X-Ray's daemon: one message per packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind(("127.0.0.1", 0))
        stopped = threading.Event()

        def receive():
            sock.settimeout(0.2)
            while not stopped.is_set():
                with contextlib.suppress(TimeoutError):
                    packet = sock.recv(1 << 16)
                    assert packet.startswith(PACKET_PREFIX), packet[:60]
                    received.add(base64.b64decode(packet[len(PACKET_PREFIX) :], validate=True))

        receiver = threading.Thread(target=receive)
        receiver.start()
        try:
            yield [f"AWS_XRAY_DAEMON_ADDRESS=127.0.0.1:{sock.getsockname()[1]}"]
        finally:
            stopped.set()
            receiver.join()


@contextlib.contextmanager
def hanging(_received, _folder):
    """A collector that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield [f"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{listener.getsockname()[1]}"]


@contextlib.contextmanager
def unreachable(_received, _folder):
    """A collector whose port refuses connections."""
    yield [f"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{peers.free_port()}"]


def send_requests(api, count):
    """Sends requests over four connections. Returns sorted latencies in ms and the number of wrong statuses."""
    host = api.removeprefix("http://")
    paths = ["/test.html", "/test.png", "/missing.html", "/nothing.html"]
    expected = {"/missing.html": 404, "/nothing.html": 404}

    def share(worker):
        connection, latencies, failed = http.client.HTTPConnection(host, timeout=30), [], 0
        for number in range(worker, count, 4):
            path = paths[number % 4]
            start = time.perf_counter()
            headers = {"lambda_auth": peers.SECRET, "test_version": f"v{number % 2 + 1}"}
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            response.read()
            latencies.append((time.perf_counter() - start) * 1e3)
            failed += response.status != expected.get(path, 200)
        return latencies, failed

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        shares = list(pool.map(share, range(4)))
    return sorted(latency for latencies, _ in shares for latency in latencies), sum(failed for _, failed in shares)


def run(folder, count, collector, received, *arguments):
    """Runs the local cloud with this collector. Returns the result of `send_requests`, and the metrics lines."""
    log = folder / "nearedge.log"
    with collector(received, folder) as settings:
        env = [part for setting in settings for part in ("--env", setting)]
        with peers.local_cloud(folder, "--logs", *env, *arguments) as (api, _, _):
            latencies, failed = send_requests(api, count)
        # The collector may still hold some: wait until no more arrive.
        before = None
        while before != (before := (len(received.spans), len(received.metrics))):
            time.sleep(1)
    text = log.read_text(errors="replace")
    # Lines of the function, not those of the local cloud.
    logged = [line for line in text.splitlines() if "  env " in line]
    lines = [json.loads(line[line.index("{") :]) for line in logged if '"_aws"' in line]
    for secret in SECRETS:
        leaks = [line for line in logged if secret in line]
        if leaks or any(secret.encode() in sent.SerializeToString() for sent in received.spans + received.metrics):
            sys.exit(f"FAILED: expected no secret in lines, spans and metrics, found {leaks[:1] or 'one in those'}")
    return latencies, failed, lines


def text_of(span, name):
    return next((a.value.string_value for a in span.attributes if a.key == name), None)


def check_complete(what, count, received, lines):
    """Checks that each invocation's spans arrived exactly once, below the invocation's span."""
    spans = received.spans
    ids = collections.Counter((s.trace_id, s.span_id) for s in spans)
    servers = {text_of(s, "faas.invocation_id"): s for s in spans if s.kind == 2}
    lost = sum(line["request_id"] not in servers for line in lines)
    children = collections.defaultdict(set)
    for span in spans:
        children[(span.trace_id, span.parent_span_id)].add(span.name)
    incomplete = 0
    for line in lines:
        server = servers.get(line["request_id"])
        if server is None:
            continue
        trace_id = line["trace_id"].removeprefix("1-").replace("-", "")
        has_parent = server.trace_id.hex() == trace_id and server.parent_span_id
        incomplete += not (has_parent and CHILDREN <= children[(server.trace_id, server.span_id)])
    orphans = sum(s.kind != 2 and (s.trace_id, s.parent_span_id) not in ids for s in spans)
    duplicates = sum(times - 1 for times in ids.values())
    print(
        f"{what}: {count} requests, {len(lines)} lines, {len(servers)} server spans of {len(spans)} spans; "
        f"lost {lost}, incomplete {incomplete}, orphans {orphans}, duplicates {duplicates}"
    )
    if len(lines) != count or len(servers) != count or lost or incomplete or orphans or duplicates:
        sys.exit(
            f"FAILED: {what}: expected {count} lines and server spans, none lost, incomplete, orphaned or duplicated"
        )


def check_metrics(what, count, received):
    """Checks that the metrics are those of the requests of `send_requests`: half of them find an object."""
    sums, durations, milliseconds = collections.Counter(), collections.Counter(), 0
    for metric in received.metrics:
        for point in metric.sum.data_points:
            sums[metric.name] += point.as_int
        if metric.name == "Duration":
            for point in metric.exponential_histogram.data_points:
                attributes = {a.key: a.value.string_value for a in point.attributes}
                key = attributes.get("variant"), attributes.get("outcome")
                durations[key] += point.count
                buckets = sum(point.positive.bucket_counts) + point.zero_count
                if buckets != point.count:
                    sys.exit(f"FAILED: {what}: expected {point.count} durations in buckets, found {buckets}")
                milliseconds += point.sum
    quarter = count // 4
    found = {("v1", "found"): quarter, ("v2", "found"): quarter, ("v1", "missing"): quarter, ("v2", "missing"): quarter}
    expected = found, {"Status2xx": 2 * quarter, "Status4xx": 2 * quarter}
    received_sums = {name: sums[name] for name in expected[1]}
    print(f"{what}: {count} requests, {dict(durations)} durations, {received_sums}, {sums['ColdStart']} cold starts")
    if (dict(durations), received_sums) != expected or not milliseconds or not sums["ColdStart"]:
        sys.exit(f"FAILED: {what}: expected {expected}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000, help="requests of each run (default: 10000)")
    count = parser.parse_args().requests
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for what, collector, arguments in [
            ("rotel, frozen between invocations", rotel, []),
            ("UDP, frozen between invocations", daemon, []),
            # The export interval is a minute: SIGTERM must export the spans after the last full batch.
            (
                "rotel, eight concurrent invocations, SIGTERM",
                rotel,
                ["--concurrency", "8", "--env", "OTEL_BSP_SCHEDULE_DELAY=60000"],
            ),
            # Logs as much as possible, to search it for secrets.
            ("UDP, log level TRACE", daemon, ["--env", "AWS_LAMBDA_LOG_LEVEL=TRACE"]),
        ]:
            received = Received()
            _, failed, lines = run(folder, count, collector, received, *arguments)
            if failed:
                sys.exit(f"FAILED: {what}: {failed} responses had an unexpected status")
            check_complete(what, count, received, lines)
        what, received = "metrics=otlp through rotel, frozen between invocations", Received()
        run(folder, count, rotel, received, "--env", "metrics=otlp", "--env", "log_ratio=0")
        check_metrics(what, count, received)
        for what, collector in [("unreachable collector", unreachable), ("hanging collector", hanging)]:
            latencies, failed, lines = run(folder, max(count // 5, 400), collector, Received())
            p99 = statistics.quantiles(latencies, n=100)[98]
            dropped = sum(line.get("SpansDropped", 0) for line in lines)
            print(
                f"{what}: {failed} failed; p50 {statistics.median(latencies):.1f} ms, p99 {p99:.1f} ms, "
                f"maximum {latencies[-1]:.1f} ms (timeout {TIMEOUT_MS} ms); {dropped:.0f} spans dropped and counted"
            )
            if failed or latencies[-1] > TIMEOUT_MS + SLACK_MS:
                sys.exit(f"FAILED: {what}: expected no failure and at most {TIMEOUT_MS + SLACK_MS} ms")
    print("passed")


if __name__ == "__main__":
    main()
