"""Chat queues: the events that are fetched and not yet published, in order within each chat.

A queue is in at most one request at a time, and an event leaves it only when it is published or dead-lettered. So
while the first event of a chat fails and is retried, the later events of that chat wait, and other chats do not.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TypeAlias

from listener.database import MAX_EVENTS_PER_CHAT, Event, FetchResult

REFILL_THRESHOLD = MAX_EVENTS_PER_CHAT // 2  # A queue with fewer events accepts more, so that it does not run dry.


@dataclass(slots=True, eq=False)
class ChatQueue:
    """The events of one chat, in order."""

    chat_id: str
    events: deque[Event] = field(default_factory=deque)
    last_id: int = 0  # of the last event fetched
    has_more: bool = False  # The outbox may have further events of this chat.
    isolated_count: int = 0  # how many of the next events are each sent in a request of its own
    failures: int = 0  # consecutive ones of the first event, while it is sent alone
    first_failed_at: float = 0
    last_failed_at: float = 0

    @property
    def accepts_more(self) -> bool:
        """Whether further events may be fetched."""
        return len(self.events) < REFILL_THRESHOLD

    @property
    def needs_refill(self) -> bool:
        """Whether further events should be fetched soon."""
        return self.has_more and self.accepts_more

    def append(self, event: Event) -> None:
        """Append a fetched event."""
        self.events.append(event)
        self.last_id = event.id

    def batch(self, limit: int) -> list[Event]:
        """Return the first events that may share a request of up to `limit` entries; none if the first one cannot.

        The events stay in the queue.
        """
        batch: list[Event] = []
        if not self.isolated_count:
            for event in self.events:
                count = event.batch_size
                if count is None or count > limit:
                    break
                batch.append(event)
                limit -= count
        return batch

    def pop(self) -> Event:
        """Remove the first event, after it was published or dead-lettered."""
        self.isolated_count = max(0, self.isolated_count - 1)
        self.failures = 0
        return self.events.popleft()

    def isolate(self, count: int) -> None:
        """Send each of the next `count` events in a request of its own."""
        self.isolated_count = max(self.isolated_count, count)

    def record_failure(self, now: float) -> None:
        """Record a failure of the first event in a request of its own."""
        if not self.failures:
            self.first_failed_at = now
        self.failures += 1
        self.last_failed_at = now


# The content of a request: queues, and the first events of each.
Batches: TypeAlias = list[tuple[ChatQueue, list[Event]]]


class ChatQueues:
    """The queues of all chats that have fetched events. Chats take turns."""

    def __init__(self) -> None:
        self.event_count = 0  # in all queues
        self.is_round_requested = False  # The outbox may have events of a chat whose queue accepts more.
        self._by_chat: dict[str, ChatQueue] = {}
        self._ready: deque[ChatQueue] = deque()  # the queues that are neither in a request nor in a backoff

    @property
    def has_ready(self) -> bool:
        """Whether there is a queue whose events can be sent now."""
        return bool(self._ready)

    def enqueue(self, fetched: FetchResult) -> None:
        """Append fetched events to the queues of their chats."""
        for event in fetched.events:
            queue = self._by_chat.get(event.chat_id)
            if queue is None:
                queue = self._by_chat[event.chat_id] = ChatQueue(event.chat_id)
                self._ready.append(queue)
            queue.append(event)
        self.event_count += len(fetched.events)
        for chat_id, count in Counter(event.chat_id for event in fetched.events).items():
            queue = self._by_chat[chat_id]
            queue.has_more = count == MAX_EVENTS_PER_CHAT or chat_id == fetched.next_chat
            self.is_round_requested |= queue.needs_refill

    def get_held(self, after_chat: str | None) -> dict[str, int | None]:
        """Map each chat whose id is after `after_chat` to the id of its last event, or to None if its queue is full."""
        return {
            queue.chat_id: queue.last_id if queue.accepts_more else None
            for queue in self._by_chat.values()
            if after_chat is None or queue.chat_id > after_chat
        }

    def acquire_batches(self, limit: int) -> Batches:
        """Acquire queues for one request, with their first events, of up to `limit` entries. Release each after it."""
        batches: Batches = []
        while self._ready and limit:
            queue = self._ready[0]
            batch = queue.batch(limit)
            if not batch and batches:
                break
            self._ready.popleft()
            batches.append((queue, batch or [queue.events[0]]))
            if not batch:
                break
            limit -= sum(event.batch_size or 0 for event in batch)
        return batches

    def pop(self, queue: ChatQueue) -> Event:
        """Remove the first event of a queue, after it was published or dead-lettered."""
        event = queue.pop()
        self.event_count -= 1
        self.is_round_requested |= queue.needs_refill
        return event

    def release(self, queue: ChatQueue) -> None:
        """Make an acquired queue ready again, behind the others. Delete it if it is empty."""
        if self._by_chat.get(queue.chat_id) is not queue:
            return  # All queues were cleared during its backoff.
        if queue.events:
            self._ready.append(queue)
        else:
            del self._by_chat[queue.chat_id]

    def clear(self) -> None:
        """Delete all queues."""
        self._by_chat.clear()
        self._ready.clear()
        self.event_count = 0
