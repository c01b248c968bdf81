"""Chat queues: the events that are fetched and not yet published, in order within each chat.

A queue is in at most one request at a time, and an event leaves it only when it is published or dead-lettered. So
while the first event of a chat fails and is retried, the later events of that chat wait, and other chats do not. Until
the connections of a removed member are terminated, only further removals of the chat are published.

Queues whose next request is of the same kind take turns. The publisher limits the open requests of each kind, so that
many requests of one kind do not delay those of another.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeAlias

from listener.backoff import FailureCount
from listener.database import MAX_EVENTS_PER_CHAT, Event, FetchResult
from listener.pusher import MAX_BATCH_EVENTS
from listener.terminations import Termination, Terminations

REFILL_THRESHOLD = MAX_EVENTS_PER_CHAT // 2  # A queue with fewer events accepts more, so that it does not run dry.


class RequestKind(Enum):
    """The kinds of requests. A request of events has the kind of its first event."""

    MESSAGES = auto()
    OTHER_EVENTS = auto()
    SINGLE_MESSAGE = auto()  # too large for a batch, or isolated after a failure
    SINGLE_OTHER_EVENT = auto()
    TERMINATION = auto()


EVENT_KINDS = [kind for kind in RequestKind if kind is not RequestKind.TERMINATION]


@dataclass(slots=True, eq=False)
class ChatQueue:
    """The events of one chat, in order."""

    chat_id: str
    events: deque[Event] = field(default_factory=deque)
    last_id: int = 0  # of the last event fetched
    has_more: bool = False  # The outbox may have further events of this chat.
    isolated_count: int = 0  # how many of the next events are each sent in a request of its own
    failures: FailureCount = field(default_factory=FailureCount)  # of the first event, while it is sent alone
    terminations: int = 0  # pending ones of members whose removal is published
    is_acquired: bool = False  # in a request or in a backoff

    @property
    def accepts_more(self) -> bool:
        """Whether further events may be fetched."""
        return len(self.events) < REFILL_THRESHOLD

    @property
    def needs_refill(self) -> bool:
        """Whether further events should be fetched soon."""
        return self.has_more and self.accepts_more

    @property
    def is_ready(self) -> bool:
        """Whether the first event can be sent now."""
        is_terminating = self.terminations > 0 and self.events and self.events[0].terminated_user is None
        return bool(self.events) and not self.is_acquired and not is_terminating

    @property
    def request_kind(self) -> RequestKind:
        """The kind of the next request."""
        event = self.events[0]
        is_single = self.isolated_count > 0 or event.batch_size > MAX_BATCH_EVENTS
        if event.name.startswith("message:"):
            return RequestKind.SINGLE_MESSAGE if is_single else RequestKind.MESSAGES
        return RequestKind.SINGLE_OTHER_EVENT if is_single else RequestKind.OTHER_EVENTS

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
                is_removal = event.terminated_user is not None
                if event.batch_size > limit or (batch and batch[-1].terminated_user is not None and not is_removal):
                    break
                batch.append(event)
                limit -= event.batch_size
        return batch

    def pop(self) -> Event:
        """Remove the first event, after it was published or dead-lettered."""
        self.isolated_count = max(0, self.isolated_count - 1)
        self.failures = FailureCount()
        return self.events.popleft()

    def isolate(self, count: int) -> None:
        """Send each of the next `count` events in a request of its own."""
        self.isolated_count = max(self.isolated_count, count)


# The content of a request: queues, and the first events of each.
Batches: TypeAlias = list[tuple[ChatQueue, list[Event]]]


class ChatQueues:
    """The queues of all chats that have fetched events. Chats take turns."""

    def __init__(self, terminations: Terminations) -> None:
        self.event_count = 0  # not published
        self.terminating_count = 0  # published events whose termination has not ended
        self.is_round_requested = False  # The outbox may have events of a chat whose queue accepts more.
        self._terminations = terminations
        self._by_chat: dict[str, ChatQueue] = {}
        self._ready: dict[RequestKind, deque[ChatQueue]] = {kind: deque() for kind in EVENT_KINDS}

    @property
    def ready_kinds(self) -> list[RequestKind]:
        """The kinds of the requests that can be sent now."""
        return [kind for kind, queues in self._ready.items() if queues]

    def enqueue(self, fetched: FetchResult) -> None:
        """Append fetched events to the queues of their chats."""
        self._terminations.expect(fetched.events)
        for event in fetched.events:
            queue = self._by_chat.get(event.chat_id)
            if queue is None:
                queue = self._by_chat[event.chat_id] = ChatQueue(event.chat_id)
            is_new_head = not queue.events
            queue.append(event)
            if is_new_head:
                self._update(queue)
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

    def acquire_batches(self, kind: RequestKind) -> Batches:
        """Acquire queues for one request of this kind, with their first events. Release each after it."""
        limit = MAX_BATCH_EVENTS
        ready = self._ready[kind]
        batches: Batches = []
        while ready and limit:
            queue = ready[0]
            batch = queue.batch(limit)
            if not batch and batches:
                break
            ready.popleft()
            queue.is_acquired = True
            batches.append((queue, batch or [queue.events[0]]))
            if not batch:
                break
            limit -= sum(event.batch_size for event in batch)
        return batches

    def pop(self, queue: ChatQueue) -> Event:
        """Remove the first event of a queue, after it was published or dead-lettered, and start its termination."""
        event = queue.pop()
        self.event_count -= 1
        if event.terminated_user is not None:
            self.terminating_count += 1
            queue.terminations += 1
            self._terminations.add(queue, event, event.terminated_user)
        self.is_round_requested |= queue.needs_refill
        return event

    def release(self, queue: ChatQueue) -> None:
        """Make an acquired queue ready again, behind the others. Delete it if it is empty."""
        queue.is_acquired = False
        self._update(queue)

    def end_termination(self, termination: Termination) -> None:
        """Make the events ready that waited for a termination."""
        self._terminations.finish(termination)
        for queue, _ in termination.removals:
            queue.terminations -= 1
            self.terminating_count -= 1
            if not queue.terminations and not (queue.events and queue.events[0].terminated_user is not None):
                self._update(queue)

    def clear(self) -> None:
        """Delete all queues."""
        self._by_chat.clear()
        for queues in self._ready.values():
            queues.clear()
        self._terminations.clear()
        self.event_count = self.terminating_count = 0

    def _update(self, queue: ChatQueue) -> None:
        """Add a queue to the ready ones if its first event can be sent; delete it if it is empty and not in use."""
        if self._by_chat.get(queue.chat_id) is not queue:
            return  # All queues were cleared during its backoff.
        if queue.is_ready:
            self._ready[queue.request_kind].append(queue)
        elif not queue.events and not queue.terminations and not queue.is_acquired:
            del self._by_chat[queue.chat_id]
