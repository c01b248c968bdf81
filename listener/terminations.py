"""Terminations: the connections of removed members that are to be closed, with one request a user.

The termination of an event starts after its publications, so that the former member receives `member:removed`. Until it
ends, only further removals of the chat are published (chat_queues.py). A termination serves all events that were
published before it starts, in any chat: each event was committed by then, so no new connection of the user is
authorized for its chat. An event that is published later waits for the user's next termination.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from listener.backoff import FailureCount, backoff
from listener.database import Event

if TYPE_CHECKING:
    from listener.chat_queues import ChatQueue

# How long a termination waits for further events of the user that are fetched and not yet published. It delays the
# chats of the first ones by as much.
MERGE_SECONDS = 0.5


@dataclass(slots=True, eq=False)
class Termination:
    """The termination of a user's connections."""

    user: str  # the id at Pusher
    removals: list[tuple["ChatQueue", Event]] = field(default_factory=list)  # the events that it serves
    failures: FailureCount = field(default_factory=FailureCount)


class Terminations:
    """The terminations that have not succeeded yet. `on_ready` is called when one may start."""

    def __init__(self, on_ready: Callable[[], None]) -> None:
        self._on_ready = on_ready
        self._expected: Counter[str] = Counter()  # events that are fetched and not yet published, by user
        self._pending: dict[str, Termination] = {}  # by user
        self._ready: dict[str, None] = {}  # the users whose pending termination may start, in order
        self._in_progress: set[str] = set()  # users: each has one request at a time

    @property
    def has_ready(self) -> bool:
        """Whether a termination can start now."""
        return self._find_ready() is not None

    def expect(self, events: Iterable[Event]) -> None:
        """Count the terminations of fetched events."""
        self._expected.update(event.terminated_user for event in events if event.terminated_user is not None)

    def add(self, queue: "ChatQueue", event: Event, user: str) -> None:
        """Add the termination of an expected event, which is published."""
        termination = self._pending.get(user)
        if termination is None:
            termination = self._pending[user] = Termination(user)
            asyncio.get_running_loop().call_later(MERGE_SECONDS, self._end_merging, termination)
        termination.removals.append((queue, event))
        self._expected[user] -= 1
        if not self._expected[user]:
            del self._expected[user]
            if not termination.failures.count:  # otherwise it is in a backoff
                self._ready[user] = None

    def acquire(self) -> Termination:
        """Return a termination that starts now. Finish or retry it afterwards. Raises LookupError if none is ready."""
        user = self._find_ready()
        if user is None:
            raise LookupError("no termination is ready")
        del self._ready[user]
        self._in_progress.add(user)
        return self._pending.pop(user)

    def finish(self, termination: Termination) -> None:
        """Record the end of a termination."""
        self._in_progress.discard(termination.user)

    def retry(self, termination: Termination) -> None:
        """Repeat a failed termination after a backoff. It then also serves the events that were added meanwhile."""
        self.finish(termination)
        if later := self._pending.pop(termination.user, None):
            termination.removals += later.removals
        self._ready.pop(termination.user, None)
        self._pending[termination.user] = termination
        seconds = backoff(max(1, termination.failures.count))
        asyncio.get_running_loop().call_later(seconds, self._set_ready, termination)

    def clear(self) -> None:
        """Delete all terminations."""
        self._expected.clear()
        self._pending.clear()
        self._ready.clear()
        self._in_progress.clear()

    def _find_ready(self) -> str | None:
        return next((user for user in self._ready if user not in self._in_progress), None)

    def _end_merging(self, termination: Termination) -> None:
        if not termination.failures.count:
            self._set_ready(termination)

    def _set_ready(self, termination: Termination) -> None:
        if self._pending.get(termination.user) is termination:
            self._ready[termination.user] = None
            self._on_ready()
