"""From the outbox to Pusher: in order within a chat, chats side by side, each event until Pusher took it.

Taken events stand in lines, one for each chat. A request carries the first events of some lines, and those lines wait
for its end, so a chat's events arrive in order, and no chat waits for another. What fails is sent again, after a pause
that grows while nothing succeeds. What Pusher refuses is sent again by itself, so that it is known which event it is,
and that is set aside.
"""

import asyncio
import contextlib
import logging
import random
import sys
from collections import deque
from dataclasses import dataclass, field

from listener.outbox import MAX_OF_CHAT, Event, Outbox
from listener.pusher import FailedError, Pusher, RefusedError

logger = logging.getLogger("parley.listener")

BATCH = 10  # events that Pusher takes in one request
SLOTS = 16  # requests under way at once
WINDOW = 2000  # events in all lines
LINE = MAX_OF_CHAT  # events in one line; others are left in the outbox, so that one busy chat does not fill the window
# While events are many, nudges would cost the writers more than looks into the outbox cost; the more there are, the
# longer is the time between two looks, so that each finds some.
BUSY_RATE, QUIET_RATE = 200, 100  # events a second from and up to which they are many
RATE_SECONDS = 0.1  # for which they are counted, and within which nearly every transaction ends
LEAST_LOOK_SECONDS, MOST_LOOK_SECONDS = 0.002, 0.02
FULL_RATE = 2000  # events a second at which it is the longest
FAILING_LOOK_SECONDS = 0.1  # … while Pusher is away
POLL_SECONDS = 1  # … while there is little: a nudge comes earlier
ACK_SECONDS = 0.02  # after which the outbox is told what is done, if there is nothing else to ask it
CLAIM_SECONDS = 4  # without an answer of the database another listener may lead
LONGEST_PAUSE = 5.0
STRIKES = 5  # failures of one event while others succeed, before it is set aside


def pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row, with jitter."""
    return min(0.1 * 2.0 ** min(failures - 1, 10), LONGEST_PAUSE) * random.uniform(0.5, 1)  # noqa: S311 (no secret)


@dataclass(slots=True, eq=False)
class Line:
    """A chat's events, in order."""

    chat_id: str
    events: deque[Event] = field(default_factory=deque)
    last_id: int = 0
    is_full: bool = False  # some may have been left in the outbox
    alone: int = 0  # so many of the next events go by themselves
    strikes: int = 0
    struck_at: float = 0

    def portion(self, room: int) -> list[Event]:
        """The first events, as many as may share a request with others that leave this room."""
        portion: list[Event] = []
        if not self.alone:
            for event in self.events:
                if len(portion) == room or not event.goes_with_others:
                    break
                portion.append(event)
        return portion


