"""A port that stands for the DNS name of a server, which leads new connections to another server after a failover."""

import asyncio
import contextlib
from typing import Self

from tests.loop_thread import LoopThread


class ServiceName:
    """Forwards each connection to the server on `target`, a port, as of when it was opened; for a block."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._thread = LoopThread()

    @property
    def port(self) -> int:
        """The port to connect to."""
        return int(self._server.sockets[0].getsockname()[1])

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError), contextlib.closing(writer):
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.target)
            with contextlib.closing(server_writer):
                directions = {
                    asyncio.create_task(forward(reader, server_writer)),
                    asyncio.create_task(forward(server_reader, writer)),
                }
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
                for direction in directions:
                    direction.cancel()

    def __enter__(self) -> Self:
        self._thread.__enter__()
        self._server = self._thread.run(asyncio.start_server(self._connect, "127.0.0.1", 0))
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.loop.call_soon_threadsafe(self._server.close)
        self._thread.__exit__()


async def forward(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Forward the data of one direction until its end."""
    with contextlib.suppress(OSError):
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
