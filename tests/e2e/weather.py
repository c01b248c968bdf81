"""A bad network: wires between clients and servers, on each of which the weather changes all the time.

A wire is a TCP port that stands for a server's. In fair weather it passes on what comes. In bad weather connections are
refused, or they are cut in the middle of what the client sends, or of what the server answers, which by then has done
what it was asked; or all comes late, or is swallowed: then neither end is told, and the connection is lost for good.
"""

import asyncio
import contextlib
import random
import threading
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from api.dev.process import free_port

BAD_SECONDS, FAIR_SECONDS = (0.25, 0.75), (0.1, 0.5)  # for which weather lasts
LONGEST_DELAY = 0.2


class Weather(StrEnum):
    """What becomes of what is sent."""

    FAIR = "fair"
    REFUSING = "refused"
    CUTTING_REQUESTS = "cut in a request"
    CUTTING_ANSWERS = "cut in an answer"
    SLOW = "delayed"
    SILENT = "swallowed"


BAD = [weather for weather in Weather if weather is not Weather.FAIR]


@dataclass(eq=False)
class Link:
    """A connection over a wire."""

    ends: list[asyncio.StreamWriter]
    is_lost: bool

    def cut(self) -> None:
        """Ends it at both ends, without what is still to be written."""
        for end in self.ends:
            end.transport.abort()


class Wire:
    """A port that is a server's for one client, as far as the weather lets it; `happened` has what came of that."""

    def __init__(self, server_port: int, seed: str) -> None:
        self.port = free_port()
        self.happened: Counter[str] = Counter()
        self._server_port, self._chance = server_port, random.Random(seed)  # noqa: S311 (no secret)
        self._weather, self._links = Weather.FAIR, set[Link]()
        self._door: asyncio.Server | None = None

    async def serve(self, is_well: asyncio.Event) -> None:
        """Has the weather change until it is well."""
        await self._turn(Weather.FAIR)
        while not is_well.is_set():
            for weather in self._chance.sample(BAD, len(BAD)):
                await self._last(FAIR_SECONDS, is_well)
                await self._turn(weather)
                await self._last(BAD_SECONDS, is_well)
                await self._turn(Weather.FAIR)

    def shut(self) -> None:
        """Ends it, and all connections."""
        if self._door:
            self._door.close()
            self._door = None
        for link in self._links:
            link.cut()

    async def _last(self, seconds: tuple[float, float], is_well: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._chance.uniform(*seconds)):
                await is_well.wait()

    async def _turn(self, weather: Weather) -> None:
        self._weather = weather
        self.happened["outages"] += weather is not Weather.FAIR
        for link in self._links:
            link.is_lost |= weather is Weather.SILENT
        if weather is Weather.REFUSING:
            self.shut()
        elif not self._door:
            self._door = await asyncio.start_server(self._connect, "127.0.0.1", self.port)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError), contextlib.closing(writer):
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
            link = Link([writer, server_writer], is_lost=self._weather is Weather.SILENT)
            self._links.add(link)
            self.happened["connections"] += 1
            with contextlib.closing(server_writer):
                ways = {
                    asyncio.create_task(self._carry(link, reader, server_writer, Weather.CUTTING_REQUESTS)),
                    asyncio.create_task(self._carry(link, server_reader, writer, Weather.CUTTING_ANSWERS)),
                }
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
            self._links.remove(link)

    async def _carry(
        self, link: Link, source: asyncio.StreamReader, target: asyncio.StreamWriter, cutting: Weather
    ) -> None:
        """Passes on what comes one way, until there is an end."""
        with contextlib.suppress(OSError):
            while piece := await source.read(65_536):
                if self._weather is Weather.SLOW:
                    self.happened[Weather.SLOW] += 1
                    await asyncio.sleep(self._chance.uniform(0, LONGEST_DELAY))
                if link.is_lost:
                    self.happened[Weather.SILENT] += 1
                elif self._weather is cutting:
                    self.happened[cutting] += 1
                    target.write(piece[: self._chance.randrange(len(piece))])
                    return
                else:
                    target.write(piece)
                    await target.drain()


class Network:
    """Wires, in a thread of their own."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._wires, self._serving = list[Wire](), list[Future[None]]()
        self._loop = asyncio.new_event_loop()
        self._is_well = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def wire(self, server_port: int) -> int:
        """The port of a new wire to a server."""
        wire = Wire(server_port, f"{self._seed} {len(self._wires)}")
        self._wires.append(wire)
        self._serving.append(asyncio.run_coroutine_threadsafe(wire.serve(self._is_well), self._loop))
        return wire.port

    def heal(self) -> None:
        """From now on all weather is fair; connections that were lost remain lost."""
        self._loop.call_soon_threadsafe(self._is_well.set)
        for serving in self._serving:
            serving.result(10)

    def happened(self) -> Counter[str]:
        """What came of the weather on all wires."""
        return sum((wire.happened.copy() for wire in self._wires), Counter())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _shut(self) -> None:
        for wire in self._wires:
            wire.shut()
        await asyncio.sleep(0)  # a task that is cancelled before it begins does not close its connection
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
