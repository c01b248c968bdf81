"""The pause after a user's expensive request, and pages that count as expensive after a large one."""

import pytest

from api.admission import statements as admission
from api.admission.statements import BYTES_A_SECOND, LARGE_RESPONSE, LARGE_SECONDS, NOTABLE_SECONDS, Admission
from tests.api.admission.admission_requests import Clock, Requests, identity
from tests.api.admission.event_loop import run, settle


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


def test_the_pause_after_a_write_is_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        clock, requests = Clock(monkeypatch), Requests(10)
        first, second = (requests.come("a", is_expensive=True, is_write=True) for _ in range(2))
        await settle()
        requests.end(first)
        await clock.after(0.1)
        other = requests.come("b", is_expensive=True, is_write=True)
        await clock.after(12 * 0.1 - 0.01)
        assert requests.holding == [other]
        await clock.after(0.02)
        assert second in requests.holding
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
