"""How many requests wait for a slot, and for how long."""

import asyncio
from typing import Any

import pytest

from api.admission import statements as admission
from api.admission.statements import Admission
from api.db.pool import ACQUIRE_SECONDS, WAITING_FOR_EACH
from tests.api.admission.admission_requests import Requests, identity
from tests.api.admission.event_loop import run, settle

pytestmark = pytest.mark.usefixtures("still_clock")


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
        await settle(turns=2)
        now += 2
        await asyncio.wait(tasks)

    run(steps)
    assert left == [ACQUIRE_SECONDS, ACQUIRE_SECONDS - 2]
