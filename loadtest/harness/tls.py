"""A TLS proxy in front of the local S3, with a configurable handshake delay."""

import asyncio
import pathlib
import socket
import ssl
import threading
import urllib.parse

import trustme


class SlowTls:
    """Listens on `port` and forwards to `upstream`, with a delay of `delay` seconds before each TLS handshake.

    Writes its CA certificate to `folder`/authority.pem."""

    def __init__(self, upstream, port, folder):
        url = urllib.parse.urlsplit(upstream)
        self.upstream, self.port, self.delay, self.connections = (url.hostname, url.port), port, 0.0, set()
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
            task = self.loop.create_task(self._forward(accepted))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _forward(self, accepted):
        # The client's first handshake bytes wait in the socket's buffer meanwhile.
        await asyncio.sleep(self.delay)
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        upstream_writer = transport = None
        try:
            transport, _ = await self.loop.connect_accepted_socket(lambda: protocol, accepted, ssl=self.context)
            self.connections.add(transport)
            writer = asyncio.StreamWriter(transport, protocol, reader, self.loop)
            upstream_reader, upstream_writer = await asyncio.open_connection(*self.upstream)
            await asyncio.gather(_copy(reader, upstream_writer), _copy(upstream_reader, writer))
        # The client closed the connection, or set_delay aborted it.
        except OSError:
            pass
        finally:
            self.connections.discard(transport)
            for each in filter(None, (transport, upstream_writer)):
                each.close()

    def stop(self):
        self.set_delay(0.0)
        self.loop.call_soon_threadsafe(self.serving.cancel)
        self.thread.join(5)
        self.listener.close()

    def set_delay(self, delay):
        """Sets the handshake delay, in seconds, and aborts all open connections."""
        self.loop.call_soon_threadsafe(self._set_delay, delay)

    def _set_delay(self, delay):
        self.delay = delay
        for transport in list(self.connections):
            transport.abort()


async def _copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
