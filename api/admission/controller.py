"""The admission controller limits how many statements of one user, on one chat and of one kind a worker has in flight.

A statement may wait seconds for a lock, or use a core of PostgreSQL for a tenth of a second. A dozen of them, from one
user or behind one locked chat, would hold every connection of the pool, and all other users would get 503. So each
request holds slots while its statement runs: one of its user; for a write also one of all writes, and one of its chat;
for an expensive request also one of the user's expensive requests, and one of all users' expensive requests.

A request is admitted in one step, when all of its slots are free. Otherwise it waits in the queue of the first slot
that is not free, and holds none meanwhile. When a slot is released, its queue is served in the order of arrival; a
request that then finds another of its slots occupied moves to that queue. So a queue delays no request that does not
need its slot, and a free slot has no queue.

Searches and large bodies are expensive. The size of a page is known only from its response, so after a large page, the
user's pages are expensive for a while: sending a large response blocks the worker's event loop. After an expensive
request whose cost exceeds COST_THRESHOLD_SECONDS, the user's next one is delayed by a multiple of that cost.

DECISIONS.md in this directory has the figures and the alternatives.
"""

import asyncio
from bisect import insort
from collections import OrderedDict
from functools import lru_cache
from operator import attrgetter
from time import monotonic

from api.auth.tokens import get_caller_ids
from api.db.pool import ACQUIRE_TIMEOUT_SECONDS, MAX_WAITING_PER_CONNECTION
from api.observability.timings import measure

MAX_WRITES_PER_CHAT = 2  # in flight; writes to one chat wait for each other in PostgreSQL, for the lock on its row
MAX_EXPENSIVE_PER_USER = 1  # in flight
EXPENSIVE_BODY_BYTES = 8 * 1024  # PostgreSQL needs up to 10 ms for a message of this length, depending on its script
LARGE_PAGE_BYTES = 512 * 1024
LARGE_PAGE_SECONDS = 10  # After a large page, a user's pages are expensive for this time.
MAX_LARGE_PAGE_USERS = 1000  # The latest large pages of this many users are remembered.
BYTES_PER_SECOND_OF_COST = 20_000_000  # a response of this size costs as much as a statement of one second
COST_THRESHOLD_SECONDS = 0.03  # a request that costs no more is not followed by a pause
PAUSE_FACTOR = 3  # the pause is this multiple of the cost
WRITE_PAUSE_FACTOR = 12  # higher, since other users' commits wait until the WAL of a large write is flushed
MAX_PAUSE_SECONDS = 3
# The shares of max_waiting that the requests of one user, or on one chat, may occupy.
MAX_USER_QUEUE_SHARE = 1 / 4
MAX_CHAT_QUEUE_SHARE = 1 / 2

ARRIVAL = attrgetter("arrival")
Slot = tuple[str, str]  # the kind, which has a limit, and the user or chat whose slot this is
# Slots of all users together.
WRITES: Slot = "writes", ""
EXPENSIVE: Slot = "expensive requests", ""
# Kinds of slots that each user or chat has.
USER, CHAT, EXPENSIVE_OF_USER = "statements of a user", "writes to a chat", "expensive requests of a user"


class QueueFullError(TimeoutError):
    """Too many requests wait already: in total, of the same user, or on the same chat.

    A TimeoutError, because it is handled like a wait that timed out.
    """


class QueueTimeoutError(TimeoutError):
    """A request waited for its slots for ACQUIRE_TIMEOUT_SECONDS."""


