"""Limits on statements in flight by user, chat and kind; the order of admission; and that no slot is lost."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.admission.controller import AdmissionController
from tests.api.admission.admission_requests import Requests, identity
from tests.api.admission.event_loop import run, settle

pytestmark = pytest.mark.usefixtures("stopped_clock")


@pytest.mark.parametrize(
    ("pool_size", "user", "writes", "expensive"),
    [(1, 1, 1, 1), (2, 1, 1, 1), (3, 2, 2, 1), (5, 3, 4, 2), (10, 5, 8, 5), (20, 10, 16, 10)],
)
def test_limits_depend_on_the_pool_size(pool_size: int, user: int, writes: int, expensive: int) -> None:
    assert list(AdmissionController(pool_size).limits.values()) == [user, 2, writes, 1, expensive]


@pytest.mark.parametrize(
    ("needs", "in_flight"),
    [
        ({}, 5),
        ({"is_write": True}, 5),
        ({"is_write": True, "chat_id": "a"}, 2),
        ({"is_expensive": True}, 1),
    ],
)
def test_requests_in_flight_of_a_user_are_limited(needs: dict[str, Any], in_flight: int) -> None:
    async def steps() -> None:
        requests = Requests(10)
        for _ in range(7):
            requests.add("a", **needs)
        await settle()
        assert requests.holding == list(range(in_flight))
        other = requests.add("b", **{**needs, "chat_id": "b"} if "chat_id" in needs else needs)
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
def test_requests_in_flight_of_all_users_are_limited(needs: dict[str, Any], in_flight: int) -> None:
    async def steps() -> None:
        requests = Requests(10)
        for number in range(10):
            requests.add(f"user {number}", **needs)
        await settle()
        assert requests.holding == list(range(in_flight))
        read = requests.add("user 9")
        await settle()
        assert read in requests.holding
        await requests.end_all()
        requests.check_nothing_is_left()

    run(steps)


def test_waiting_for_a_chat_holds_no_other_slot() -> None:
    async def steps() -> None:
        requests = Requests(10)
        sends = [requests.add("a", is_write=True, chat_id="locked") for _ in range(12)]
        await settle()
        others = [requests.add("a", is_write=True, chat_id=f"chat {number}") for number in range(3)]
        reads = [requests.add(f"user {number}", is_write=True) for number in range(3)]
        await settle()
        assert requests.holding == [*sends[:2], *others, *reads]
        await requests.end_all()

    run(steps)


def test_request_that_changes_queues_keeps_its_order_of_arrival() -> None:
    async def steps() -> None:
        requests = Requests(10)
        in_chat = [requests.add(f"holder {number}", is_write=True, chat_id="chat") for number in range(2)]
        early = requests.add("a", is_write=True, chat_id="chat")
        await settle()
        own = [requests.add("a") for _ in range(5)]
        late = requests.add("a")
        await settle()
        assert requests.waiting == [early, late]
        requests.end(in_chat[0])  # now the chat has a free slot, but the user has none
        await settle()
        assert requests.waiting == [early, late]
        requests.end(own[0])
        await settle()
        assert early in requests.holding
        assert requests.waiting == [late]
        await requests.end_all()
        requests.check_nothing_is_left()

    run(steps)


def test_users_and_sessions_are_identified_by_their_ids() -> None:
    async def steps() -> None:
        requests = Requests(1)
        requests.add("a")
        requests.add_as(identity("a", name="Another name"))
        sessions = [json.dumps({"session_digests": digests}) for digests in (["x"], ["stale", "x"], ["y"])]
        x, also_x, y = (requests.add_as(session) for session in sessions)
        await settle()
        assert requests.holding == [0, x, y]
        assert requests.waiting == [1, also_x]
        await requests.end_all()
        unknown = [requests.add_as("{}") for _ in range(3)]  # the database rejects these
        await settle()
        assert requests.holding == unknown
        await requests.end_all()
        requests.check_nothing_is_left()

    run(steps)


def test_chat_ids_are_case_insensitive() -> None:
    async def steps() -> None:
        requests = Requests(10)
        for chat in ("01900000-aaaa", "01900000-AAAA", "01900000-aAaA"):
            requests.add(f"writer to {chat}", is_write=True, chat_id=chat)
        await settle()
        assert requests.waiting == [2]
        await requests.end_all()

    run(steps)


NEEDS = st.fixed_dictionaries(
    {"is_write": st.booleans(), "is_expensive": st.booleans(), "chat_id": st.sampled_from([None, "a", "b"])}
)
ADD = st.tuples(st.just("add"), st.sampled_from(["ada", "bob", "eve"]), NEEDS)
ON_ONE: st.SearchStrategy[tuple[str, int, dict[str, Any]]] = st.tuples(
    st.sampled_from(["end", "cancel"]), st.integers(0, 50), st.just({})
)
STEP = st.tuples(ADD | ON_ONE, st.integers(0, 3))  # and the number of iterations of the loop after it


@given(pool_size=st.integers(1, 6), all_settle=st.booleans(), steps=st.lists(STEP, min_size=20, max_size=100))
def test_any_sequence_of_requests_respects_the_limits_and_releases_all(
    pool_size: int, all_settle: bool, steps: list[tuple[tuple[str, Any, dict[str, Any]], int]]
) -> None:
    """Some steps do not wait for all tasks, so that a slot may be assigned to a task that has not run yet."""

    async def run_steps() -> None:
        requests = Requests(pool_size)
        for (step, target, needs), iterations in steps:
            if step == "add":
                requests.add(target, **needs)
            elif unfinished := [*requests.holding[:1], *requests.waiting, *requests.holding[1:]]:
                number = unfinished[target % len(unfinished)]
                requests.end(number) if step == "end" else requests.tasks[number].cancel()
            await settle(10 if all_settle else iterations)
            if all_settle:
                requests.check()
        await settle()
        requests.check()
        await requests.end_all()
        requests.check_nothing_is_left()
        for slots in set(requests.slots.values()) if all_settle else ():  # in order of arrival
            admitted = [number for number in requests.admitted if requests.slots[number] == slots]
            assert admitted == sorted(admitted)

    run(run_steps)
