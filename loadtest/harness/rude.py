"""Clients that misbehave: they go away, they never finish, they send far too much."""

import collections
import socket
import struct
import threading
import time
import urllib.parse


class Rude:
    """`many` threads that do `what` until the end; `seen` counts what they were answered."""

    def __init__(self, what, base, many):
        url = urllib.parse.urlsplit(base)
        self.address = (url.hostname, url.port or 80)
        self.stop = threading.Event()
        self.seen = collections.Counter()
        self.threads = [threading.Thread(target=self._run, args=(what,), daemon=True) for _ in range(many)]
        for thread in self.threads:
            thread.start()

    def _run(self, what):
        while not self.stop.is_set():
            try:
                with socket.create_connection(self.address, timeout=5) as connection:
                    self.seen[what(self, connection)] += 1
            except OSError as error:
                self.seen[type(error).__name__] += 1

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(10)


def gone(rude, connection):
    """Asks for an object and resets the connection before the answer can have been read."""
    connection.sendall(b"GET /living/3.bin HTTP/1.1\r\nHost: cdn\r\ntest_version: v1\r\n\r\n")
    rude.stop.wait(0.002)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return "went away"


def slow(rude, connection):
    """Sends a header, a letter at a time, and never ends it."""
    connection.sendall(b"GET /test.html HTTP/1.1\r\nHost: cdn\r\nx-slow: ")
    while not rude.stop.wait(0.25):
        connection.sendall(b"a")
    return "never finished"


def heavy(rude, connection):
    """Sends a body of ten megabytes and a byte."""
    length = 10 * 1024 * 1024 + 1
    connection.sendall(b"POST /test.html HTTP/1.1\r\nHost: cdn\r\ntest_version: v1\r\nContent-Length: %d\r\n\r\n" % length)
    piece = b"x" * 65536
    try:
        while length > 0:
            length -= connection.send(piece[: min(length, len(piece))])
    except OSError:
        pass  # the answer may have come before the end
    line = connection.recv(4096).split(b"\r\n", 1)[0].decode()
    rude.stop.wait(0.2)
    return line
