"""Self-describing objects that are rewritten during a run; lib/changing.js requests and checks them."""

import hashlib
import random
import threading
import time

from .cloud import BUCKET

VARIANTS = ("v1", "v2")


def body(key, size, rng):
    """`key version sha256-of-the-payload`, a newline, and a payload of `size` random bytes."""
    payload = rng.randbytes(size)
    version = int(time.time() * 1e3)
    return f"{key} {version} {hashlib.sha256(payload).hexdigest()}\n".encode() + payload


class ChangingObjects:
    """`count` objects in each variant, with `sizes` in turn. `start` rewrites them periodically until `stop`."""

    def __init__(self, s3_client, count, sizes):
        self.s3_client, self.rng = s3_client, random.Random(1)
        self.objects = [
            (f"{variant}/changing/{number}.bin", sizes[number % len(sizes)])
            for number in range(count)
            for variant in VARIANTS
        ]
        self.written = self.failed = 0
        self.stopping = threading.Event()
        self.thread = None
        for key, size in self.objects:
            self.put(key, size)

    def put(self, key, size):
        content = body(key, size, self.rng)
        self.s3_client.put_object(Bucket=BUCKET, Key=key, Body=content, ContentType="application/octet-stream")
        self.written += 1

    def start(self, period):
        """Starts to rewrite each object once every `period` seconds."""
        self.thread = threading.Thread(target=self._run, args=(period,), daemon=True)
        self.thread.start()

    def _run(self, period):
        pause = period / len(self.objects)
        due = time.monotonic()
        while True:
            for key, size in self.objects:
                due += pause
                if self.stopping.wait(max(0, due - time.monotonic())):
                    return
                try:
                    self.put(key, size)
                # A fault may affect these writes too. The object then keeps its version.
                except Exception:  # noqa: BLE001
                    self.failed += 1

    def stop(self):
        self.stopping.set()
        if self.thread:
            self.thread.join()
            self.thread = None
