"""From the outbox to Pusher: in order within a chat, chats side by side, each event until Pusher took it.

Taken events stand in lines, one for each chat. A request carries the first events of some lines, and those lines wait
for its end, so a chat's events arrive in order, and no chat waits for another. What fails is sent again, after a pause
that grows while nothing succeeds. What Pusher refuses is sent again by itself, so that it is known which event it is,
and that is set aside.
"""

import asyncio
import contextlib
import logging
import math
import random
from collections import Counter, deque
from dataclasses import dataclass, field

from listener.metrics import PUBLISHED, SET_ASIDE
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
PASS_SECONDS = 10  # after which all is looked at again while some chats have more than fits into their lines
ACK_SECONDS = 0.02  # after which the outbox is told what is done, if there is nothing else to ask it
CLAIM_SECONDS = 4  # without an answer of the database another listener may lead
LONGEST_PAUSE = 5.0
WELL_SECONDS = 60  # after a success, for which a refusal is the event's fault and not that of how we are set up
STRIKES, PATIENCE_SECONDS = 5, 30.0  # failures of one event, and for how long, while others succeed


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
    is_placed: bool = False  # it is ready, in a request, or waits after a failure
    alone: int = 0  # so many of the next events go by themselves
    strikes: int = 0
    first_struck_at: float = 0
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

    def strike(self, now: float) -> None:
        """Counts a failure of the first event."""
        if not self.strikes:
            self.first_struck_at = now
        self.strikes += 1
        self.struck_at = now


