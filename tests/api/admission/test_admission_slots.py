"""How many statements a user, a chat and a kind have in flight: the order of turns, and that no slot is lost."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.admission.statements import Admission
from tests.api.admission.admission_requests import Requests, identity
from tests.api.admission.event_loop import run, settle

pytestmark = pytest.mark.usefixtures("still_clock")


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
