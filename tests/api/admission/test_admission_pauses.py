"""The pause after a user's expensive request, and pages that count as expensive after a large one."""

import pytest

from api.admission import controller as admission
from api.admission.controller import (
    BYTES_PER_SECOND_OF_COST,
    COST_THRESHOLD_SECONDS,
    LARGE_PAGE_BYTES,
    LARGE_PAGE_SECONDS,
    AdmissionController,
)
from tests.api.admission.admission_requests import Clock, Requests, identity
from tests.api.admission.event_loop import run, settle


@pytest.mark.parametrize(
    ("seconds", "size", "pause"),
    [
        (COST_THRESHOLD_SECONDS - 0.01, 0, 0),
        (0.2, 0, 0.6),
        (0, BYTES_PER_SECOND_OF_COST // 50, 0),
        (0, BYTES_PER_SECOND_OF_COST // 2, 1.5),
        (1.5, 0, 3),
    ],
)
def test_user_pauses_after_an_expensive_request_of_considerable_cost(
    monkeypatch: pytest.MonkeyPatch, seconds: float, size: int, pause: float
) -> None:
    async def steps() -> None:
        clock, requests = Clock(monkeypatch), Requests(10)
        first = requests.add("a", is_expensive=True, size=size)
        second, third = (requests.add("a", is_expensive=True) for _ in range(2))
        await settle()
        requests.end(first)
        await clock.advance(seconds)
        if pause:
            assert requests.holding == []
            others = [requests.add("a"), requests.add("b", is_expensive=True)]
            await clock.advance(pause - 0.01)
            assert requests.holding == others
            await clock.advance(0.02)
        assert second in requests.holding
        requests.end(second)
        await settle()
        assert third in requests.holding
        await requests.end_all()
        requests.check_nothing_is_left()

    run(steps)


def test_pause_after_a_write_is_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        clock, requests = Clock(monkeypatch), Requests(10)
        first, second = (requests.add("a", is_expensive=True, is_write=True) for _ in range(2))
        await settle()
        requests.end(first)
        await clock.advance(0.1)
        other = requests.add("b", is_expensive=True, is_write=True)
        await clock.advance(12 * 0.1 - 0.01)
        assert requests.holding == [other]
        await clock.advance(0.02)
        assert second in requests.holding
        await requests.end_all()
        requests.check_nothing_is_left()

    run(steps)


def test_ordinary_request_causes_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        clock, requests = Clock(monkeypatch), Requests(1)
        first, second = (requests.add("a", is_write=True) for _ in range(2))
        unknown = requests.add_as("{}")
        await settle()
        requests.end(first)
        requests.end(unknown)
        await clock.advance(0.5)
        assert requests.holding == [second]
        await requests.end_all()
        requests.check_nothing_is_left()

    run(steps)


def test_pages_are_expensive_for_a_time_after_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        clock, requests = Clock(monkeypatch), Requests(10)

        async def count_pages(size: int) -> int:
            first = requests.add("a", is_page=True, size=size)
            await settle()
            requests.end(first)
            await settle()
            pages = [requests.add("a", is_page=True) for _ in range(3)]
            others = [requests.add("a"), *(requests.add("b", is_page=True) for _ in range(3))]
            await settle()
            assert set(others) < set(requests.holding)
            count = len(set(pages) & set(requests.holding))
            await requests.end_all()
            return count

        assert await count_pages(LARGE_PAGE_BYTES) == 3
        assert await count_pages(LARGE_PAGE_BYTES + 1) == 1
        await clock.advance(LARGE_PAGE_SECONDS - 0.1)
        assert await count_pages(0) == 1
        await clock.advance(0.2)
        assert await count_pages(0) == 3
        requests.check_nothing_is_left()

    run(steps)


def test_large_pages_are_recorded_for_a_limited_number_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_LARGE_PAGE_USERS", 2)
    controller = AdmissionController(10)
    for user in ("a", "b", "a", "c"):
        controller.record_large_page(admission.get_user_slots(identity(user)))
    assert [whose for _, whose in controller._expensive_pages_until] == ["a", "c"]
