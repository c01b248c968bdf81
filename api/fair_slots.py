"""Slots that users share: a free one goes to the waiting user who has used slots for the least time lately.

Decoding one image costs up to seconds, another milliseconds, so users who are served in the order of their requests
wait for those who send the costliest. Here a user pays for what was used: beside any number of heavy users, one who
has used little is next.
"""

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from api.errors import unavailable

HALF_LIFE = 300  # seconds after which half of the time that a user has used is forgotten
MAX_USERS = 10_000  # whose time is remembered
MAX_WAITING = 100  # turns


class UsedTime:
    """How many seconds users have used lately. Only those of the users who were added last are remembered."""

    def __init__(self) -> None:
        self._by_user: OrderedDict[str, tuple[float, float]] = OrderedDict()  # seconds, as of when

    def of(self, user: str) -> float:
        """Return the seconds of a user, of which half are forgotten in each HALF_LIFE."""
        seconds, as_of = self._by_user.get(user, (0.0, 0.0))
        return seconds * math.exp2((as_of - monotonic()) / HALF_LIFE)

    def add(self, user: str, seconds: float) -> None:
        """Add what a user has used just now."""
        self._by_user[user] = self.of(user) + seconds, monotonic()
        self._by_user.move_to_end(user)
        if len(self._by_user) > MAX_USERS:
            self._by_user.popitem(last=False)


class FairSlots:
    """So many slots, of which a user holds one at a time. Users wait in line, each with all of its turns."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._holders: set[str] = set()
        self._line: dict[str, deque[asyncio.Future[None]]] = {}  # no deque is empty
        self._used = UsedTime()

    @asynccontextmanager
    async def slot(self, user: str, seconds: float) -> AsyncIterator[None]:
        """Hold a slot. Raises ApiError 503 after a wait of so many seconds, or where the line is too long."""
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
                self._release(user)  # it was served just when its wait was over
            elif turn in self._line.get(user, ()):
                self._line[user].remove(turn)
                self._drop_if_empty(user)
            if isinstance(error, TimeoutError):
                raise unavailable() from None
            raise

    def _serve(self) -> None:
        """Give free slots to those who have used the least, among equals to those who have waited the longest."""
        while self._free and (waiting := [user for user in self._line if user not in self._holders]):
            user = min(waiting, key=self._used.of)
            turns = self._line.pop(user)
            turn = turns.popleft()
            if turns:
                self._line[user] = turns  # behind those who have used as much
            if not turn.done():  # else its task has been cancelled, and is about to leave
                self._free -= 1
                self._holders.add(user)
                turn.set_result(None)

    def _shorten_line(self) -> None:
        """Refuse a turn where too many wait: of who has used the most, among equals of who has the most turns."""
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
