"""Admission: how many statements of one user, on one chat and of one kind a worker has in flight at once.

A statement may wait seconds for a lock, or use a core of PostgreSQL for a tenth of a second. A dozen of them, sent by
one user or behind one locked chat, would hold every connection of the pool, and all other users would get 503. So a
request holds slots while its statement runs: one for its user; a write also one for all writes, and one for its chat;
an expensive request also one for the user's expensive requests, and one for those of all users.

A request is admitted when all of its slots are free, in one step. Otherwise it waits, without holding any slot, in the
line of the first one that is not free. When a slot is freed, its line is served in the order of arrival; a request that
then finds another of its slots full moves to that line. So no line holds up requests that do not need its slot, and a
free slot has no line.

Searches and large bodies are expensive. For a user who has just received a large page, so are further pages: only the
response shows how long the messages of a page are. A response of 10 MB blocks the worker's event loop for 20 ms. So a
user pauses after an expensive request of notable cost, for a multiple of that cost, before the next one.
"""

import asyncio
from bisect import insort
from collections import OrderedDict
from functools import lru_cache
from operator import attrgetter
from time import monotonic

from api.auth.tokens import callers_of
from api.db.pool import ACQUIRE_SECONDS, WAITING_FOR_EACH
from api.observability.timings import measure

CHAT_WRITES = 2  # in flight on one chat: they wait for each other in PostgreSQL, on the chat's row
EXPENSIVE_BODY = 8 * 1024  # bytes; PostgreSQL takes up to 10 ms for a message of this length, depending on its script
EXPENSIVE_OF_USER = 1
LARGE_RESPONSE = 512 * 1024  # bytes
LARGE_SECONDS = 10  # how long a user's pages are expensive after a large one
MAX_LARGE = 1000  # users whose large pages are remembered
BYTES_A_SECOND = 20_000_000  # a response of this size costs as much as a statement of one second
NOTABLE_SECONDS = 0.03  # of cost; up to this there is no pause
PAUSE = 3  # times the cost
PAUSE_AFTER_WRITE = 12  # times the cost: its log is flushed together with that of others' commits
MAX_PAUSE = 3  # seconds
LINE_OF_USER = 1 / 4  # the share of all places in line that one user's requests may occupy
LINE_OF_CHAT = 1 / 2

NUMBER = attrgetter("number")  # the order of arrival
Slot = tuple[str, str]  # what is limited, and for which user or chat
# Slots for all users together.
WRITES: Slot = "writes", ""
EXPENSIVE: Slot = "expensive requests", ""
# The kinds of slots that each user or chat has.
USER, CHAT, EXPENSIVE_USER = "statements of a user", "writes to a chat", "expensive requests of a user"


