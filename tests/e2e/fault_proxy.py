"""A bad network: TCP proxies between clients and servers, each of which injects one fault after another.

Between two faults a proxy forwards everything. A fault refuses connections; cuts them in the middle of a request, or of
a response to a request that the server has already executed; delays data; or discards data: then neither end is
notified, and the connection is lost for good.
"""

import asyncio
import contextlib
import random
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from api.dev.process import find_free_port
from tests.loop_thread import LoopThread

FAULT_SECONDS, GOOD_SECONDS = (0.25, 0.75), (0.1, 0.5)  # the shortest and the longest duration
LONGEST_DELAY_SECONDS = 0.2


class Fault(StrEnum):
    """A fault of connections or of their data."""

    NONE = "none"
    REFUSE = "refused"
    CUT_REQUESTS = "cut in a request"
    CUT_RESPONSES = "cut in a response"
    DELAY = "delayed"
    DISCARD = "discarded"


FAULTS = [fault for fault in Fault if fault is not Fault.NONE]


@dataclass(eq=False)
class Link:
    """A connection through a proxy."""

    ends: list[asyncio.StreamWriter]
    is_lost: bool

    def cut(self) -> None:
        """Abort it at both ends, and discard what is still to be written."""
        for end in self.ends:
            end.transport.abort()


class FaultProxy:
    """A port in front of a server for one client; `happened` counts faults and their effects."""

    def __init__(self, server_port: int, seed: str) -> None:
        self.port = find_free_port()
        self.counts: Counter[str] = Counter()
        self._server_port, self._chance = server_port, random.Random(seed)  # noqa: S311 (no secret)
        self._fault, self._links = Fault.NONE, set[Link]()
        self._server: asyncio.Server | None = None

    async def serve(self, is_healed: asyncio.Event) -> None:
        """Inject faults until the network is healed."""
        await self._set_fault(Fault.NONE)
        while not is_healed.is_set():
            for fault in self._chance.sample(FAULTS, len(FAULTS)):
                await self._wait(GOOD_SECONDS, is_healed)
                await self._set_fault(fault)
                await self._wait(FAULT_SECONDS, is_healed)
                await self._set_fault(Fault.NONE)

    def close(self) -> None:
        """Stop listening and abort all connections."""
        if self._server:
            self._server.close()
            self._server = None
        for link in self._links:
            link.cut()

    async def _wait(self, seconds: tuple[float, float], is_healed: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._chance.uniform(*seconds)):
                await is_healed.wait()

    async def _set_fault(self, fault: Fault) -> None:
        self._fault = fault
        self.counts["outages"] += fault is not Fault.NONE
        for link in self._links:
            link.is_lost |= fault is Fault.DISCARD
        if fault is Fault.REFUSE:
            self.close()
        elif not self._server:
            self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError), contextlib.closing(writer):
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
            link = Link([writer, server_writer], is_lost=self._fault is Fault.DISCARD)
            self._links.add(link)
            self.counts["connections"] += 1
            with contextlib.closing(server_writer):
                directions = {
                    asyncio.create_task(self._forward(link, reader, server_writer, Fault.CUT_REQUESTS)),
                    asyncio.create_task(self._forward(link, server_reader, writer, Fault.CUT_RESPONSES)),
                }
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
                for direction in directions:
                    direction.cancel()
            self._links.remove(link)

    async def _forward(
        self, link: Link, source: asyncio.StreamReader, target: asyncio.StreamWriter, cutting_fault: Fault
    ) -> None:
        """Forward the data of one direction until its end."""
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                if self._fault is Fault.DELAY:
                    self.counts[Fault.DELAY] += 1
                    await asyncio.sleep(self._chance.uniform(0, LONGEST_DELAY_SECONDS))
                if link.is_lost:
                    self.counts[Fault.DISCARD] += 1
                elif self._fault is cutting_fault:
                    self.counts[cutting_fault] += 1
                    target.write(data[: self._chance.randrange(len(data))])
                    return
                else:
                    target.write(data)
                    await target.drain()


class Network:
    """All proxies, in a thread of their own."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._proxies, self._serving = list[FaultProxy](), list[Future[None]]()
        self._is_healed = asyncio.Event()
        self._thread = LoopThread()

    def add_proxy(self, server_port: int) -> int:
        """Add a proxy in front of a server; return its port."""
        proxy = FaultProxy(server_port, f"{self._seed} {len(self._proxies)}")
        self._proxies.append(proxy)
        self._serving.append(asyncio.run_coroutine_threadsafe(proxy.serve(self._is_healed), self._thread.loop))
        return proxy.port

    def heal(self) -> None:
        """Inject no more faults; lost connections remain lost."""
        self._thread.loop.call_soon_threadsafe(self._is_healed.set)
        for serving in self._serving:
            serving.result(10)

    def total_counts(self) -> Counter[str]:
        """Return the counts of all proxies."""
        return sum((proxy.counts.copy() for proxy in self._proxies), Counter())

    def __enter__(self) -> Self:
        self._thread.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for proxy in self._proxies:
            self._thread.loop.call_soon_threadsafe(proxy.close)
        self._thread.__exit__()
