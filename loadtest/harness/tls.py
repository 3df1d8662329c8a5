"""TLS in front of a local S3, whose handshakes can be made slow."""

import asyncio
import pathlib
import ssl
import threading
import urllib.parse

import trustme


class SlowTls:
    """Listens on `port`; `delay` seconds before each handshake, and every open connection is closed when that changes."""

    def __init__(self, behind, port, folder):
        url = urllib.parse.urlsplit(behind)
        self.behind, self.port, self.delay, self.open = (url.hostname, url.port), port, 0.0, set()
        authority = trustme.CA()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self.context)
        self.bundle = pathlib.Path(folder) / "authority.pem"
        authority.cert_pem.write_to_path(str(self.bundle))
        self.url = f"https://localhost:{port}"
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()
        self.ready.wait(10)

    def _run(self):
        self.loop.run_until_complete(self._serve())

    async def _serve(self):
        async with await asyncio.start_server(self._connection, "127.0.0.1", self.port):
            self.ready.set()
            await asyncio.Event().wait()

    async def _connection(self, reader, writer):
        self.open.add(writer)
        onward = None
        try:
            await asyncio.sleep(self.delay)
            await writer.start_tls(self.context)
            there, onward = await asyncio.open_connection(*self.behind)
            await asyncio.gather(_pass(reader, onward), _pass(there, writer))
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open.discard(writer)
            for each in filter(None, (writer, onward)):
                each.close()

    def slow(self, delay):
        self.loop.call_soon_threadsafe(self._slow, delay)

    def _slow(self, delay):
        self.delay = delay
        for writer in list(self.open):
            writer.transport.abort()


async def _pass(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
