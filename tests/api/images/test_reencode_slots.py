"""Fair slots: the waiting user with the least recent usage is next, and no waiter is lost."""

import asyncio

import pytest

from api.http.errors import ApiError
from api.images import reencode_slots
from api.images.reencode_slots import ReencodeSlots
from tests.api.admission.event_loop import run, settle

TIMEOUT_SECONDS = 20  # of each wait for a slot


class Clock:
    """Replaces the clock of the slots; a test advances it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(reencode_slots, "monotonic", clock)
    return clock


class SlotRequests:
    """Requests of users for slots, each a task that holds its slot until end() is called."""

    def __init__(self, slots: int, clock: Clock) -> None:
        self.slots, self._clock = ReencodeSlots(slots), clock
        self.served: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def add(self, *requests: str) -> None:
        """Add requests in this order; each is the name of a user, with a number if the user has several."""
        for request in requests:
            self._ends[request] = asyncio.Event()
            self._tasks[request] = asyncio.create_task(self._use(request))
            await settle()

    async def _use(self, request: str) -> None:
        async with self.slots.acquire(request.split(maxsplit=1)[0], TIMEOUT_SECONDS):
            self.served.append(request)
            await self._ends[request].wait()

    async def end(self, request: str, seconds: float) -> None:
        """End a request that has held its slot for so many seconds."""
        self._clock.now += seconds
        self._ends[request].set()
        await self._tasks[request]
        await settle()

    @property
    def holding(self) -> list[str]:
        """The requests that hold a slot, in the order in which they got it."""
        return [request for request in self.served if not self._tasks[request].done()]

    async def cancel(self, request: str) -> None:
        self._tasks[request].cancel()
        await asyncio.wait([self._tasks[request]])
        await settle()

    async def get_rejection(self, request: str) -> ApiError:
        with pytest.raises(ApiError) as caught:
            await self._tasks[request]
        return caught.value


def test_users_without_usage_are_served_in_order_of_arrival(clock: Clock) -> None:
    async def steps() -> None:
        requests = SlotRequests(2, clock)
        await requests.add("a", "b", "c", "d", "e")
        assert requests.served == ["a", "b"]
        for request in ("b", "a", "c", "d", "e"):
            await requests.end(request, 0)
        assert requests.served == ["a", "b", "c", "d", "e"]

    run(steps)


def test_user_holds_at_most_one_slot(clock: Clock) -> None:
    async def steps() -> None:
        requests = SlotRequests(2, clock)
        await requests.add("a", "a 2", "a 3")
        assert requests.served == ["a"]
        await requests.add("b")
        assert requests.served == ["a", "b"]
        for request in ("a", "a 2", "a 3", "b"):
            await requests.end(request, 1)
        assert requests.served == ["a", "b", "a 2", "a 3"]

    run(steps)


def test_ordinary_user_is_served_before_heavy_ones(clock: Clock) -> None:
    """The number of heavy users, and of the requests of each, does not matter."""

    async def steps() -> None:
        requests = SlotRequests(2, clock)
        heavy = [f"heavy{number}" for number in range(5)]
        await requests.add(*heavy)
        for user in heavy:  # their usage is not known in the first round
            await requests.end(user, 6)
        await requests.add(*(f"{user} {request}" for request in range(3) for user in heavy))
        for number in range(4):
            await requests.add(f"ordinary {number}")
            await requests.end(requests.holding[0], 6)
            assert requests.served[-1] == f"ordinary {number}"
            await requests.end(f"ordinary {number}", 0.1)

    run(steps)


def test_usage_decays(clock: Clock) -> None:
    async def steps() -> None:
        requests = SlotRequests(1, clock)
        for user, seconds in (("heavy", 6), ("light", 1)):
            await requests.add(user)
            await requests.end(user, seconds)
        clock.now += 10 * reencode_slots.HALF_LIFE_SECONDS
        await requests.add("light 2")
        await requests.end("light 2", 1)
        await requests.add("other", "light 3", "heavy 2")
        await requests.end("other", 1)
        assert requests.served[-1] == "heavy 2"
        await requests.end("heavy 2", 0)
        await requests.end("light 3", 0)

    run(steps)


def test_cancelled_waiters_are_skipped(clock: Clock) -> None:
    async def steps() -> None:
        requests = SlotRequests(1, clock)
        await requests.add("a", "b", "b 2", "c", "d")
        for request in ("b", "c", "b 2"):
            await requests.cancel(request)
        await requests.end("a", 1)
        assert requests.served == ["a", "d"]
        await requests.cancel("d")
        await requests.add("b 3")
        assert requests.served == ["a", "d", "b 3"]
        await requests.end("b 3", 1)

    run(steps)


def test_slot_assigned_just_before_a_cancellation_is_passed_on(clock: Clock) -> None:
    async def steps() -> None:
        requests = SlotRequests(1, clock)
        await requests.add("a", "b", "c")
        loop = asyncio.get_running_loop()
        loop.call_soon(requests.slots._release, "a")  # the slot is assigned to b, whose task has not run yet
        loop.call_soon(requests._tasks["b"].cancel)
        await settle()
        assert requests.served == ["a", "c"]

    run(steps)


def test_slot_is_not_assigned_to_a_cancelled_waiter(clock: Clock) -> None:
    async def steps() -> None:
        requests = SlotRequests(1, clock)
        await requests.add("a", "b", "c")
        loop = asyncio.get_running_loop()
        loop.call_soon(requests._tasks["b"].cancel)
        loop.call_soon(requests.slots._release, "a")
        await settle()
        assert requests.served == ["a", "c"]

    run(steps)


def test_last_waiter_in_the_order_of_service_is_rejected_beyond_the_limit(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencode_slots, "MAX_WAITING", 4)

    async def steps() -> None:
        requests = SlotRequests(1, clock)
        await requests.add("heavy")
        await requests.end("heavy", 6)
        await requests.add("holder", "heavy 2", "a", "b", "b 2")
        assert not any(task.done() for request, task in requests._tasks.items() if request != "heavy")
        await requests.add("c")  # has less usage than heavy
        assert (await requests.get_rejection("heavy 2")).status == 503
        await requests.add("d")  # has fewer requests than b
        assert (await requests.get_rejection("b 2")).status == 503
        await requests.add("e")  # the last of equals
        assert (await requests.get_rejection("e")).status == 503
        for request in ("holder", "a", "b", "c", "d"):
            await requests.end(request, 0)
        assert requests.served == ["heavy", "holder", "a", "b", "c", "d"]

    run(steps)


def test_waiter_is_rejected_after_its_timeout(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        requests = SlotRequests(1, clock)
        await requests.add("a")
        monkeypatch.setattr("tests.api.images.test_reencode_slots.TIMEOUT_SECONDS", 0.01)
        await requests.add("b")
        assert (await requests.get_rejection("b")).status == 503
        await requests.end("a", 1)
        await requests.add("c")
        assert requests.served == ["a", "c"]
        await requests.end("c", 1)

    run(steps)


def test_usage_is_recorded_for_a_limited_number_of_users(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reencode_slots, "MAX_USERS", 2)
    usage = reencode_slots.RecentUsage()
    for user in ("a", "b", "a", "c"):
        usage.add(user, 2)
    assert [usage.get(user) for user in ("a", "b", "c", "d")] == [4, 0, 2, 0]
    clock.now += reencode_slots.HALF_LIFE_SECONDS
    assert usage.get("a") == 2
