"""Upload slots: which uploads a worker receives at once, shared fairly by user and by progress.

An upload costs its client nothing but an open connection, so slow uploads could occupy all slots. They do no harm while
a slot is free. When none is free, the upload that is furthest behind MIN_BYTES_PER_SECOND is evicted in favour of a new
one: an upload of one byte a second soon falls further behind than any ordinary one, however many accounts and addresses
send such uploads. If no upload is behind, a user with several open uploads loses one to a user with fewer.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from api.http.errors import ApiError

MAX_UPLOADS = 100  # received by each worker at once
MAX_UPLOADS_PER_USER = 25  # open at once: a client may send a batch, but not occupy all temporary files
MIN_BYTES_PER_SECOND = 8 * 1024  # on average since the upload started: a slow mobile connection
FULL_MESSAGE = "Too many uploads are in progress; try again later."
EVICTED_MESSAGE = (
    "The upload was cancelled in favour of another one, since it was slow or its user had several; try again."
)


class UploadSlot:
    """The slot of an upload while it is received, until `deadline`."""

    def __init__(self, user: str, deadline: asyncio.Timeout) -> None:
        self.user, self._deadline, self._started_at = user, deadline, monotonic()
        self.received_bytes = 0
        self.is_evicted = False

    def bytes_behind(self, now: float) -> float:
        """Return by how many bytes the upload is behind MIN_BYTES_PER_SECOND, at least 0."""
        return max(0.0, (now - self._started_at) * MIN_BYTES_PER_SECOND - self.received_bytes)

    def evict(self) -> None:
        """End the upload with a TimeoutError."""
        self.is_evicted = True
        if not self._deadline.expired():
            self._deadline.reschedule(0)


class UploadSlots:
    """The slots of a worker, and its open uploads."""

    def __init__(self) -> None:
        self.open: Counter[str] = Counter()  # by user, from the request until its response
        self._slots: set[UploadSlot] = set()

    @contextmanager
    def register(self, user: str) -> Iterator[None]:
        """Count an upload as open for the duration of a block. Raises ApiError 503 if the user has too many."""
        if self.open[user] >= MAX_UPLOADS_PER_USER:
            raise ApiError(
                503, f"A user may have {MAX_UPLOADS_PER_USER} uploads in progress; try again when one has ended."
            )
        self.open[user] += 1
        try:
            yield
        finally:
            self.open[user] -= 1
            if not self.open[user]:
                del self.open[user]

    @contextmanager
    def acquire(self, user: str, deadline: asyncio.Timeout) -> Iterator[UploadSlot]:
        """Hold a slot for a registered upload. Raises ApiError 503 if none is free and no upload can be evicted."""
        if len(self._slots) >= MAX_UPLOADS:
            self._evict_one(user)
        slot = UploadSlot(user, deadline)
        self._slots.add(slot)
        try:
            yield slot
        finally:
            self._slots.discard(slot)

    def _evict_one(self, user: str) -> None:
        now = monotonic()
        worst = max(self._slots, key=lambda slot: (slot.bytes_behind(now), self.open[slot.user]))
        if not worst.bytes_behind(now) and self.open[worst.user] <= self.open[user] + 1:
            raise ApiError(503, FULL_MESSAGE)
        self._slots.remove(worst)
        worst.evict()


UPLOAD_SLOTS = UploadSlots()
