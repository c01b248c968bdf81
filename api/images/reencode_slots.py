"""Reencode slots: how many images are re-encoded and stored at once, shared fairly among users.

Re-encoding takes milliseconds for one image and seconds for another. If requests were served in the order of arrival,
all users would wait for those with the costliest images. So a free slot goes to the waiting user who has held slots for
the least time recently, however many heavy users wait.
"""

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from api.http.errors import unavailable

HALF_LIFE_SECONDS = 300  # A user's recorded usage halves in this time.
MAX_USERS = 10_000  # with recorded usage
MAX_WAITING = 100  # requests


class RecentUsage:
    """The seconds for which each user has held slots recently. Beyond MAX_USERS, the oldest entries are dropped."""

    def __init__(self) -> None:
        self._by_user: OrderedDict[str, tuple[float, float]] = OrderedDict()  # seconds, and the time of that value

    def get(self, user: str) -> float:
        """Return the usage of a user in seconds, decayed by half for each HALF_LIFE_SECONDS."""
        seconds, as_of = self._by_user.get(user, (0.0, 0.0))
        return seconds * math.exp2((as_of - monotonic()) / HALF_LIFE_SECONDS)

    def add(self, user: str, seconds: float) -> None:
        """Add usage that has just ended."""
        self._by_user[user] = self.get(user) + seconds, monotonic()
        self._by_user.move_to_end(user)
        if len(self._by_user) > MAX_USERS:
            self._by_user.popitem(last=False)


class ReencodeSlots:
    """The slots of all workers, of which a user holds at most one. The queue has one entry for each user."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._holders: set[str] = set()
        self._queue: dict[str, deque[asyncio.Future[None]]] = {}  # no deque is empty
        self._usage = RecentUsage()

    @asynccontextmanager
    async def acquire(self, user: str, seconds: float) -> AsyncIterator[None]:
        """Hold a slot for the duration of a block.

        Raises ApiError 503 after a wait of `seconds`, or if too many requests wait.
        """
        await self._wait(user, seconds)
        started_at = monotonic()
        try:
            yield
        finally:
            self._usage.add(user, monotonic() - started_at)
            self._release(user)

    async def _wait(self, user: str, seconds: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._queue.setdefault(user, deque()).append(waiter)
        self._assign_free_slots()
        self._reject_excess()
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and not waiter.exception():
                self._release(user)  # the slot was assigned at the moment when the wait ended
            elif waiter in self._queue.get(user, ()):
                self._queue[user].remove(waiter)
                self._remove_if_empty(user)
            if isinstance(error, TimeoutError):
                raise unavailable() from None
            raise

    def _assign_free_slots(self) -> None:
        """Assign free slots to the waiting users with the least usage; ties go to the first in the queue."""
        while self._free and (waiting := [user for user in self._queue if user not in self._holders]):
            user = min(waiting, key=self._usage.get)
            waiters = self._queue.pop(user)
            waiter = waiters.popleft()
            if waiters:
                self._queue[user] = waiters  # to the end, behind users with the same usage
            if not waiter.done():  # otherwise its task has been cancelled, and cleans up after itself
                self._free -= 1
                self._holders.add(user)
                waiter.set_result(None)

    def _reject_excess(self) -> None:
        """If too many requests wait, reject one of the user with the most usage; ties go to the most requests."""
        if sum(map(len, self._queue.values())) > MAX_WAITING:
            user = max(reversed(self._queue), key=lambda user: (self._usage.get(user), len(self._queue[user])))
            waiter = self._queue[user].pop()
            self._remove_if_empty(user)
            if not waiter.done():
                waiter.set_exception(unavailable())

    def _remove_if_empty(self, user: str) -> None:
        if not self._queue[user]:
            del self._queue[user]

    def _release(self, user: str) -> None:
        self._free += 1
        self._holders.remove(user)
        self._assign_free_slots()
