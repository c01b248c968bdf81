"""Clients that follow a chat in compressed time, record what they do, and write all the time.

A client runs local_copy.py in a thread of its own, so that it can sleep as a laptop does, whose clock stops meanwhile.
"""

import asyncio
import contextlib
import itertools
import random
import threading
import traceback
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, NamedTuple, Self

import httpx

from api.dev.pusher_process import Pusher
from tests.api_process import Api
from tests.e2e.fault_proxy import Network
from tests.e2e.local_copy import Event, LocalCopy, checked

COMPRESSION = 60
TIMEOUT = 0.5  # of a request
LONGEST_SILENCE = 0.15  # between two changes of a user
LENGTHS = (0, 200, 2000, 12_000)  # of a message
GUESTS = ("gail", "gus")  # users whom the owner adds and removes
PATIENCE = 60  # seconds


@dataclass
class Place:
    """The servers, and the network before them."""

    api: Api
    pusher: Pusher
    seed: int
    network: Network | None = None  # None without faults

    def new_urls(self) -> tuple[str, str]:
        """Return the URLs of the API and of Pusher for a new client."""
        servers = (self.api, self.pusher)
        api, pusher = (self.network.add_proxy(server.port) if self.network else server.port for server in servers)
        socket_url = f"ws://127.0.0.1:{pusher}/app/{self.pusher.key}?protocol=7&client=copy&version=1"
        return f"http://127.0.0.1:{api}", socket_url


class Transport(httpx.AsyncHTTPTransport):
    """Counts responses and errors. Without an address, each request has its own, and thus its own rate limit."""

    def __init__(self, address: str = "") -> None:
        super().__init__(verify=False)  # no TLS is used, and certificates load slowly
        self.lived: Counter[str] = Counter()
        self._address = address

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["X-Forwarded-For"] = self._address or new_address()
        try:
            answer = await super().handle_async_request(request)
        except httpx.TransportError as error:
            self.lived[type(error).__name__] += 1
            raise
        self.lived[f"{answer.status_code}"] += 1
        self.lived["replayed"] += "Idempotency-Replayed" in answer.headers
        return answer


_addresses = itertools.count(1)


def new_address() -> str:
    """Return an address that no other request had."""
    return str(ip_address("10.0.0.0") + next(_addresses))


class Outline(NamedTuple):
    """A chat, with only the ids of its messages."""

    title: str
    members: set[str]
    messages: set[str]


class Follower(LocalCopy):
    """A local copy in compressed time that records, for each full read, the seq and the events that were applied since.

    `caught_up` has the state of the copy each time that it had caught up after a full read.
    """

    least_pause = LocalCopy.least_pause / COMPRESSION
    longest_pause = LocalCopy.longest_pause / COMPRESSION
    first_retry = LocalCopy.first_retry / COMPRESSION
    longest_retry = LocalCopy.longest_retry / COMPRESSION
    silence = LocalCopy.silence / COMPRESSION
    messages_limit, events_limit = 20, 50

    def __init__(self, http: httpx.AsyncClient, socket_url: str, chat: str) -> None:
        super().__init__(http, socket_url, chat)
        self.applied: list[tuple[int, list[Event]]] = []
        self.caught_up: list[tuple[int, Outline]] = []
        self.heard = 0

    async def catch_up(self) -> None:
        reads = len(self.applied)
        await super().catch_up()
        if len(self.applied) > reads and self.seq is not None:
            self.caught_up.append((self.seq, Outline(self.title, set(self.members), set(self.messages))))

    async def read(self) -> None:
        await super().read()
        assert self.seq is not None
        self.applied.append((self.seq, []))

    def apply(self, event: Event) -> None:
        super().apply(event)
        self.applied[-1][1].append(event)

    def hear(self, event: str, data: Any) -> None:
        self.heard += 1
        super().hear(event, data)


class Naive(Follower):
    """A follower that reads once, and then applies live events as if each arrived exactly once."""

    def __init__(self, http: httpx.AsyncClient, socket_url: str, chat: str) -> None:
        super().__init__(http, socket_url, chat)
        self._live: deque[tuple[str, Any]] = deque()

    async def catch_up(self) -> None:
        if self.seq is None:
            await self.read()
        while self._live and self.seq is not None:
            event, data = self._live.popleft()
            self.apply({"seq": self.seq + 1, "event": event, "data": data, "at": None})

    def hear(self, event: str, data: Any) -> None:
        self._live.append((event, data))
        super().hear(event, data)


