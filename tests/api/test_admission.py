"""How many statements a user, a chat and a kind have in flight: the order of turns, and that no slot is lost."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import admission
from api.admission import (
    BYTES_A_SECOND,
    LARGE_RESPONSE,
    LARGE_SECONDS,
    NOTABLE_SECONDS,
    Admission,
)
from api.database import ACQUIRE_SECONDS, WAITING_FOR_EACH

SECONDS = 20  # that a test may take


def identity(user: str, **claims: str) -> str:
    return json.dumps({"sub": user, **claims})


class Requests:
    """Requests, each a task that holds its turn until it is told to end."""

    def __init__(self, pool_size: int) -> None:
        self.admission = Admission(pool_size)
        self.came: list[int] = []
        self.admitted: list[int] = []
        self.slots: dict[int, tuple[admission.Slot, ...]] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self._ends: dict[int, asyncio.Event] = {}

    def come(self, user: str, **needs: Any) -> int:
        """Starts a request; answers its number."""
        return self.come_as(identity(user), **needs)

    def come_as(self, caller: str, size: int = 0, **needs: Any) -> int:
        number = len(self.came)
        self.came.append(number)
        turn = self.admission.turn(caller, **needs)
        turn.size = size
        self.slots[number] = turn._slots
        self._ends[number] = asyncio.Event()
        self.tasks[number] = asyncio.create_task(self._hold(number, turn))
        return number

    async def _hold(self, number: int, turn: admission.Turn) -> None:
        async with turn:
            self.admitted.append(number)
            await self._ends[number].wait()

    @property
    def holding(self) -> list[int]:
        return [number for number in self.admitted if not self.tasks[number].done()]

    @property
    def waiting(self) -> list[int]:
        return [n for n in self.came if n not in self.admitted and not self.tasks[n].done()]

    def end(self, number: int) -> None:
        self._ends[number].set()

    async def end_all(self) -> None:
        while unfinished := [task for task in self.tasks.values() if not task.done()]:
            for number in self.holding:
                self.end(number)
            await asyncio.wait(unfinished, return_when=asyncio.FIRST_COMPLETED)
            await settle()

    def check(self) -> None:
        """What holds between any two steps, when all tasks wait."""
        held = Counter(slot for number in self.holding for slot in self.slots[number])
        assert self.admission._held == held
        assert all(number <= self.admission.limits[name] for (name, _), number in held.items())
        assert self.admission.waiting == len(self.waiting) == sum(map(len, self.admission._lines.values()))
        for number in self.waiting:  # nobody waits for nothing
            assert any(held[slot] == self.admission.limits[slot[0]] for slot in self.slots[number])

    def check_nothing_is_left(self) -> None:
        assert self.admission._held == {}
        assert self.admission._lines == {}
        assert self.admission._waiting == {}
        assert self.admission.waiting == 0


async def settle(turns: int = 10) -> None:
    """Lets all tasks go on until each waits, or for so many turns of the loop."""
    for _ in range(turns):
        await asyncio.sleep(0)


def run(steps: Callable[[], Coroutine[None, None, None]]) -> None:
    async def within_bounds() -> None:
        async with asyncio.timeout(SECONDS):
            await steps()

    asyncio.run(within_bounds())


@pytest.mark.parametrize(
    ("pool_size", "user", "writes", "expensive"),
    [(1, 1, 1, 1), (2, 1, 1, 1), (3, 2, 2, 1), (5, 3, 4, 2), (10, 5, 8, 5), (20, 10, 16, 10)],
)
def test_the_limits_follow_from_the_pools_size(pool_size: int, user: int, writes: int, expensive: int) -> None:
    assert list(Admission(pool_size).limits.values()) == [user, 2, writes, 1, expensive]


@pytest.mark.parametrize(
    ("needs", "in_flight"),
    [
        ({}, 5),
        ({"is_write": True}, 5),
        ({"is_write": True, "chat_id": "a"}, 2),
        ({"is_expensive": True}, 1),
    ],
)
def test_a_user_has_so_many_in_flight_and_others_go_on(needs: dict[str, Any], in_flight: int) -> None:
    async def steps() -> None:
        requests = Requests(10)
        for _ in range(7):
            requests.come("a", **needs)
        await settle()
        assert requests.holding == list(range(in_flight))
        other = requests.come("b", **{**needs, "chat_id": "b"} if "chat_id" in needs else needs)
        await settle()
        assert other in requests.holding
        requests.check()
        await requests.end_all()
        requests.check_nothing_is_left()
        assert [number for number in requests.admitted if number != other] == list(range(7))

    run(steps)


@pytest.mark.parametrize(
    ("needs", "in_flight"),
    [({"is_write": True}, 8), ({"is_expensive": True}, 5), ({"is_write": True, "chat_id": "a"}, 2)],
)
def test_all_users_together_have_so_many_in_flight_and_reads_go_on(needs: dict[str, Any], in_flight: int) -> None:
    async def steps() -> None:
        requests = Requests(10)
        for number in range(10):
            requests.come(f"user {number}", **needs)
        await settle()
        assert requests.holding == list(range(in_flight))
        read = requests.come("user 9")
        await settle()
        assert read in requests.holding
        await requests.end_all()
        requests.check_nothing_is_left()

    run(steps)


def test_who_waits_for_a_chat_holds_no_slot_of_the_user_or_of_writes() -> None:
    async def steps() -> None:
        requests = Requests(10)
        sends = [requests.come("a", is_write=True, chat_id="locked") for _ in range(12)]
        await settle()
        others = [requests.come("a", is_write=True, chat_id=f"chat {number}") for number in range(3)]
        reads = [requests.come(f"user {number}", is_write=True) for number in range(3)]
        await settle()
        assert requests.holding == [*sends[:2], *others, *reads]
        await requests.end_all()

    run(steps)


def test_who_finds_another_slot_taken_keeps_the_place_of_its_arrival() -> None:
    async def steps() -> None:
        requests = Requests(10)
        in_chat = [requests.come(f"holder {number}", is_write=True, chat_id="chat") for number in range(2)]
        early = requests.come("a", is_write=True, chat_id="chat")
        await settle()
        own = [requests.come("a") for _ in range(5)]
        late = requests.come("a")
        await settle()
        assert requests.waiting == [early, late]
        requests.end(in_chat[0])  # the chat has room now, its user has none
        await settle()
        assert requests.waiting == [early, late]
        requests.end(own[0])
        await settle()
        assert early in requests.holding
        assert requests.waiting == [late]
        await requests.end_all()
        requests.check_nothing_is_left()

    run(steps)


def test_a_user_is_the_same_with_any_token_and_a_session_counts_beside_any_other() -> None:
    async def steps() -> None:
        requests = Requests(1)
        requests.come("a")
        requests.come_as(identity("a", name="Another name"))
        sessions = [json.dumps({"session_digests": digests}) for digests in (["x"], ["stale", "x"], ["y"])]
        x, also_x, y = (requests.come_as(session) for session in sessions)
        await settle()
        assert requests.holding == [0, x, y]
        assert requests.waiting == [1, also_x]
        await requests.end_all()
        nobody = [requests.come_as("{}") for _ in range(3)]  # whom the database refuses
        await settle()
        assert requests.holding == nobody
        await requests.end_all()
        requests.check_nothing_is_left()

    run(steps)


def test_a_chat_is_the_same_in_upper_case() -> None:
    async def steps() -> None:
        requests = Requests(10)
        for chat in ("01900000-aaaa", "01900000-AAAA", "01900000-aAaA"):
            requests.come(f"writer to {chat}", is_write=True, chat_id=chat)
        await settle()
        assert requests.waiting == [2]
        await requests.end_all()

    run(steps)


@pytest.mark.parametrize(
    ("who", "needs", "places"),
    [
        ("one user", {}, WAITING_FOR_EACH / 4),
        ("one user", {"is_expensive": True}, WAITING_FOR_EACH / 4),
        ("user {}", {"is_write": True, "chat_id": "chat"}, WAITING_FOR_EACH / 2),
        ("user {}", {"is_write": True}, WAITING_FOR_EACH),
        ("user {}", {"is_expensive": True}, WAITING_FOR_EACH),
    ],
)
def test_so_many_may_wait_and_the_next_is_refused_at_once(who: str, needs: dict[str, Any], places: float) -> None:
    async def steps() -> None:
        requests = Requests(1)
        for number in range(int(places) + 1):
            requests.come(who.format(number), **needs)
        await settle()
        assert len(requests.waiting) == places
        last = requests.come(who.format("last"), **needs)
        with pytest.raises(TimeoutError):
            await requests.tasks[last]
        assert len(requests.waiting) == places
        other = requests.come("another user")
        await settle()
        assert other in requests.holding
        requests.tasks[1].cancel()
        await settle()
        assert requests.come(who.format("late"), **needs) not in requests.holding
        await settle()
        assert len(requests.waiting) == places
        await requests.end_all()
        requests.check_nothing_is_left()

    run(steps)


def test_one_user_or_chat_leaves_places_to_others() -> None:
    async def steps() -> None:
        requests = Requests(1)
        flood = [requests.come("one user") for _ in range(WAITING_FOR_EACH)]
        flood += [requests.come(f"user {n}", is_write=True, chat_id="chat") for n in range(WAITING_FOR_EACH)]
        await settle()
        assert requests.admission.waiting == WAITING_FOR_EACH * 3 / 4
        requests.come("another user")
        late = requests.come("another user")
        await settle()
        assert late in requests.waiting
        await requests.end_all()
        requests.check_nothing_is_left()
        assert len([number for number in flood if number in requests.admitted]) == 2 + WAITING_FOR_EACH * 3 / 4 - 0

    run(steps)


def test_whose_wait_is_over_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "ACQUIRE_SECONDS", 0)

    async def steps() -> None:
        requests = Requests(1)
        requests.come("a")
        await settle()
        late = requests.come("a")
        with pytest.raises(TimeoutError):
            await requests.tasks[late]
        requests.check()
        await requests.end_all()
        requests.check_nothing_is_left()

    run(steps)


def test_what_is_left_of_the_wait_is_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(admission, "monotonic", lambda: now)
    left: list[float] = []

    async def steps() -> None:
        nonlocal now
        slots = Admission(1)

        async def come() -> None:
            async with slots.turn(identity("a")) as seconds:
                left.append(seconds)
                await settle()

        tasks = [asyncio.create_task(come()) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        now += 2
        await asyncio.wait(tasks)

    run(steps)
    assert left == [ACQUIRE_SECONDS, ACQUIRE_SECONDS - 2]


class Clock:
    """The time of the event loop and of what is tested, which passes when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(admission, "monotonic", lambda: self.now)
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)

    async def after(self, seconds: float) -> None:
        self.now += seconds
        await settle()