class Waiter:
    """A request in line."""

    __slots__ = ("number", "slot", "slots", "turn")

    def __init__(self, number: int, slots: tuple[Slot, ...]) -> None:
        self.number, self.slots = number, slots
        self.slot: Slot | None = None  # the one in whose line the request waits
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Admission:
    """The slots of a worker with a pool of so many connections."""

    def __init__(self, pool_size: int) -> None:
        writes = max(1, pool_size - max(1, pool_size // 5))  # the other connections are for reads
        self.limits = {
            USER: (pool_size + 1) // 2,
            CHAT: CHAT_WRITES,
            WRITES[0]: writes,
            EXPENSIVE_USER: EXPENSIVE_OF_USER,
            EXPENSIVE[0]: max(1, pool_size // 2),
        }
        self.max_waiting = WAITING_FOR_EACH * pool_size
        self._max_lines = {USER: self.max_waiting * LINE_OF_USER, CHAT: self.max_waiting * LINE_OF_CHAT}
        self._held: dict[Slot, int] = {}
        self._lines: dict[Slot, list[Waiter]] = {}  # no list is empty
        self._waiting: dict[Slot, int] = {}  # requests in line, by each slot that they need
        self._last_number = self._total_waiting = 0
        self._large: OrderedDict[Slot, float] = OrderedDict()  # until when a user's pages are expensive

    @property
    def waiting(self) -> int:
        """How many requests wait in line."""
        return self._total_waiting

    def turn(
        self,
        identity: str,
        *,
        is_write: bool = False,
        chat_id: str | None = None,
        is_expensive: bool = False,
        is_page: bool = False,
    ) -> "Turn":
        """Return the turn of a caller's request; `chat_id` is the chat that it writes to."""
        slots = user_slots(identity)
        is_expensive |= is_page and bool(self._large) and self._has_large(slots)
        expensive = tuple((EXPENSIVE_USER, user) for _, user in slots) if is_expensive else ()
        if chat_id is not None:
            slots = ((CHAT, chat_id.lower()), *slots)  # PostgreSQL reads a UUID in either case
        if is_write:
            slots = (*slots, WRITES)
        if is_expensive:
            slots = (*expensive, *slots, EXPENSIVE)  # in this order, see Turn._pause()
        return Turn(self, slots, is_expensive)

    def _has_large(self, slots: tuple[Slot, ...]) -> bool:
        now = monotonic()
        return any(self._large.get(slot, now) > now for slot in slots)

    def add_large(self, slots: tuple[Slot, ...]) -> None:
        """Count the pages of these slots' users as expensive from now on."""
        for slot in slots:
            if slot[0] == USER:
                self._large[slot] = monotonic() + LARGE_SECONDS
                self._large.move_to_end(slot)
        while len(self._large) > MAX_LARGE:
            self._large.popitem(last=False)

    def enter(self, slots: tuple[Slot, ...]) -> bool:
        """Acquire these slots and return True, if all of them are free."""
        held, limits = self._held, self.limits
        for slot in slots:  # inlines _find_full() and add(), since every request runs this
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

    async def wait(self, slots: tuple[Slot, ...]) -> None:
        """Acquire these slots as soon as all are free. Raises TimeoutError: at once if too many requests wait."""
        self._check_lines(slots)
        self._last_number += 1
        waiter = Waiter(self._last_number, slots)
        add(self._waiting, slots)
        self._total_waiting += 1
        self._line_up(waiter)
        timer = asyncio.get_running_loop().call_later(ACQUIRE_SECONDS, self._expire, waiter)
        try:
            await waiter.turn
        except asyncio.CancelledError:
            self._step_out(waiter)
            if waiter.turn.done() and not waiter.turn.cancelled() and not waiter.turn.exception():
                self.leave(slots)  # it was admitted at the moment of its cancellation
            raise
        finally:
            timer.cancel()
            self._total_waiting -= 1
            subtract(self._waiting, slots)

    def _expire(self, waiter: Waiter) -> None:
        if not waiter.turn.done():
            self._step_out(waiter)
            waiter.turn.set_exception(TimeoutError("the wait for a turn was too long"))

    def _check_lines(self, slots: tuple[Slot, ...]) -> None:
        if self._total_waiting >= self.max_waiting:
            raise TimeoutError("too many requests wait in line")
        for slot in slots:
            if self._waiting.get(slot, 0) >= self._max_lines.get(slot[0], self.max_waiting):
                raise TimeoutError(f"too many requests wait in line for: {slot[0]}")

    def _line_up(self, waiter: Waiter) -> None:
        """Put a request in the line of its first slot that is full, or admit it."""
        waiter.slot = self._find_full(waiter.slots)
        if waiter.slot:
            insort(self._lines.setdefault(waiter.slot, []), waiter, key=NUMBER)
        else:
            self.enter(waiter.slots)
            waiter.turn.set_result(None)

    def _step_out(self, waiter: Waiter) -> None:
        if slot := waiter.slot:
            self._lines[slot].remove(waiter)
            if not self._lines[slot]:
                del self._lines[slot]
            waiter.slot = None

    def leave(self, slots: tuple[Slot, ...]) -> None:
        """Free these slots, and admit the requests in their lines whose slots are now all free."""
        subtract(self._held, slots)
        if self._lines:
            self._serve(slots)

    def _serve(self, slots: tuple[Slot, ...]) -> None:
        while heads := [self._lines[slot][0] for slot in slots if slot in self._lines and not self._find_full((slot,))]:
            first = min(heads, key=NUMBER)
            self._step_out(first)
            if not first.turn.done():  # otherwise its task has been cancelled, and cleans up itself
                self._line_up(first)


def add(counts: dict[Slot, int], slots: tuple[Slot, ...]) -> None:
    """Increment the count of each of these slots; a Counter takes several times as long."""
    for slot in slots:
        counts[slot] = counts.get(slot, 0) + 1


def subtract(counts: dict[Slot, int], slots: tuple[Slot, ...]) -> None:
    """Decrement the count of each of these slots, and drop those that reach 0."""
    for slot in slots:
        if counts[slot] == 1:
            del counts[slot]
        else:
            counts[slot] -= 1


class Turn:
    """Holds the slots of a request for the duration of a block, which sets `size` to the bytes of the response."""

    __slots__ = ("_admission", "_began", "_is_expensive", "_slots", "size")

    def __init__(self, admission: Admission, slots: tuple[Slot, ...], is_expensive: bool) -> None:
        self._admission, self._slots, self._is_expensive = admission, slots, is_expensive
        self.size = 0

    async def __aenter__(self) -> float:
        """Wait for the slots; return how many seconds are left to wait for a connection."""
        if self._admission.enter(self._slots):
            if self._is_expensive:
                self._began = monotonic()
            return ACQUIRE_SECONDS
        arrived = monotonic()
        with measure("queue"):
            await self._admission.wait(self._slots)
        self._began = monotonic()
        return max(0.0, arrived + ACQUIRE_SECONDS - self._began)

    async def __aexit__(self, *_: object) -> None:
        slots = self._slots
        if self.size > LARGE_RESPONSE:
            self._admission.add_large(slots)
        if self._is_expensive:
            slots = self._pause(slots)
        self._admission.leave(slots)

    def _pause(self, slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
        """Return the slots to free at once; after a notable cost, the user's expensive one is freed later."""
        cost = monotonic() - self._began + self.size / BYTES_A_SECOND
        if cost <= NOTABLE_SECONDS:
            return slots
        kept = tuple(slot for slot in slots if slot[0] == EXPENSIVE_USER)
        seconds = min((PAUSE_AFTER_WRITE if WRITES in slots else PAUSE) * cost, MAX_PAUSE)
        asyncio.get_running_loop().call_later(seconds, self._admission.leave, kept)
        return slots[len(kept) :]


@lru_cache(maxsize=1024)
def user_slots(identity: str) -> tuple[Slot, ...]:
    """Return the slots of a caller: a user's, or one for each session digest, whose user only the database can find."""
    return tuple((USER, caller) for caller in callers_of(identity))
