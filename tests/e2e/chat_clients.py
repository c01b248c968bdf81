"""Clients on which users follow a chat in compressed time, and write continuously.

A client runs a Follower in a thread of its own, so that it can sleep as a laptop does: its clock stops meanwhile.
"""

import asyncio
import contextlib
import itertools
import random
import threading
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Self

import httpx

from api.dev.pusher_process import PusherProcess
from tests.api_process import Api
from tests.e2e.fault_proxy import Network
from tests.e2e.followers import Follower
from tests.e2e.local_copy import raise_for_error

REQUEST_TIMEOUT_SECONDS = 0.5
MAX_PAUSE_SECONDS = 0.15  # the longest pause between two changes of a user
MESSAGE_LENGTHS = (0, 200, 2000, 12_000)  # of a message
GUESTS = ("gail", "gus")  # users that the owner adds and removes
TIMEOUT_SECONDS = 60  # of the whole scenario


@dataclass
class Environment:
    """The servers, and the network in front of them."""

    api: Api
    pusher: PusherProcess
    seed: int
    network: Network | None = None  # None without faults

    def new_urls(self) -> tuple[str, str]:
        """Return the URLs of the API and of Pusher for a new client."""
        servers = (self.api, self.pusher)
        api, pusher = (self.network.add_proxy(server.port) if self.network else server.port for server in servers)
        socket_url = f"ws://127.0.0.1:{pusher}/app/{self.pusher.key}?protocol=7&client=copy&version=1"
        return f"http://127.0.0.1:{api}", socket_url


class Transport(httpx.AsyncHTTPTransport):
    """Counts responses and errors. Without an address, each request has its own one, and thus its own rate limit."""

    def __init__(self, address: str = "") -> None:
        super().__init__(verify=False)  # no TLS is used, and certificates load slowly
        self.counts: Counter[str] = Counter()
        self._address = address

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.headers["X-Forwarded-For"] = self._address or new_address()
        try:
            response = await super().handle_async_request(request)
        except httpx.TransportError as error:
            self.counts[type(error).__name__] += 1
            raise
        self.counts[f"{response.status_code}"] += 1
        self.counts["replayed"] += "Idempotency-Replayed" in response.headers
        return response


_addresses = itertools.count(1)


def new_address() -> str:
    """Return an unused address."""
    return str(ip_address("10.0.0.0") + next(_addresses))


class Client:
    """A device on which a user reads a chat; its name begins with the user's."""

    copy: Follower
    _loop: asyncio.AbstractEventLoop
    _task: asyncio.Task[Any]

    def __init__(
        self,
        environment: Environment,
        name: str,
        chat: str,
        follower_class: type[Follower] = Follower,
        *,
        is_limited: bool = False,
    ) -> None:
        self.name, self.user = name, name.partition("/")[0]
        self.failures: list[str] = []
        self.has_stopped = threading.Event()
        self._chat, self._follower_class = chat, follower_class
        self._urls, self._headers = environment.new_urls(), environment.api.headers(self.user)
        self._transport = Transport(new_address() if is_limited else "")
        self._is_stopping, self._is_ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        # Repeated, because a library may mistake the cancellation for a timeout that ends at the same time.
        while self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(1)

    @contextmanager
    def asleep(self) -> Iterator[None]:
        """Sleep for the block: the event loop is blocked, so that its clock stops."""
        is_blocked, is_released = threading.Event(), threading.Event()

        def sleep() -> None:
            is_blocked.set()
            is_released.wait()

        self._loop.call_soon_threadsafe(sleep)
        try:
            assert is_blocked.wait(TIMEOUT_SECONDS)
            yield
        finally:
            is_released.set()

    def stop_writing(self) -> None:
        """Stop the user after the current change."""
        self._is_stopping.set()

    def count_events(self) -> Counter[str]:
        """Return the counts of responses, errors, reads and events."""
        applied = [event for _, events in self.copy.applied for event in events]
        return self._transport.counts.copy() + Counter(
            received=self.copy.received,
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
            base_url=api_url, headers=self._headers, timeout=REQUEST_TIMEOUT_SECONDS, transport=self._transport
        ) as http:
            self.copy = self._follower_class(http, socket_url, self._chat)
            self._is_ready.set()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write())
                while True:
                    await self.copy.follow()
                    self._transport.counts["gone"] += 1
                    await asyncio.sleep(self.copy.max_backoff)

    async def _write(self) -> None:
        self.has_stopped.set()


class Writer(Client):
    """A client whose user sends, edits and deletes messages continuously."""

    def __init__(self, environment: Environment, name: str, chat: str, *, is_limited: bool = False) -> None:
        super().__init__(environment, name, chat, is_limited=is_limited)
        self.contents: dict[str, str | None] = {}  # of each sent message, None if it was deleted
        self._random = random.Random(f"{environment.seed} {name}")  # noqa: S311 (no secret)

    async def _write(self) -> None:
        for number in itertools.count():
            if self._is_stopping.is_set():
                break
            await self._change(f"{self.name}-{number}")
            await asyncio.sleep(self._random.uniform(0, MAX_PAUSE_SECONDS))
        self.has_stopped.set()

    async def _change(self, text: str) -> None:
        existing = [message for message, content in self.contents.items() if content is not None]
        match self._random.choices(["send", "edit", "delete"], [50, 30, 20])[0]:
            case "edit" if existing:
                message = self._random.choice(existing)
                await self.copy.edit(message, lambda _: text)
                self.contents[message] = text
            case "delete" if existing:
                message = self._random.choice(existing)
                await self.copy.delete(message)
                self.contents[message] = None
            case _:
                content = text.ljust(self._random.choice(MESSAGE_LENGTHS), ".")
                sent = await self.copy.send(content)
                self.contents[sent["id"]] = content


class Appender(Writer):
    """A client that appends to one message, to which another device of the user appends as well."""

    def __init__(self, environment: Environment, name: str, chat: str, message: str) -> None:
        super().__init__(environment, name, chat)
        self.message = message
        self.appended: list[str] = []

    async def _change(self, text: str) -> None:
        await self.copy.edit(self.message, lambda old: old if text in old.split() else f"{old} {text}")
        self.appended.append(text)


class Owner(Writer):
    """A writer that also renames the chat, and adds and removes members."""

    async def _change(self, text: str) -> None:
        match self._random.choices(["write", "rename", "invite"], [70, 10, 20])[0]:
            case "rename":
                raise_for_error(await self.copy.request("PUT", "", json={"title": text}))
            case "invite":
                guest = self._random.choice(GUESTS)
                if (await self.copy.request("DELETE", f"/members/{guest}")).status_code == httpx.codes.NOT_FOUND:
                    raise_for_error(await self.copy.request("POST", "/members", json={"userId": guest}))
            case _:
                await super()._change(text)
