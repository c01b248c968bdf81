"""Which uploads a worker receives at once: its places are shared fairly, by user and by progress.

A place costs its holder nothing but an open connection, so slow uploads could keep all others out. They do no harm
while a place is free. When none is, the upload furthest behind PACE yields its place to a new one: an upload of a byte
a second is soon further behind than any ordinary one, however many accounts and addresses send such uploads. If no
upload is behind, a user with several open uploads yields a place to a user with fewer.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from api.http.errors import ApiError

PLACES = 100  # uploads that each worker receives at once
OPEN_FOR_ONE = 25  # of one user: a client may send a batch where there is room, but not hold all temporary files
PACE = 8 * 1024  # bytes a second, averaged since the upload began: a mobile line at its worst
FULL = "All places for uploads are taken; try again later."
YIELDED = "The upload lost its place to another one, since it was slow or its user had several; try again."


class Place:
    """A place of an upload while it is received, until `deadline`."""

    def __init__(self, user: str, deadline: asyncio.Timeout) -> None:
        self.user, self._deadline, self._began = user, deadline, monotonic()
        self.received = 0  # bytes
        self.is_lost = False

    def bytes_behind(self, now: float) -> float:
        """Return how many bytes the upload is behind PACE; 0 if it is not behind."""
        return max(0.0, (now - self._began) * PACE - self.received)

    def lose(self) -> None:
        """End the upload, by a TimeoutError."""
        self.is_lost = True
        if not self._deadline.expired():
            self._deadline.reschedule(0)


class UploadRoom:
    """The places of a worker, and its open uploads."""

    def __init__(self) -> None:
        self.open: Counter[str] = Counter()  # by user, from the request to its response
        self._places: set[Place] = set()

    @contextmanager
    def open_for(self, user: str) -> Iterator[None]:
        """Count a user's upload for the duration of a block. Raises ApiError 503 if the user has too many."""
        if self.open[user] >= OPEN_FOR_ONE:
            raise ApiError(503, f"A user may have {OPEN_FOR_ONE} uploads under way; try again when one has ended.")
        self.open[user] += 1
        try:
            yield
        finally:
            self.open[user] -= 1
            if not self.open[user]:
                del self.open[user]

    @contextmanager
    def place_for(self, user: str, deadline: asyncio.Timeout) -> Iterator[Place]:
        """Hold a place for an upload that is counted. Raises ApiError 503 if none is free and no upload yields."""
        if len(self._places) >= PLACES:
            self._free_a_place(user)
        place = Place(user, deadline)
        self._places.add(place)
        try:
            yield place
        finally:
            self._places.discard(place)

    def _free_a_place(self, user: str) -> None:
        now = monotonic()
        worst = max(self._places, key=lambda place: (place.bytes_behind(now), self.open[place.user]))
        if not worst.bytes_behind(now) and self.open[worst.user] <= self.open[user] + 1:
            raise ApiError(503, FULL)
        self._places.remove(worst)
        worst.lose()


ROOM = UploadRoom()