class Relay:
    """What is under way between an outbox and Pusher. `done` are events that the outbox does not know of yet."""

    def __init__(self, pusher: Pusher) -> None:
        self._pusher = pusher
        self._done: list[int] = []
        self._given_up: list[tuple[int, str]] = []
        self._lines: dict[str, Line] = {}
        self._held: set[int] = set()
        self._ready: deque[Line] = deque()
        self._requests: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._outbox: Outbox | None = None
        self._asleep = self._is_busy = False
        self._recent, self._counted_at, self._look_seconds = 0, 0.0, LEAST_LOOK_SECONDS
        self._failures = 0
        self._failed_at = self._succeeded_at = self._paused_until = 0.0
        # Ids. Up to `_after` all is held, or waits for a full line. It stays below `_floor`, the last id a while ago,
        # because ids are given before the commit; what took longer is found when all is looked at, now and then.
        self._after = self._top = self._earlier_top = self._floor = 0
        self._polled_at = 0.0

    def interrupt(self) -> None:
        """Ends a wait."""
        self._changed.set()

    async def run(self, outbox: Outbox, stopping: asyncio.Event) -> None:
        """Publishes what is in the outbox until it is told to stop. Raises what the outbox raises.

        In either case it returns when no request is under way.
        """
        self._outbox, self._asleep, self._polled_at = outbox, False, 0.0
        self._after = self._top = self._earlier_top = self._floor = 0
        # A crash of PostgreSQL may have made forgotten what it was told last. What it was not told yet happened after
        # that, so it is forgotten too: what is published again are then a chat's last events, without a gap.
        self._done.clear()
        await outbox.on_nudge(self.interrupt)
        try:
            while not stopping.is_set():
                self._changed.clear()
                await self._look(outbox)
                await self._wait()
        finally:
            self._outbox = None
            await self._settle()
        await outbox.take(self._done, 0, [], [], 0)
        self._done.clear()

    async def _settle(self) -> None:
        if self._requests:
            await asyncio.wait(self._requests)
        self._lines.clear()
        self._ready.clear()
        self._held.clear()

    # The outbox

    async def _look(self, outbox: Outbox) -> None:
        while self._given_up:
            await outbox.set_aside(*self._given_up[0])
            del self._given_up[0]
        room = WINDOW - len(self._held)
        is_poll = asyncio.get_running_loop().time() - self._polled_at >= POLL_SECONDS
        if not (room or self._done or is_poll):
            return
        taken, are_more = await self._take(outbox, room, is_poll=is_poll)
        self._dispatch()
        is_pressed = are_more or self._failures > 0 or any(line.is_full for line in self._lines.values())
        await self._sleep_or_wake(outbox, is_busy=self._are_many(taken) or is_pressed)

    async def _take(self, outbox: Outbox, room: int, *, is_poll: bool) -> tuple[int, bool]:
        """Puts the next events in their lines; answers how many the outbox gave, and whether there may be more."""
        after, self._after = self._after, sys.maxsize  # which may become less while the outbox is asked
        if is_poll:
            after = 0
            self._polled_at = asyncio.get_running_loop().time()
        done, self._done = self._done, []
        full = [line.chat_id for line in self._lines.values() if line.is_full]
        events, are_more = await outbox.take(done, after, self._held, full, room)
        for event in events:
            self._enqueue(event)
        covered = self._floor
        if are_more:
            covered = min(covered, events[-1].id if events else after)
        self._after = min(self._after, covered)
        return len(events), are_more

    def _are_many(self, taken: int) -> bool:
        self._recent += taken
        now = asyncio.get_running_loop().time()
        if (seconds := now - self._counted_at) >= RATE_SECONDS:
            rate = self._recent / seconds
            self._is_busy = rate > (QUIET_RATE if self._is_busy else BUSY_RATE)
            self._look_seconds = max(LEAST_LOOK_SECONDS, MOST_LOOK_SECONDS * min(rate / FULL_RATE, 1) ** 2)
            self._recent, self._counted_at = 0, now
            self._floor, self._earlier_top = self._earlier_top, self._top
        return self._is_busy or taken >= BATCH

    async def _sleep_or_wake(self, outbox: Outbox, *, is_busy: bool) -> None:
        if is_busy and self._asleep:
            self._asleep = False
            await outbox.wake()
        elif not is_busy and not self._asleep:
            self._asleep = await outbox.sleep()
            if self._asleep:
                self._changed.set()  # for a last look

    async def _wait(self) -> None:
        if not self._asleep:
            await asyncio.sleep(FAILING_LOOK_SECONDS if self._failures else self._look_seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_SECONDS):
                await self._changed.wait()

    def _acknowledge(self) -> None:
        if self._done or self._given_up:
            self._changed.set()

    # Lines

    def _enqueue(self, event: Event) -> None:
        line = self._lines.get(event.chat_id)
        if line is None:
            line = self._lines[event.chat_id] = Line(event.chat_id)
            self._ready.append(line)
        self._top = max(self._top, event.id)
        if not line.is_full:
            line.events.append(event)
            line.last_id = event.id
            line.is_full = len(line.events) >= LINE
            self._held.add(event.id)

    def _leave(self, line: Line, event: Event) -> None:
        """Takes the first event, which is done or given up, off its line."""
        line.events.popleft()
        line.alone = max(0, line.alone - 1)
        self._held.discard(event.id)
        if line.is_full and len(line.events) < LINE // 2:
            line.is_full = False
            self._after = min(self._after, line.last_id)

    def _return(self, line: Line) -> None:
        """Makes a line that was in a request ready again, at the end."""
        if line.events:
            self._ready.append(line)
        else:
            self._lines.pop(line.chat_id, None)

    # Requests

    def _dispatch(self) -> None:
        """Sends as much as may be sent now."""
        loop = asyncio.get_running_loop()
        while self._outbox and self._ready and len(self._requests) < (1 if self._failures else SLOTS):
            now = loop.time()
            if now - self._outbox.answered_at > CLAIM_SECONDS or now < self._paused_until:
                break
            request = loop.create_task(self._send(self._gather()))
            self._requests.add(request)
            request.add_done_callback(self._requests.discard)
            request.add_done_callback(lambda _: self._dispatch())

    def _gather(self) -> list[tuple[Line, list[Event]]]:
        """The next request: lines, each with its events in it."""
        portions: list[tuple[Line, list[Event]]] = []
        room = BATCH
        while self._ready and room:
            line = self._ready[0]
            portion = line.portion(room)
            if not portion and portions:
                break
            self._ready.popleft()
            portions.append((line, portion or [line.events[0]]))
            if not portion:
                break
            room -= len(portion)
        return portions

    async def _send(self, portions: list[tuple[Line, list[Event]]]) -> None:
        events = [event for _, portion in portions for event in portion]
        begun = asyncio.get_running_loop().time()
        try:
            await self._pusher.send(events)
        except RefusedError as error:
            self._note_success()
            self._refuse(portions, str(error))
        except Exception as error:  # whatever it is: no event may be lost, and no chat wait for ever
            if not isinstance(error, FailedError):
                logger.exception("An event could not be sent")
            self._note_failure(begun, error)
            if getattr(error, "is_suspect", True):
                self._suspect(portions, str(error))
        else:
            self._note_success()
            for line, portion in portions:
                line.strikes = 0
                for event in portion:
                    self._leave(line, event)
                    self._done.append(event.id)
        for line, _ in portions:
            self._return(line)
        asyncio.get_running_loop().call_later(ACK_SECONDS, self._acknowledge)

    def _refuse(self, portions: list[tuple[Line, list[Event]]], error: str) -> None:
        (line, portion), *others = portions
        if not others and len(portion) == 1:
            self._give_up(line, error)
        else:
            for line, portion in portions:
                line.alone = len(portion)

    def _suspect(self, portions: list[tuple[Line, list[Event]]], error: str) -> None:
        """Counts a failure against an event that failed by itself, while others succeed."""
        for line, portion in portions:
            line.alone = max(line.alone, len(portion))
            if len(portions) == len(portion) == 1 and (not line.strikes or self._succeeded_at > line.struck_at):
                line.strikes += 1
                line.struck_at = asyncio.get_running_loop().time()
                if line.strikes > STRIKES:
                    line.strikes = 0
                    self._give_up(line, error)

    def _give_up(self, line: Line, error: str) -> None:
        event = line.events[0]
        logger.error("The event %s (%s) is set aside: %s", event.id, event.name, error)
        self._given_up.append((event.id, error))
        self._leave(line, event)

    def _note_success(self) -> None:
        if self._failures:
            logger.warning("Pusher is back")
        self._failures = 0
        self._succeeded_at = asyncio.get_running_loop().time()

    def _note_failure(self, begun: float, error: Exception) -> None:
        loop = asyncio.get_running_loop()
        if begun < self._failed_at:
            return  # it was under way when another one failed, and tells nothing new
        if not self._failures:
            logger.warning("Pusher is away, which is tried again: %s", error)
        self._failures += 1
        self._failed_at = loop.time()
        seconds = pause(self._failures)
        self._paused_until = self._failed_at + seconds
        loop.call_later(seconds + 0.001, self._dispatch)
