"""Local copies of a chat in compressed time that record what they read and apply."""

from collections import deque
from typing import Any, NamedTuple

import httpx

from tests.e2e.local_copy import Event, LocalCopy

COMPRESSION = 60  # a minute of the followers takes a second


class Outline(NamedTuple):
    """A chat, with only the ids of its messages."""

    title: str
    members: set[str]
    messages: set[str]


class Follower(LocalCopy):
    """A local copy in compressed time that records, for each full read, the seq and the events that were applied since.

    `caught_up` has the state of the copy each time that it had caught up after a full read.
    """

    min_pause = LocalCopy.min_pause / COMPRESSION
    max_pause = LocalCopy.max_pause / COMPRESSION
    min_backoff = LocalCopy.min_backoff / COMPRESSION
    max_backoff = LocalCopy.max_backoff / COMPRESSION
    ping_interval = LocalCopy.ping_interval / COMPRESSION
    messages_limit, events_limit = 20, 50

    def __init__(self, http: httpx.AsyncClient, socket_url: str, chat: str) -> None:
        super().__init__(http, socket_url, chat)
        self.applied: list[tuple[int, list[Event]]] = []
        self.caught_up: list[tuple[int, Outline]] = []
        self.received = 0

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

    def on_event(self, event: str, data: Any) -> None:
        self.received += 1
        super().on_event(event, data)


class NaiveFollower(Follower):
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

    def on_event(self, event: str, data: Any) -> None:
        self._live.append((event, data))
        super().on_event(event, data)
