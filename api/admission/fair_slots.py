"""Slots that users share: a free one goes to the waiting user who has used slots for the least time lately.

Decoding takes milliseconds for one image and seconds for another. In the order of arrival, all users would wait for
those who send the costliest images. Here the waiting user with the least recent usage is next, however many heavy
users wait.
"""

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from api.http.errors import unavailable

HALF_LIFE = 300  # seconds after which half of the time that a user has used is forgotten
MAX_USERS = 10_000  # whose time is remembered
MAX_WAITING = 100  # turns


class UsedTime:
    """How many seconds users have used lately. Beyond MAX_USERS, the least recently added are forgotten."""

    def __init__(self) -> None:
        self._by_user: OrderedDict[str, tuple[float, float]] = OrderedDict()  # seconds, as of when

    def of(self, user: str) -> float:
        """Return the seconds of a user, which decay by half in each HALF_LIFE."""
        seconds, as_of = self._by_user.get(user, (0.0, 0.0))
        return seconds * math.exp2((as_of - monotonic()) / HALF_LIFE)

    def add(self, user: str, seconds: float) -> None:
        """Add what a user has used just now."""
        self._by_user[user] = self.of(user) + seconds, monotonic()
        self._by_user.move_to_end(user)
        if len(self._by_user) > MAX_USERS:
            self._by_user.popitem(last=False)


class FairSlots:
    """Slots of which a user holds at most one. Users wait in line, each with all turns of theirs."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._holders: set[str] = set()
        self._line: dict[str, deque[asyncio.Future[None]]] = {}  # no deque is empty
        self._used = UsedTime()

    @asynccontextmanager
    async def slot(self, user: str, seconds: float) -> AsyncIterator[None]:
        """Hold a slot. Raises ApiError 503 after a wait of `seconds`, or if the line is too long."""
        await self._wait(user, seconds)
        began = monotonic()
        try:
            yield
        finally:
            self._used.add(user, monotonic() - began)
            self._release(user)

    async def _wait(self, user: str, seconds: float) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._line.setdefault(user, deque()).append(turn)
        self._serve()
        self._shorten_line()
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled() and not turn.exception():
                self._release(user)  # it was served at the moment its wait ended
            elif turn in self._line.get(user, ()):
                self._line[user].remove(turn)
                self._drop_if_empty(user)
            if isinstance(error, TimeoutError):
                raise unavailable() from None
            raise

    def _serve(self) -> None:
        """Assign free slots to the users with the least usage, among equals to the first in line."""
        while self._free and (waiting := [user for user in self._line if user not in self._holders]):
            user = min(waiting, key=self._used.of)
            turns = self._line.pop(user)
            turn = turns.popleft()
            if turns:
                self._line[user] = turns  # behind those with the same usage
            if not turn.done():  # otherwise its task has been cancelled, and cleans up itself
                self._free -= 1
                self._holders.add(user)
                turn.set_result(None)

    def _shorten_line(self) -> None:
        """If too many turns wait, reject one of the user with the most usage, among equals with the most turns."""
        if sum(map(len, self._line.values())) > MAX_WAITING:
            user = max(reversed(self._line), key=lambda user: (self._used.of(user), len(self._line[user])))
            turn = self._line[user].pop()
            self._drop_if_empty(user)
            if not turn.done():
                turn.set_exception(unavailable())

    def _drop_if_empty(self, user: str) -> None:
        if not self._line[user]:
            del self._line[user]

    def _release(self, user: str) -> None:
        self._free += 1
        self._holders.remove(user)
        self._serve()
