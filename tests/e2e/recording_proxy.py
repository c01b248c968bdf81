"""A TCP proxy between the listener and Pusher that records what Pusher acknowledged.

A subscriber does not receive all of these events: it loses its connection when Pusher is killed, and Pusher does not
buffer events.
"""

import asyncio
import contextlib
import json
import re
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, Self

from api.dev.pusher_process import PusherProcess
from tests.loop_thread import LoopThread


class Arrival(NamedTuple):
    """An event that arrived on a channel; `data` is the text that was sent, which is unique to the event."""

    channel: str
    event: str
    data: str


class RecordingProxy:
    """A TCP port in front of Pusher that records the events of each request with the response 200."""

    def __init__(self, pusher: PusherProcess) -> None:
        self.arrivals: list[tuple[float, Arrival]] = []
        self.opened: list[float] = []  # the times at which the listener connected
        self.errors: list[str] = []
        self._pusher = pusher
        self._thread = LoopThread()
        self._thread.loop.set_exception_handler(lambda _, context: self.errors.append(f"in the proxy: {context}"))

    def __enter__(self) -> Self:
        self._thread.__enter__()
        self._server = self._thread.run(asyncio.start_server(self._forward, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.loop.call_soon_threadsafe(self._server.close)
        self._thread.__exit__()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened.append(time.monotonic())
        pending: deque[bytes] = deque()
        with contextlib.suppress(OSError, asyncio.CancelledError), contextlib.closing(writer):
            pusher_reader, pusher_writer = await asyncio.open_connection("127.0.0.1", self._pusher.port)
            with contextlib.closing(pusher_writer):
                requests = asyncio.create_task(self._forward_requests(reader, pusher_writer, pending))
                responses = asyncio.create_task(self._forward_responses(pusher_reader, writer, pending))
                await asyncio.wait({requests, responses}, return_when=asyncio.FIRST_COMPLETED)
                # Pusher still publishes what a listener sent before it was killed.
                while pending and not responses.done():
                    await asyncio.wait({responses}, timeout=0.01)
                for task in (requests, responses):
                    task.cancel()

    async def _forward_requests(
        self, reader: asyncio.StreamReader, pusher: asyncio.StreamWriter, pending: deque[bytes]
    ) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head, body = await read_message(reader)
                pending.append(body)
                pusher.write(head + body)
                await pusher.drain()

    async def _forward_responses(
        self, pusher: asyncio.StreamReader, writer: asyncio.StreamWriter, pending: deque[bytes]
    ) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head, body = await read_message(pusher)
                if head.split(b" ", 2)[1] == b"200":
                    now = time.monotonic()
                    self.arrivals += [(now, arrival) for arrival in parse_arrivals(pending[0])]
                writer.write(head + body)
                pending.popleft()


async def read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Return the head and the body of an HTTP/1.1 message with a Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)\r\n", head, re.IGNORECASE)
    assert length is not None, head
    return head, await reader.readexactly(int(length[1]))


def parse_arrivals(body: bytes) -> Iterator[Arrival]:
    """Yield the events that a request of the listener publishes."""
    request = json.loads(body)
    for event in request.get("batch", [request]):
        for channel in event.get("channels") or [event["channel"]]:
            yield Arrival(channel, event["name"], event["data"])