@pytest.mark.parametrize(
    ("seconds", "size", "pause"),
    [
        (NOTABLE_SECONDS - 0.01, 0, 0),
        (0.2, 0, 0.6),
        (0, BYTES_A_SECOND // 50, 0),
        (0, BYTES_A_SECOND // 2, 1.5),
        (1.5, 0, 3),
    ],
)
def test_a_user_pauses_after_an_expensive_request_of_notable_cost(
    monkeypatch: pytest.MonkeyPatch, seconds: float, size: int, pause: float
) -> None:
    async def steps() -> None:
        clock, requests = Clock(monkeypatch), Requests(10)
        first = requests.come("a", is_expensive=True, size=size)
        second, third = (requests.come("a", is_expensive=True) for _ in range(2))
        await settle()
        requests.end(first)
        await clock.after(seconds)
        if pause:
            assert requests.holding == []
            others = [requests.come("a"), requests.come("b", is_expensive=True)]
            await clock.after(pause - 0.01)
            assert requests.holding == others
            await clock.after(0.02)
        assert second in requests.holding
        requests.end(second)
        await settle()
        assert third in requests.holding
        await requests.end_all()
        requests.check_nothing_is_left()

    run(steps)


def test_an_ordinary_request_has_no_pause_whatever_it_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        clock, requests = Clock(monkeypatch), Requests(1)
        first, second = (requests.come("a", is_write=True) for _ in range(2))
        nobody = requests.come_as("{}")
        await settle()
        requests.end(first)
        requests.end(nobody)
        await clock.after(0.5)
        assert requests.holding == [second]
        await requests.end_all()
        requests.check_nothing_is_left()

    run(steps)


def test_pages_are_expensive_for_a_while_after_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        clock, requests = Clock(monkeypatch), Requests(10)

        async def count_pages(size: int) -> int:
            first = requests.come("a", is_page=True, size=size)
            await settle()
            requests.end(first)
            await settle()
            pages = [requests.come("a", is_page=True) for _ in range(3)]
            others = [requests.come("a"), *(requests.come("b", is_page=True) for _ in range(3))]
            await settle()
            assert set(others) < set(requests.holding)
            count = len(set(pages) & set(requests.holding))
            await requests.end_all()
            return count

        assert await count_pages(LARGE_RESPONSE) == 3
        assert await count_pages(LARGE_RESPONSE + 1) == 1
        await clock.after(LARGE_SECONDS - 0.1)
        assert await count_pages(0) == 1
        await clock.after(0.2)
        assert await count_pages(0) == 3
        requests.check_nothing_is_left()

    run(steps)


def test_so_many_users_are_remembered_for_a_large_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_LARGE", 2)
    slots = Admission(10)
    for user in ("a", "b", "a", "c"):
        slots.add_large(admission.user_slots(identity(user)))
    assert [whose for _, whose in slots._large] == ["a", "c"]


NEEDS = st.fixed_dictionaries(
    {"is_write": st.booleans(), "is_expensive": st.booleans(), "chat_id": st.sampled_from([None, "a", "b"])}
)
COME = st.tuples(st.just("come"), st.sampled_from(["ada", "bob", "eve"]), NEEDS)
ON_ONE: st.SearchStrategy[tuple[str, int, dict[str, Any]]] = st.tuples(
    st.sampled_from(["end", "cancel"]), st.integers(0, 50), st.just({})
)
STEP = st.tuples(COME | ON_ONE, st.integers(0, 3))  # after which the loop turns so many times


@given(pool_size=st.integers(1, 6), all_settle=st.booleans(), steps=st.lists(STEP, min_size=20, max_size=100))
def test_whatever_comes_ends_and_goes_away_no_limit_is_exceeded_and_nothing_is_left(
    pool_size: int, all_settle: bool, steps: list[tuple[tuple[str, Any, dict[str, Any]], int]]
) -> None:
    """Also between a slot that is given and the task that has not seen it: not all steps wait for all tasks."""

    async def take() -> None:
        requests = Requests(pool_size)
        for (step, whom, needs), turns in steps:
            if step == "come":
                requests.come(whom, **needs)
            elif under_way := [*requests.holding[:1], *requests.waiting, *requests.holding[1:]]:
                number = under_way[whom % len(under_way)]
                requests.end(number) if step == "end" else requests.tasks[number].cancel()
            await settle(10 if all_settle else turns)
            if all_settle:
                requests.check()
        await settle()
        requests.check()
        await requests.end_all()
        requests.check_nothing_is_left()
        for slots in set(requests.slots.values()) if all_settle else ():  # who needs the same is served in turn
            served = [number for number in requests.admitted if requests.slots[number] == slots]
            assert served == sorted(served)

    run(take)
