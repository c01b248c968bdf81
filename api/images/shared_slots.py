"""Reencode slots that several workers share: the parent process assigns them, so that memory and fairness are global.

A worker sends a line of JSON over its socket for each request, `{"id", "user", "seconds"}`, and `{"id"}` when the
request ends. The parent responds to the first with `{"id", "granted"}`. When a worker ends, for
any reason, its socket closes, which releases its slots; its decoders end with it.
"""

import asyncio
import itertools
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from api.http.errors import ApiError, unavailable
from api.images.reencode_slots import ReencodeSlots


async def serve_slots(slots: ReencodeSlots, connection: socket.socket) -> None:
    """Assign slots to the requests of one worker until its connection ends."""
    reader, writer = await asyncio.open_connection(sock=connection)
    requests: dict[int, asyncio.Task[None]] = {}
    try:
        while line := await reader.readline():
            message = json.loads(line)
            if "user" in message:
                requests[message["id"]] = asyncio.create_task(_hold_slot(slots, writer, **message))
            else:
                requests.pop(message["id"]).cancel()
    except ConnectionError:
        pass
    finally:
        for request in requests.values():
            request.cancel()
        writer.close()


async def _hold_slot(slots: ReencodeSlots, writer: asyncio.StreamWriter, *, id: int, user: str, seconds: float) -> None:  # noqa: A002
    """Hold a slot from its assignment until the task is cancelled."""
    try:
        async with slots.acquire(user, seconds):
            _send(writer, id=id, granted=True)
            await asyncio.Event().wait()
    except ApiError:
        _send(writer, id=id, granted=False)


def _send(writer: asyncio.StreamWriter, **message: Any) -> None:
    writer.write(json.dumps(message).encode() + b"\n")


class SharedSlots:
    """The slots in a worker, with the interface of ReencodeSlots."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._ids = itertools.count()
        self._decisions: dict[int, asyncio.Future[bool]] = {}
        self._receiving = asyncio.create_task(self._receive(reader))

    @classmethod
    async def connect(cls, connection: socket.socket) -> "SharedSlots":
        """Use the worker's end of the connection to the parent."""
        return cls(*await asyncio.open_connection(sock=connection))

    @asynccontextmanager
    async def acquire(self, user: str, seconds: float) -> AsyncIterator[None]:
        """Hold a slot for the duration of a block.

        Raises ApiError 503 after a wait of `seconds`, or if too many requests wait.
        """
        if self._receiving.done():
            raise unavailable()
        number, decision = next(self._ids), asyncio.get_running_loop().create_future()
        self._decisions[number] = decision
        _send(self._writer, id=number, user=user, seconds=seconds)
        try:
            if not await decision:
                raise unavailable()
            yield
        finally:
            self._decisions.pop(number, None)
            _send(self._writer, id=number)

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        """Receive the parent's decisions. Without a parent, nothing supervises this worker: stop it gracefully."""
        try:
            while line := await reader.readline():
                message = json.loads(line)
                decision = self._decisions.pop(message["id"], None)
                if decision and not decision.done():
                    decision.set_result(message["granted"])
        except ConnectionError:
            pass
        for decision in self._decisions.values():
            if not decision.done():
                decision.set_result(False)
        os.kill(os.getpid(), signal.SIGTERM)

    async def close(self) -> None:
        """Close the connection."""
        self._receiving.cancel()
        await asyncio.wait([self._receiving])
        self._writer.close()
