"""The events of one chat that the relay has fetched and not yet published, in their order."""

from collections import deque
from dataclasses import dataclass, field

from listener.outbox import MAX_EVENTS_PER_CHAT, Event

REFILL_EVENTS = MAX_EVENTS_PER_CHAT // 2  # a queue with fewer accepts more, so that it does not run dry


@dataclass(slots=True, eq=False)
class ChatQueue:
    """A chat's events, in order. Its first events are in at most one request at a time."""

    chat_id: str
    events: deque[Event] = field(default_factory=deque)
    last_id: int = 0  # of the last event fetched
    has_more: bool = False  # the outbox may have further events of this chat
    is_scheduled: bool = False  # it is ready, in a request, or backs off after a failure
    isolated: int = 0  # this many of the next events are sent in a request of their own
    failures: int = 0  # in a row, of the first event in a request of its own
    first_failed_at: float = 0
    last_failed_at: float = 0

    @property
    def accepts_more(self) -> bool:
        """Whether further events may be fetched."""
        return len(self.events) < REFILL_EVENTS

    @property
    def needs_refill(self) -> bool:
        """Whether further events should be fetched soon."""
        return self.has_more and self.accepts_more

    def append(self, event: Event) -> None:
        """Add an event that was fetched."""
        self.events.append(event)
        self.last_id = event.id

    def batch(self, room: int) -> list[Event]:
        """Return the first events that may share a request, up to `room`; none if the first must be sent by itself."""
        batch: list[Event] = []
        if not self.isolated:
            for event in self.events:
                if len(batch) == room or not event.is_batchable:
                    break
                batch.append(event)
        return batch

    def pop(self) -> Event:
        """Remove the first event, which was published or is given up."""
        self.isolated = max(0, self.isolated - 1)
        self.failures = 0
        return self.events.popleft()

    def record_failure(self, now: float) -> None:
        """Count a failure of the first event."""
        if not self.failures:
            self.first_failed_at = now
        self.failures += 1
        self.last_failed_at = now
