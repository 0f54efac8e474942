"""A forwarder of connections: to the first of several addresses that takes them, as they are; or one request on each, with a key added.

The conformance suite cannot send a credential. What it sends passes otherwise byte for byte, its `host` included, and what it closes is closed.
"""

import asyncio
import threading


class Forwarder:
    """Listens on a free port of its own while it is entered. `targets` are pairs of host and port; whoever holds the list may change it."""

    def __init__(self, targets, key=None, log=None):
        self.targets, self.key, self.log = targets, key, log
        self.loop, self.port = asyncio.new_event_loop(), None

    def __enter__(self):
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self.serve, "127.0.0.1", 0), self.loop).result()
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    async def serve(self, reader, writer):
        for host, port in list(self.targets):
            try:
                target_reader, target_writer = await asyncio.open_connection(host, port)
                break
            except OSError:
                continue
        else:
            return writer.close()
        try:
            if self.key:
                target_writer.write(self.amended(await reader.readuntil(b"\r\n\r\n")))
            ways = [asyncio.ensure_future(self.pump(*way)) for way in ((reader, target_writer, ">"), (target_reader, writer, "<"))]
            # A client that is gone has taken its request back; a server that is gone has nothing more to say.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for each in (writer, target_writer):
                each.close()

    def amended(self, head):
        lines = [line for line in head.split(b"\r\n")[:-2] if not line.lower().startswith(b"connection:")]
        # Only the head of the first request on a connection is amended, so there is no second.
        lines += [b"authorization: Bearer " + self.key.encode(), b"connection: close"]
        head = b"\r\n".join(lines) + b"\r\n\r\n"
        self.note(">", head)
        return head

    async def pump(self, reader, writer, way):
        while piece := await reader.read(65536):
            self.note(way, piece)
            writer.write(piece)
            await writer.drain()

    def note(self, way, piece):
        if self.log:
            self.log.write(way.encode() + b" " + piece + b"\n")
            self.log.flush()
