"""How many requests may wait for their slots, and for how long."""

import asyncio
from typing import Any

import pytest

from api.admission import controller as admission
from api.admission.controller import AdmissionController
from api.db.pool import ACQUIRE_TIMEOUT_SECONDS, MAX_WAITING_PER_CONNECTION
from tests.api.admission.admission_requests import Requests, identity
from tests.api.admission.event_loop import run, settle

pytestmark = pytest.mark.usefixtures("stopped_clock")


@pytest.mark.parametrize(
    ("user", "needs", "capacity"),
    [
        ("one user", {}, MAX_WAITING_PER_CONNECTION / 4),
        ("one user", {"is_expensive": True}, MAX_WAITING_PER_CONNECTION / 4),
        ("user {}", {"is_write": True, "chat_id": "chat"}, MAX_WAITING_PER_CONNECTION / 2),
        ("user {}", {"is_write": True}, MAX_WAITING_PER_CONNECTION),
        ("user {}", {"is_expensive": True}, MAX_WAITING_PER_CONNECTION),
    ],
)
def test_request_beyond_the_queue_is_rejected_at_once(user: str, needs: dict[str, Any], capacity: float) -> None:
    async def steps() -> None:
        requests = Requests(1)
        for number in range(int(capacity) + 1):
            requests.add(user.format(number), **needs)
        await settle()
        assert len(requests.waiting) == capacity
        last = requests.add(user.format("last"), **needs)
        with pytest.raises(TimeoutError):
            await requests.tasks[last]
        assert len(requests.waiting) == capacity
        other = requests.add("another user")
        await settle()
        assert other in requests.holding
        requests.tasks[1].cancel()
        await settle()
        assert requests.add(user.format("late"), **needs) not in requests.holding
        await settle()
        assert len(requests.waiting) == capacity
        await requests.end_all()
        requests.check_nothing_is_left()

    run(steps)


def test_one_user_or_chat_leaves_queue_capacity_to_others() -> None:
    async def steps() -> None:
        requests = Requests(1)
        flood = [requests.add("one user") for _ in range(MAX_WAITING_PER_CONNECTION)]
        flood += [requests.add(f"user {n}", is_write=True, chat_id="chat") for n in range(MAX_WAITING_PER_CONNECTION)]
        await settle()
        assert requests.admission.waiting == MAX_WAITING_PER_CONNECTION * 3 / 4
        requests.add("another user")
        late = requests.add("another user")
        await settle()
        assert late in requests.waiting
        await requests.end_all()
        requests.check_nothing_is_left()
        assert (
            len([number for number in flood if number in requests.admitted]) == 2 + MAX_WAITING_PER_CONNECTION * 3 / 4
        )

    run(steps)


def test_request_that_times_out_leaves_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "ACQUIRE_TIMEOUT_SECONDS", 0)

    async def steps() -> None:
        requests = Requests(1)
        requests.add("a")
        await settle()
        late = requests.add("a")
        with pytest.raises(TimeoutError):
            await requests.tasks[late]
        requests.check()
        await requests.end_all()
        requests.check_nothing_is_left()

    run(steps)


def test_rest_of_the_timeout_is_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(admission, "monotonic", lambda: now)
    remaining: list[float] = []

    async def steps() -> None:
        nonlocal now
        controller = AdmissionController(1)

        async def request() -> None:
            async with controller.create_permit(identity("a")) as seconds:
                remaining.append(seconds)
                await settle()

        tasks = [asyncio.create_task(request()) for _ in range(2)]
        await settle(iterations=2)
        now += 2
        await asyncio.wait(tasks)

    run(steps)
    assert remaining == [ACQUIRE_TIMEOUT_SECONDS, ACQUIRE_TIMEOUT_SECONDS - 2]
