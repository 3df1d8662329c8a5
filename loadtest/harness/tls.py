"""TLS in front of a local S3, whose handshakes can be made slow."""

import asyncio
import pathlib
import socket
import ssl
import threading
import urllib.parse

import trustme


class SlowTls:
    """Listens on `port`; `delay` seconds before each handshake, and every open connection is cut when that changes."""

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
        self.listener = socket.create_server(("127.0.0.1", port))
        self.listener.setblocking(False)
        self.serving = self.loop.create_task(self._serve())
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.loop.run_until_complete(self.serving)
        except asyncio.CancelledError:
            pass

    async def _serve(self):
        tasks = set()
        while True:
            accepted, _ = await self.loop.sock_accept(self.listener)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = self.loop.create_task(self._connection(accepted))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _connection(self, accepted):
        # Nothing is read before the handshake, whose first bytes are there by then.
        await asyncio.sleep(self.delay)
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        onward = transport = None
        try:
            transport, _ = await self.loop.connect_accepted_socket(lambda: protocol, accepted, ssl=self.context)
            self.open.add(transport)
            writer = asyncio.StreamWriter(transport, protocol, reader, self.loop)
            there, onward = await asyncio.open_connection(*self.behind)
            await asyncio.gather(_pass(reader, onward), _pass(there, writer))
        # The one that asked is gone, or was cut.
        except OSError:
            pass
        finally:
            self.open.discard(transport)
            for each in filter(None, (transport, onward)):
                each.close()

    def end(self):
        self.slow(0.0)
        self.loop.call_soon_threadsafe(self.serving.cancel)
        self.thread.join(5)
        self.listener.close()

    def slow(self, delay):
        self.loop.call_soon_threadsafe(self._slow, delay)

    def _slow(self, delay):
        self.delay = delay
        for transport in list(self.open):
            transport.abort()


async def _pass(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
