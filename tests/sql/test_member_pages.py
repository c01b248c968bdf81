"""Pages of a chat's members, in the order in which they joined."""

import itertools
from typing import Any

import pytest

from tests.database import Connection, call, expect_error, new_chat
from tests.sql.paging import response_links
from tests.tokens import new_user


@pytest.fixture
def chat(dba: Connection) -> str:
    """A chat of an owner and of m1 to m9, of whom three joined at each time."""
    chat = new_chat(dba, "owner")
    dba.execute("insert into next_auth.users (id) select 'm' || n from generate_series(1, 9) n")
    dba.execute(
        "insert into parley.members (chat_id, user_id, joined_at)"
        " select %s, 'm' || n, now() + (n - 1) / 3 * interval '1 minute' from generate_series(9, 1, -1) n",
        [chat],
    )
    dba.execute(
        "update parley.members set joined_at = now() - interval '1 day' where chat_id = %s and user_id = 'owner'",
        [chat],
    )
    return chat


ORDER = ["owner", *(f"m{n}" for n in range(1, 10))]
NOT_A_MEMBER = "must be the userId of a member"


def list_ids(connection: Connection, chat: str, **query: str) -> list[str]:
    """Return the user ids of a page."""
    return [member["userId"] for member in call(connection, "m5", "list_members", chat, **query)["members"]]


def test_default_page_has_the_first_100_members(dba: Connection, chat: str) -> None:
    page = call(dba, "m5", "list_members", chat)
    assert [member["userId"] for member in page["members"]] == ORDER
    assert {name: page[name] for name in ("total", "page", "limit")} == {"total": 10, "page": 1, "limit": 100}
    assert response_links(dba) == {"first": {}}


@pytest.mark.parametrize("limit", range(1, 12))
def test_links_are_followed_to_the_end_and_back(dba: Connection, chat: str, limit: int) -> None:
    def follow(relation: str, query: dict[str, str]) -> list[list[str]]:
        pages = []
        while True:
            pages.append(list_ids(dba, chat, limit=str(limit), **query))
            links = response_links(dba)
            if relation not in links:
                return pages
            query = links[relation]

    forward = follow("next", {})
    assert list(itertools.chain(*forward)) == ORDER
    assert [len(page) for page in forward[:-1]] == [limit] * (len(forward) - 1)
    backward = follow("prev", {"before": "m9"})
    assert list(itertools.chain(*reversed(backward))) == ORDER[:-1]
    assert [len(page) for page in backward[:-1]] == [limit] * (len(backward) - 1)


@pytest.mark.parametrize("limit", [1, 3, 4, 10, 11])
def test_pages_by_number_are_those_of_the_list(dba: Connection, chat: str, limit: int) -> None:
    for number in range(1, 13):
        page = call(dba, "m5", "list_members", chat, page=str(number), limit=str(limit))
        assert [member["userId"] for member in page["members"]] == ORDER[(number - 1) * limit : number * limit]
        assert (page["total"], page["page"], page["limit"]) == (10, number, limit)
        links = response_links(dba)
        assert ("next" in links) == (number * limit < 10)
        assert ("prev" in links) == (number > 1 and (number - 1) * limit < 10)


@pytest.mark.parametrize("cursor", ORDER)
def test_cursor_is_a_member_before_or_after_whom_the_page_ends_or_begins(
    dba: Connection, chat: str, cursor: str
) -> None:
    position = ORDER.index(cursor)
    assert list_ids(dba, chat, after=cursor, limit="3") == ORDER[position + 1 : position + 4]
    links = response_links(dba)
    rest = ORDER[position + 1 :]
    assert links.get("next") == ({"after": rest[2]} if len(rest) > 3 else None)
    assert links.get("prev") == ({"before": rest[0]} if rest else None)
    assert list_ids(dba, chat, before=cursor, limit="3") == ORDER[max(position - 3, 0) : position]
    links = response_links(dba)
    assert links.get("next") == ({"after": ORDER[position - 1]} if position else None)
    assert links.get("prev") == ({"before": ORDER[position - 3]} if position > 3 else None)
    assert call(dba, "m5", "list_members", chat, before=cursor)["page"] is None


def test_members_who_come_and_go_do_not_move_the_pages_behind_a_cursor(dba: Connection, chat: str) -> None:
    first = list_ids(dba, chat, limit="4")
    call(dba, "owner", "remove_member", chat, "m1")
    call(dba, "newcomer", "get_settings")
    dba.execute(
        "insert into parley.members (chat_id, user_id, joined_at) values (%s, 'newcomer', now() + interval '1 day')",
        [chat],
    )
    assert list_ids(dba, chat, after=first[-1]) == [*ORDER[4:], "newcomer"]
    assert call(dba, "m5", "list_members", chat)["total"] == 10


def test_cursor_of_a_user_who_is_not_a_member_is_an_error(dba: Connection, chat: str) -> None:
    new_chat(dba, "stranger")
    call(dba, "m9", "remove_member", chat, "m9")
    for cursor in ("m9", "stranger", "nobody", "", chat, "M5"):
        for name in ("before", "after"):
            with expect_error(400) as error:
                list_ids(dba, chat, **{name: cursor})
            assert error.fields == {name: NOT_A_MEMBER}
    assert list_ids(dba, chat, after="m8") == []


def test_every_invalid_parameter_is_named(dba: Connection, chat: str) -> None:
    number = "must be a whole number from 1 to 1000"
    for query, fields in (
        ({"limit": "0"}, {"limit": number}),
        ({"limit": "1001"}, {"limit": number}),
        ({"limit": "x", "page": "0"}, {"limit": number, "page": "must be a whole number from 1 to 1000000000"}),
        ({"page": "1", "after": "m1"}, {"page": "cannot be combined with before or after"}),
        ({"before": "m1", "after": "m2"}, {"after": "cannot be combined with before"}),
        (
            {"before": "nobody", "after": "m2", "page": "2", "limit": "-1"},
            {"before": NOT_A_MEMBER, "after": "cannot be combined with before", "limit": number,
             "page": "cannot be combined with before or after"},
        ),
    ):  # fmt: skip
        with expect_error(400) as error:
            list_ids(dba, chat, **query)
        assert error.fields == fields
    for limit in ("1", "1000"):
        assert call(dba, "m5", "list_members", chat, limit=limit)["limit"] == int(limit)


def test_page_has_at_most_1000_members(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    dba.execute("insert into next_auth.users (id) select 'u' || n from generate_series(1, 1500) n")
    dba.execute(
        "insert into parley.members (chat_id, user_id) select %s, 'u' || n from generate_series(1, 1500) n", [chat]
    )
    first = call(dba, "owner", "list_members", chat, limit="1000")
    second = call(dba, "owner", "list_members", chat, limit="1000", **response_links(dba)["next"])
    assert (len(first["members"]), len(second["members"]), second["total"]) == (1000, 501, 1501)
    assert len({member["userId"] for page in (first, second) for member in page["members"]}) == 1501


def test_stranger_and_former_member_get_not_found_whatever_the_cursor(app: Connection) -> None:
    owner, former = new_user(), new_user()
    chat = new_chat(app, owner, former)
    queries: list[dict[str, Any]] = [{}, {"after": owner}, {"before": "nobody"}, {"limit": "0"}]
    call(app, former, "list_members", chat, after=owner)
    call(app, former, "remove_member", chat, former)
    for query in queries:
        for user in (former, new_user()):
            with expect_error(404):
                call(app, user, "list_members", chat, **query)
