"""Misbehaving clients: they reset connections, never complete a request, or send oversized bodies."""

import collections
import socket
import struct
import threading
import urllib.parse


class MisbehavingClients:
    """`count` threads that repeat `behaviour` until `stop`.

    `results` counts the return values of `behaviour` and the types of its errors."""

    def __init__(self, behaviour, url, count):
        address = urllib.parse.urlsplit(url)
        self.address = (address.hostname, address.port or 80)
        self.stopping = threading.Event()
        self.results = collections.Counter()
        self.threads = [threading.Thread(target=self._run, args=(behaviour,), daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _run(self, behaviour):
        while not self.stopping.is_set():
            try:
                with socket.create_connection(self.address, timeout=5) as connection:
                    self.results[behaviour(connection, self.stopping)] += 1
            except OSError as error:
                self.results[type(error).__name__] += 1

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(10)


def reset(connection, stopping):
    """Requests an object and resets the connection before it has read the response."""
    connection.sendall(b"GET /changing/3.bin HTTP/1.1\r\nHost: cdn\r\ntest_version: v1\r\n\r\n")
    stopping.wait(0.002)
    # With a linger time of 0, close() sends RST.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return "connection reset"


def slow_header(connection, stopping):
    """Sends a header field at 4 bytes per second and never completes it (slow loris)."""
    connection.sendall(b"GET /test.html HTTP/1.1\r\nHost: cdn\r\nx-slow: ")
    while not stopping.wait(0.25):
        connection.sendall(b"a")
    return "request not completed"


def oversized_body(connection, stopping):
    """Sends a body of 10 MiB and one byte; returns the status line of the response."""
    length = 10 * 1024 * 1024 + 1
    connection.sendall(
        b"POST /test.html HTTP/1.1\r\nHost: cdn\r\ntest_version: v1\r\nContent-Length: %d\r\n\r\n" % length
    )
    piece = b"x" * 65536
    try:
        while length > 0:
            length -= connection.send(piece[: min(length, len(piece))])
    except OSError:
        pass  # The server may respond and close before it has read the whole body.
    line = connection.recv(4096).split(b"\r\n", 1)[0].decode()
    stopping.wait(0.2)
    return line