class Relay:
    """What is under way between an outbox and Pusher.

    `patience` is for how many seconds an event is tried again that fails while others succeed.
    """

    def __init__(self, pusher: Pusher, patience: float = PATIENCE_SECONDS) -> None:
        self._pusher, self._patience = pusher, patience
        self._done: list[int] = []  # events that the outbox does not know of yet
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
        self._failed_at = self._paused_until = 0.0
        self._succeeded_at = -math.inf
        self._start_over()

    def _start_over(self) -> None:
        # Ids. Up to `_after` all is held, or waits for a full line. At the queue's end it stays below `_floor`, the
        # last id a while ago, for ids are given before the commit; what took longer is found by the next pass.
        self._after = self._top = self._earlier_top = self._floor = 0
        self._is_end = True
        self._polled_at = self._passed_at = -math.inf

    @property
    def is_failing(self) -> bool:
        """Whether Pusher did not take what it was asked to last, and is to be asked again."""
        return self._failures > 0 and bool(self._held)

    def interrupt(self) -> None:
        """Ends a wait."""
        self._changed.set()

    async def run(self, outbox: Outbox, stopping: asyncio.Event) -> None:
        """Publishes what is in the outbox until it is told to stop. Raises what the outbox raises.

        In either case it returns when no request is under way.
        """
        self._outbox, self._asleep = outbox, False
        self._start_over()
        # A crash of PostgreSQL may have made forgotten what it was told last. What it was not told yet happened after
        # that, so it is forgotten too: what is published again are then a chat's last events, without a gap.
        self._done.clear()
        self._given_up.clear()
        await outbox.on_nudge(self.interrupt)
        try:
            while not stopping.is_set():
                self._changed.clear()
                await self._look(outbox)
                await self._wait()
            self._outbox = None  # nothing further is sent
            while self._requests:  # and the claim is kept until these have ended
                await asyncio.wait(self._requests, timeout=POLL_SECONDS)
                await self._tell(outbox)
            await self._tell(outbox)
        finally:
            self._outbox = None
            await self._settle()

    async def _settle(self) -> None:
        if self._requests:
            await asyncio.wait(self._requests)
        self._lines.clear()
        self._ready.clear()
        self._held.clear()

    # The outbox

    async def _tell(self, outbox: Outbox) -> None:
        done, self._done = self._done, []
        await outbox.take(done)
        await self._set_aside(outbox)

    async def _set_aside(self, outbox: Outbox) -> None:
        while self._given_up:
            await outbox.set_aside(*self._given_up[0])
            del self._given_up[0]

    async def _look(self, outbox: Outbox) -> None:
        await self._set_aside(outbox)
        now = asyncio.get_running_loop().time()
        room = max(0, WINDOW - len(self._held))
        if not (room or self._done or now - self._polled_at >= POLL_SECONDS):
            return
        self._polled_at = now
        taken = await self._take(outbox, room, now)
        self._dispatch()
        is_pressed = not self._is_end or self._failures > 0 or any(line.is_full for line in self._lines.values())
        await self._sleep_or_wake(outbox, is_busy=self._keep_pace(taken) or is_pressed)

    async def _take(self, outbox: Outbox, room: int, now: float) -> int:
        """Puts the next events in their lines; answers how many there were."""
        full = {line.chat_id: line for line in self._lines.values() if line.is_full}
        hungry = {chat: line.last_id for chat, line in full.items() if room and len(line.events) < LINE // 2}
        after = self._after
        is_due = self._asleep or now - self._passed_at >= (PASS_SECONDS if full else POLL_SECONDS)
        if self._is_end and is_due:
            after, self._passed_at = 0, now
        done, self._done = self._done, []
        taken = await outbox.take(done, after, self._held, full, hungry, room)
        self._is_end = taken.is_end
        self._top = max(self._top, taken.reached)
        self._after = self._floor if taken.is_end else taken.reached
        for event in taken.events:
            self._enqueue(event)
        if taken.is_end:
            got = Counter(event.chat_id for event in taken.events)
            for chat in hungry:
                full[chat].is_full = got[chat] == LINE
                self._forget_if_empty(full[chat])
        return len(taken.events)

    def _keep_pace(self, taken: int) -> bool:
        """Whether events are many; now and then sets how often to look, and from where."""
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
        line.events.append(event)
        line.last_id = event.id
        line.is_full = line.is_full or len(line.events) >= LINE
        self._held.add(event.id)
        if not line.is_placed:
            line.is_placed = True
            self._ready.append(line)

    def _leave(self, line: Line) -> Event:
        """Takes the first event, which is done or given up, off its line."""
        event = line.events.popleft()
        line.alone = max(0, line.alone - 1)
        line.strikes = 0
        self._held.discard(event.id)
        return event

    def _return(self, line: Line) -> None:
        """Makes a line that was in a request ready again, at the end; after a failure of its own, in a while."""
        if line.strikes:
            asyncio.get_running_loop().call_later(pause(line.strikes), self._readmit, line)
        elif line.events:
            self._ready.append(line)
        else:
            line.is_placed = False
            self._forget_if_empty(line)

    def _readmit(self, line: Line) -> None:
        if self._lines.get(line.chat_id) is line:
            self._ready.append(line)
            self._dispatch()

    def _forget_if_empty(self, line: Line) -> None:
        if not (line.events or line.is_placed or line.is_full):
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
        begun = asyncio.get_running_loop().time()
        try:
            is_done = await self._pusher.send([event for _, portion in portions for event in portion])
        except RefusedError as error:
            if self._succeeded_at > begun - WELL_SECONDS or await self._pusher.is_well():
                self._note_success()
                self._refuse(portions, str(error))
            else:
                self._note_failure(begun, error)
        except Exception as error:  # whatever it is: no event may be lost, and no chat wait for ever
            if not isinstance(error, FailedError):
                logger.exception("An event could not be sent")
            self._note_failure(begun, error)
            if getattr(error, "is_suspect", True):
                self._suspect(portions, str(error))
        else:
            self._note_success()
            if is_done:
                done = [self._leave(line) for line, portion in portions for _ in portion]
                self._done += [event.id for event in done]
                for event in done:
                    PUBLISHED.labels(event.name).inc()
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
        (line, portion), *others = portions
        if not others and len(portion) == 1 and (not line.strikes or self._succeeded_at > line.struck_at):
            line.strike(asyncio.get_running_loop().time())
            if line.strikes > STRIKES and line.struck_at - line.first_struck_at > self._patience:
                self._give_up(line, error)

    def _give_up(self, line: Line, error: str) -> None:
        event = self._leave(line)
        logger.error("The event %s (%s) is set aside: %r", event.id, event.name, error)
        self._given_up.append((event.id, error))
        SET_ASIDE.labels(event.name).inc()

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
            logger.warning("Pusher is away, which is tried again: %r", str(error))
        self._failures += 1
        self._failed_at = loop.time()
        seconds = pause(self._failures)
        self._paused_until = self._failed_at + seconds
        loop.call_later(seconds + 0.001, self._dispatch)