class Waiter:
    """A request in a queue."""

    __slots__ = ("admitted", "arrival", "queue", "slots")

    def __init__(self, arrival: int, slots: tuple[Slot, ...]) -> None:
        self.arrival, self.slots = arrival, slots  # the order of arrival, and the slots that the request needs
        self.queue: Slot | None = None  # the slot in whose queue the request waits
        self.admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class AdmissionController:
    """The slots of a worker, and the queues for them."""

    def __init__(self, pool_size: int) -> None:
        """Derive the limits from the number of connections in the worker's pool."""
        writes = max(1, pool_size - max(1, pool_size // 5))  # the other connections are reserved for reads
        self.limits = {
            USER: (pool_size + 1) // 2,
            CHAT: MAX_WRITES_PER_CHAT,
            WRITES[0]: writes,
            EXPENSIVE_OF_USER: MAX_EXPENSIVE_PER_USER,
            EXPENSIVE[0]: max(1, pool_size // 2),
        }
        self.max_waiting = MAX_WAITING_PER_CONNECTION * pool_size
        self._max_waiting_by_kind = {
            USER: self.max_waiting * MAX_USER_QUEUE_SHARE,
            CHAT: self.max_waiting * MAX_CHAT_QUEUE_SHARE,
        }
        self._held: dict[Slot, int] = {}
        self._queues: dict[Slot, list[Waiter]] = {}  # no list is empty
        self._waiting_by_slot: dict[Slot, int] = {}  # by each slot that the waiting requests need
        self._last_arrival = self._waiting = 0
        self._expensive_pages_until: OrderedDict[Slot, float] = OrderedDict()  # by user

    @property
    def waiting(self) -> int:
        """The number of requests in all queues."""
        return self._waiting

    def create_permit(
        self,
        identity: str,
        *,
        is_write: bool = False,
        chat_id: str | None = None,
        is_expensive: bool = False,
        is_page: bool = False,
    ) -> "Permit":
        """Return a permit for a request of a caller; `chat_id` is the chat that the request writes to."""
        slots = get_user_slots(identity)
        is_expensive |= is_page and bool(self._expensive_pages_until) and self._has_recent_large_page(slots)
        expensive = tuple((EXPENSIVE_OF_USER, user) for _, user in slots) if is_expensive else ()
        if chat_id is not None:
            slots = ((CHAT, chat_id.lower()), *slots)  # PostgreSQL parses a UUID regardless of case
        if is_write:
            slots = (*slots, WRITES)
        if is_expensive:
            slots = (*expensive, *slots, EXPENSIVE)  # Permit._start_pause() relies on this order
        return Permit(self, slots, is_expensive)

    def _has_recent_large_page(self, slots: tuple[Slot, ...]) -> bool:
        now = monotonic()
        return any(self._expensive_pages_until.get(slot, now) > now for slot in slots)

    def record_large_page(self, slots: tuple[Slot, ...]) -> None:
        """Treat further pages of the users of these slots as expensive for LARGE_PAGE_SECONDS."""
        for slot in slots:
            if slot[0] == USER:
                self._expensive_pages_until[slot] = monotonic() + LARGE_PAGE_SECONDS
                self._expensive_pages_until.move_to_end(slot)
        while len(self._expensive_pages_until) > MAX_LARGE_PAGE_USERS:
            self._expensive_pages_until.popitem(last=False)

    def acquire_nowait(self, slots: tuple[Slot, ...]) -> bool:
        """Acquire these slots if all of them are free; return whether they were."""
        held, limits = self._held, self.limits
        for slot in slots:  # inlines _find_full() and increment(), since every request runs this
            if held.get(slot, 0) >= limits[slot[0]]:
                return False
        for slot in slots:
            held[slot] = held.get(slot, 0) + 1
        return True

    def _find_full(self, slots: tuple[Slot, ...]) -> Slot | None:
        held, limits = self._held, self.limits
        for slot in slots:
            if held.get(slot, 0) >= limits[slot[0]]:
                return slot
        return None

    async def acquire(self, slots: tuple[Slot, ...]) -> None:
        """Acquire these slots as soon as all are free.

        Raises QueueFullError at once if too many requests wait, or QueueTimeoutError after ACQUIRE_TIMEOUT_SECONDS.
        """
        self._check_capacity(slots)
        self._last_arrival += 1
        waiter = Waiter(self._last_arrival, slots)
        increment(self._waiting_by_slot, slots)
        self._waiting += 1
        self._enqueue(waiter)
        timer = asyncio.get_running_loop().call_later(ACQUIRE_TIMEOUT_SECONDS, self._expire, waiter)
        try:
            await waiter.admitted
        except asyncio.CancelledError:
            self._dequeue(waiter)
            if waiter.admitted.done() and not waiter.admitted.cancelled() and not waiter.admitted.exception():
                self.release(slots)  # the request was admitted at the moment of its cancellation
            raise
        finally:
            timer.cancel()
            self._waiting -= 1
            decrement(self._waiting_by_slot, slots)

    def _expire(self, waiter: Waiter) -> None:
        if not waiter.admitted.done():
            self._dequeue(waiter)
            waiter.admitted.set_exception(QueueTimeoutError("the request waited too long for its slots"))

    def _check_capacity(self, slots: tuple[Slot, ...]) -> None:
        if self._waiting >= self.max_waiting:
            raise QueueFullError("too many requests wait for slots")
        for slot in slots:
            if self._waiting_by_slot.get(slot, 0) >= self._max_waiting_by_kind.get(slot[0], self.max_waiting):
                raise QueueFullError(f"too many requests wait for slots: {slot[0]}")

    def _enqueue(self, waiter: Waiter) -> None:
        """Put a request into the queue of its first slot that is not free, or admit it."""
        waiter.queue = self._find_full(waiter.slots)
        if waiter.queue:
            insort(self._queues.setdefault(waiter.queue, []), waiter, key=ARRIVAL)
        else:
            self.acquire_nowait(waiter.slots)
            waiter.admitted.set_result(None)

    def _dequeue(self, waiter: Waiter) -> None:
        if slot := waiter.queue:
            self._queues[slot].remove(waiter)
            if not self._queues[slot]:
                del self._queues[slot]
            waiter.queue = None

    def release(self, slots: tuple[Slot, ...]) -> None:
        """Release these slots, and admit the requests in their queues whose slots are now all free."""
        decrement(self._held, slots)
        if self._queues:
            self._serve_queues(slots)

    def _serve_queues(self, slots: tuple[Slot, ...]) -> None:
        while heads := [
            self._queues[slot][0] for slot in slots if slot in self._queues and not self._find_full((slot,))
        ]:
            first = min(heads, key=ARRIVAL)
            self._dequeue(first)
            if not first.admitted.done():  # otherwise its task has been cancelled, and cleans up after itself
                self._enqueue(first)


def increment(counts: dict[Slot, int], slots: tuple[Slot, ...]) -> None:
    """Increment the count of each of these slots; collections.Counter takes several times as long."""
    for slot in slots:
        counts[slot] = counts.get(slot, 0) + 1


def decrement(counts: dict[Slot, int], slots: tuple[Slot, ...]) -> None:
    """Decrement the count of each of these slots, and remove those that reach 0."""
    for slot in slots:
        if counts[slot] == 1:
            del counts[slot]
        else:
            counts[slot] -= 1


class Permit:
    """Holds the slots of a request for the duration of a block, which sets `response_bytes`."""

    __slots__ = ("_acquired_at", "_controller", "_is_expensive", "_slots", "response_bytes")

    def __init__(self, controller: AdmissionController, slots: tuple[Slot, ...], is_expensive: bool) -> None:
        self._controller, self._slots, self._is_expensive = controller, slots, is_expensive
        self.response_bytes = 0

    async def __aenter__(self) -> float:
        """Acquire the slots; return how many seconds are left to wait for a connection."""
        if self._controller.acquire_nowait(self._slots):
            if self._is_expensive:
                self._acquired_at = monotonic()
            return ACQUIRE_TIMEOUT_SECONDS
        arrived_at = monotonic()
        with measure("queue"):
            await self._controller.acquire(self._slots)
        self._acquired_at = monotonic()
        return max(0.0, arrived_at + ACQUIRE_TIMEOUT_SECONDS - self._acquired_at)

    async def __aexit__(self, *_: object) -> None:
        slots = self._slots
        if self.response_bytes > LARGE_PAGE_BYTES:
            self._controller.record_large_page(slots)
        if self._is_expensive:
            slots = self._start_pause(slots)
        self._controller.release(slots)

    def _start_pause(self, slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
        """Return the slots to release now. Above COST_THRESHOLD_SECONDS, keep the user's expensive slot for a pause."""
        cost = monotonic() - self._acquired_at + self.response_bytes / BYTES_PER_SECOND_OF_COST
        if cost <= COST_THRESHOLD_SECONDS:
            return slots
        paused = tuple(slot for slot in slots if slot[0] == EXPENSIVE_OF_USER)
        factor = WRITE_PAUSE_FACTOR if WRITES in slots else PAUSE_FACTOR
        seconds = min(factor * cost, MAX_PAUSE_SECONDS)
        asyncio.get_running_loop().call_later(seconds, self._controller.release, paused)
        return slots[len(paused) :]


@lru_cache(maxsize=1024)
def get_user_slots(identity: str) -> tuple[Slot, ...]:
    """Return the slot of the caller's user, or one for each session digest, whose user only the database can find."""
    return tuple((USER, caller) for caller in get_caller_ids(identity))
