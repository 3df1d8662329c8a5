"""Objects that say what they are, and a hand that changes them: see lib/living.js."""

import hashlib
import random
import threading
import time

from .cloud import BUCKET

VARIANTS = ("v1", "v2")


def body(key, size, chance):
    """`key version sha256-of-the-rest`, a new line, and the rest: `size` random bytes."""
    rest = chance.randbytes(size)
    version = int(time.time() * 1e3)
    return f"{key} {version} {hashlib.sha256(rest).hexdigest()}\n".encode() + rest


class Living:
    """`many` objects of each variant, of `sizes` in turn, each written anew every `period` seconds while it is alive."""

    def __init__(self, bucket, many, sizes):
        self.bucket, self.chance = bucket, random.Random(1)
        self.objects = [
            (f"{variant}/living/{number}.bin", sizes[number % len(sizes)]) for number in range(many) for variant in VARIANTS
        ]
        self.written = self.failed = 0
        self.stop = threading.Event()
        self.thread = None
        for key, size in self.objects:
            self.put(key, size)

    def put(self, key, size):
        self.bucket.put_object(Bucket=BUCKET, Key=key, Body=body(key, size, self.chance), ContentType="application/octet-stream")
        self.written += 1

    def live(self, period):
        """Begins to write them anew, each once in `period` seconds."""
        self.thread = threading.Thread(target=self._run, args=(period,), daemon=True)
        self.thread.start()

    def _run(self, period):
        pause = period / len(self.objects)
        due = time.monotonic()
        while True:
            for key, size in self.objects:
                due += pause
                if self.stop.wait(max(0, due - time.monotonic())):
                    return
                try:
                    self.put(key, size)
                # The bucket itself may be in trouble: what is not written stays as it is.
                except Exception:  # noqa: BLE001
                    self.failed += 1

    def end(self):
        self.stop.set()
        if self.thread:
            self.thread.join()
            self.thread = None
