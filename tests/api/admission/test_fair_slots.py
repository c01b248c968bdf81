"""Slots that users share: who has used them least lately is next, and no place in the line is lost."""

import asyncio

import pytest

from api.admission import fair_slots
from api.admission.fair_slots import FairSlots
from api.http.errors import ApiError
from tests.api.admission.event_loop import run, settle

SECONDS = 20  # that a test may wait


class Clock:
    """The time that the slots see, which passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(fair_slots, "monotonic", clock)
    return clock


class Users:
    """Users of slots, each of whose turns is a task that holds its slot until it is told to end."""

    def __init__(self, slots: int, clock: Clock) -> None:
        self.slots, self._clock = FairSlots(slots), clock
        self.served: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, *turns: str) -> None:
        """Has users wait in this order; `turn` is a user, and a number where the user has several."""
        for turn in turns:
            self._ends[turn] = asyncio.Event()
            self._tasks[turn] = asyncio.create_task(self._use(turn))
            await settle()

    async def _use(self, turn: str) -> None:
        async with self.slots.slot(turn.split(maxsplit=1)[0], SECONDS):
            self.served.append(turn)
            await self._ends[turn].wait()

    async def end(self, turn: str, seconds: float) -> None:
        """Ends a turn that took so long."""
        self._clock.now += seconds
        self._ends[turn].set()
        await self._tasks[turn]
        await settle()

    @property
    def holding(self) -> list[str]:
        """The turns that hold a slot, the one that has held it the longest first."""
        return [turn for turn in self.served if not self._tasks[turn].done()]

    async def leave(self, turn: str) -> None:
        self._tasks[turn].cancel()
        await asyncio.wait([self._tasks[turn]])
        await settle()

    async def refusal_of(self, turn: str) -> ApiError:
        with pytest.raises(ApiError) as caught:
            await self._tasks[turn]
        return caught.value


def test_who_has_used_nothing_is_served_in_turn(clock: Clock) -> None:
    async def steps() -> None:
        users = Users(2, clock)
        await users.come("a", "b", "c", "d", "e")
        assert users.served == ["a", "b"]
        for turn in ("b", "a", "c", "d", "e"):
            await users.end(turn, 0)
        assert users.served == ["a", "b", "c", "d", "e"]

    run(steps)


def test_a_user_has_one_slot_also_while_another_is_free(clock: Clock) -> None:
    async def steps() -> None:
        users = Users(2, clock)
        await users.come("a", "a 2", "a 3")
        assert users.served == ["a"]
        await users.come("b")
        assert users.served == ["a", "b"]
        for turn in ("a", "a 2", "a 3", "b"):
            await users.end(turn, 1)
        assert users.served == ["a", "b", "a 2", "a 3"]

    run(steps)


def test_beside_heavy_users_an_ordinary_one_is_next(clock: Clock) -> None:
    """However many they are, and however many turns each of them waits for."""

    async def steps() -> None:
        users = Users(2, clock)
        heavy = [f"heavy{number}" for number in range(5)]
        await users.come(*heavy)
        for user in heavy:  # in the first round nobody knows
            await users.end(user, 6)
        await users.come(*(f"{user} {turn}" for turn in range(3) for user in heavy))
        for number in range(4):
            await users.come(f"ordinary {number}")
            await users.end(users.holding[0], 6)
            assert users.served[-1] == f"ordinary {number}"
            await users.end(f"ordinary {number}", 0.1)

    run(steps)


def test_what_was_used_is_forgotten(clock: Clock) -> None:
    async def steps() -> None:
        users = Users(1, clock)
        for user, seconds in (("heavy", 6), ("light", 1)):
            await users.come(user)
            await users.end(user, seconds)
        clock.now += 10 * fair_slots.HALF_LIFE
        await users.come("light 2")
        await users.end("light 2", 1)
        await users.come("other", "light 3", "heavy 2")
        await users.end("other", 1)
        assert users.served[-1] == "heavy 2"
        await users.end("heavy 2", 0)
        await users.end("light 3", 0)

    run(steps)


def test_who_leaves_the_line_is_passed_over(clock: Clock) -> None:
    async def steps() -> None:
        users = Users(1, clock)
        await users.come("a", "b", "b 2", "c", "d")
        for turn in ("b", "c", "b 2"):
            await users.leave(turn)
        await users.end("a", 1)
        assert users.served == ["a", "d"]
        await users.leave("d")
        await users.come("b 3")
        assert users.served == ["a", "d", "b 3"]
        await users.end("b 3", 1)

    run(steps)


def test_a_slot_that_comes_when_its_user_has_just_left_is_passed_on(clock: Clock) -> None:
    async def steps() -> None:
        users = Users(1, clock)
        await users.come("a", "b", "c")
        loop = asyncio.get_running_loop()
        loop.call_soon(users.slots._release, "a")  # b has the slot, but has not seen that yet
        loop.call_soon(users._tasks["b"].cancel)
        await settle()
        assert users.served == ["a", "c"]

    run(steps)


def test_a_slot_is_not_given_to_who_is_about_to_leave(clock: Clock) -> None:
    async def steps() -> None:
        users = Users(1, clock)
        await users.come("a", "b", "c")
        loop = asyncio.get_running_loop()
        loop.call_soon(users._tasks["b"].cancel)
        loop.call_soon(users.slots._release, "a")
        await settle()
        assert users.served == ["a", "c"]

    run(steps)


def test_so_many_wait_and_whose_turn_would_come_last_is_refused(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_slots, "MAX_WAITING", 4)

    async def steps() -> None:
        users = Users(1, clock)
        await users.come("heavy")
        await users.end("heavy", 6)
        await users.come("holder", "heavy 2", "a", "b", "b 2")
        assert not any(task.done() for turn, task in users._tasks.items() if turn != "heavy")
        await users.come("c")  # before who has used the most
        assert (await users.refusal_of("heavy 2")).status == 503
        await users.come("d")  # before who waits for the most turns
        assert (await users.refusal_of("b 2")).status == 503
        await users.come("e")  # of equals the last
        assert (await users.refusal_of("e")).status == 503
        for turn in ("holder", "a", "b", "c", "d"):
            await users.end(turn, 0)
        assert users.served == ["heavy", "holder", "a", "b", "c", "d"]

    run(steps)


def test_who_waits_for_too_long_is_refused(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        users = Users(1, clock)
        await users.come("a")
        monkeypatch.setattr("tests.api.admission.test_fair_slots.SECONDS", 0.01)
        await users.come("b")
        assert (await users.refusal_of("b")).status == 503
        await users.end("a", 1)
        await users.come("c")
        assert users.served == ["a", "c"]
        await users.end("c", 1)

    run(steps)


def test_the_time_of_so_many_users_is_remembered(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_slots, "MAX_USERS", 2)
    used = fair_slots.UsedTime()
    for user in ("a", "b", "a", "c"):
        used.add(user, 2)
    assert [used.of(user) for user in ("a", "b", "c", "d")] == [4, 0, 2, 0]
    clock.now += fair_slots.HALF_LIFE
    assert used.of("a") == 2