class Client:
    """A device on which a user only reads a chat; its name begins with the user's."""

    copy: Follower
    _loop: asyncio.AbstractEventLoop
    _task: asyncio.Task[Any]

    def __init__(
        self, place: Place, name: str, chat: str, kind: type[Follower] = Follower, *, is_limited: bool = False
    ) -> None:
        self.name, self.user = name, name.partition("/")[0]
        self.failures: list[str] = []
        self.is_quiet = threading.Event()
        self._chat, self._kind = chat, kind
        self._urls, self._headers = place.new_urls(), place.api.headers(self.user)
        self._transport = Transport(new_address() if is_limited else "")
        self._is_hushed, self._is_ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        while (
            self._thread.is_alive()
        ):  # again, because a library may mistake the cancellation for a timeout that ends at the same time
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(1)

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """Sleep for the block: the event loop is blocked, so that its clock stops."""
        is_shut, is_open = threading.Event(), threading.Event()

        def sleep() -> None:
            is_shut.set()
            is_open.wait()

        self._loop.call_soon_threadsafe(sleep)
        try:
            assert is_shut.wait(PATIENCE)
            yield
        finally:
            is_open.set()

    def hush(self) -> None:
        """Let the user complete the current change, and make no other."""
        self._is_hushed.set()

    def seen(self) -> Counter[str]:
        """Return the counts of what happened to it."""
        applied = [event for _, events in self.copy.applied for event in events]
        return self._transport.lived.copy() + Counter(
            heard=self.copy.heard,
            read=len(self.copy.applied),
            applied=len(applied),
            truncated=sum("truncated" in event["data"] for event in applied),
        )

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except asyncio.CancelledError:
            pass
        except BaseException:
            self.failures.append(f"{self.name} failed: {traceback.format_exc()}")
        finally:
            self._is_ready.set()

    async def _live(self) -> None:
        self._loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task
        self._task = task
        api_url, socket_url = self._urls
        async with httpx.AsyncClient(
            base_url=api_url, headers=self._headers, timeout=TIMEOUT, transport=self._transport
        ) as http:
            self.copy = self._kind(http, socket_url, self._chat)
            self._is_ready.set()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._talk())
                while True:
                    await self.copy.follow()
                    self._transport.lived["gone"] += 1
                    await asyncio.sleep(self.copy.longest_retry)

    async def _talk(self) -> None:
        self.is_quiet.set()


class Talker(Client):
    """A client whose user sends, edits and deletes messages all the time."""

    def __init__(self, place: Place, name: str, chat: str, *, is_limited: bool = False) -> None:
        super().__init__(place, name, chat, is_limited=is_limited)
        self.said: dict[str, str | None] = {}  # the content of each sent message, None if it was deleted
        self._chance = random.Random(f"{place.seed} {name}")  # noqa: S311 (no secret)

    async def _talk(self) -> None:
        for number in itertools.count():
            if self._is_hushed.is_set():
                break
            await self._say(f"{self.name}-{number}")
            await asyncio.sleep(self._chance.uniform(0, LONGEST_SILENCE))
        self.is_quiet.set()

    async def _say(self, text: str) -> None:
        there = [message for message, content in self.said.items() if content is not None]
        match self._chance.choices(["send", "edit", "delete"], [50, 30, 20])[0]:
            case "edit" if there:
                message = self._chance.choice(there)
                await self.copy.edit(message, lambda _: text)
                self.said[message] = text
            case "delete" if there:
                message = self._chance.choice(there)
                await self.copy.delete(message)
                self.said[message] = None
            case _:
                content = text.ljust(self._chance.choice(LENGTHS), ".")
                sent = await self.copy.send(content)
                self.said[sent["id"]] = content


class Adder(Talker):
    """A client that appends to one message, to which another device of the user appends as well."""

    def __init__(self, place: Place, name: str, chat: str, message: str) -> None:
        super().__init__(place, name, chat)
        self.message = message
        self.added: list[str] = []

    async def _say(self, text: str) -> None:
        await self.copy.edit(self.message, lambda old: old if text in old.split() else f"{old} {text}")
        self.added.append(text)


class Owner(Talker):
    """A talker that also renames the chat, and adds and removes members."""

    async def _say(self, text: str) -> None:
        match self._chance.choices(["say", "rename", "invite"], [70, 10, 20])[0]:
            case "rename":
                checked(await self.copy.ask("PUT", "", json={"title": text}))
            case "invite":
                guest = self._chance.choice(GUESTS)
                if (await self.copy.ask("DELETE", f"/members/{guest}")).status_code == httpx.codes.NOT_FOUND:
                    checked(await self.copy.ask("POST", "/members", json={"userId": guest}))
            case _:
                await super()._say(text)
