"""A chat is created with its members, or not at all."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.database import Connection, call, expect_error, new_chat
from tests.sql.sessions import connect_autocommit, is_waiting
from tests.tokens import new_user
from tests.waiting import wait_until

SHAPE = "must be a user id, or an object with either userId or email"
UNKNOWN = "is not a known user"


def register(connection: Connection, *users: str) -> None:
    """Register users, with an e-mail address each."""
    for user in users:
        call(connection, user, "update_profile", {"email": f"{user}@example.org"})


def count_chats(connection: Connection, user: str) -> Any:
    """Return the number of chats of a user."""
    return call(connection, user, "list_chats")["total"]


def test_chat_is_created_with_members_by_id_and_by_address(app: Connection) -> None:
    owner, first, second, third = (new_user() for _ in range(4))
    register(app, owner, first, second, third)
    members = [first, {"userId": second}, {"email": f"{third.upper()}@Example.org"}]
    created = call(app, owner, "create_chat", {"title": "Plans", "members": members})
    assert list(created) == ["id", "title", "createdAt"]
    listed = call(app, owner, "list_members", created["id"])["members"]
    roles = {member["userId"]: member["role"] for member in listed}
    assert roles == {owner: "owner"} | dict.fromkeys((first, second, third), "member")
    for user in (first, second, third):
        assert call(app, user, "get_chat", created["id"])["role"] == "member"


def test_each_member_of_a_new_chat_has_an_event(dba: Connection) -> None:
    register(dba, "owner", "ann", "ben")
    chat = call(dba, "owner", "create_chat", {"title": "Plans", "members": ["ben", "ann"]})["id"]
    query = "select seq, event, payload #>> '{}' from parley.outbox where chat_id = %s order by seq"
    expected = [(1, "member:added", "owner"), (2, "member:added", "ann"), (3, "member:added", "ben")]
    assert dba.execute(query, [chat]).fetchall() == expected


def test_repeated_users_and_the_caller_are_ignored(app: Connection) -> None:
    owner, user = new_user(), new_user()
    register(app, owner, user)
    members = [user, owner, {"email": f"{user}@example.org"}, user, {"email": f"{owner}@example.org"}]
    chat = call(app, owner, "create_chat", {"title": "Plans", "members": members})["id"]
    listed = call(app, owner, "list_members", chat)["members"]
    assert {member["userId"]: member["role"] for member in listed} == {owner: "owner", user: "member"}
    for empty in ([], [owner]):
        chat = call(app, owner, "create_chat", {"title": "Plans", "members": empty})["id"]
        assert call(app, owner, "list_members", chat)["total"] == 1


def test_one_unknown_member_of_a_hundred_rejects_all(app: Connection) -> None:
    owner = new_user()
    users = [new_user() for _ in range(99)]
    for user in users:
        call(app, user, "get_settings")
    body = {"title": "Plans", "members": [*users[:57], "nobody", *users[57:]]}
    with expect_error(400) as error:
        call(app, owner, "create_chat", body)
    assert error.fields == {"members[57]": UNKNOWN}
    assert (count_chats(app, owner), count_chats(app, users[0])) == (0, 0)
    call(app, owner, "create_chat", {"title": "Plans", "members": [*users, users[0]]})
    assert (count_chats(app, owner), count_chats(app, users[98])) == (1, 1)


def test_every_invalid_entry_and_field_is_named_at_once(app: Connection) -> None:
    user = new_user()
    register(app, user)
    entries = {
        "members[1]": (5, SHAPE),
        "members[2]": (None, SHAPE),
        "members[3]": ([user], SHAPE),
        "members[4]": ({}, SHAPE),
        "members[5]": ({"userId": user, "email": f"{user}@example.org"}, SHAPE),
        "members[6]": ({"userId": user, "role": "owner"}, SHAPE),
        "members[7]": ({"id": user}, SHAPE),
        "members[8]": ("", "must be 1 to 255 characters"),
        "members[9]": ("x" * 256, "must be 1 to 255 characters"),
        "members[10]": ({"userId": 5}, "must be a string"),
        "members[11]": ({"email": None}, "must be a string"),
        "members[12]": ({"email": "ada"}, "must be an e-mail address, like ada@example.org"),
        "members[13]": ({"email": "nobody@example.org"}, UNKNOWN),
        "members[14]": (f"{user}@example.org", UNKNOWN),
    }
    body = {"title": "", "x": 1, "members": [user, *(entry for entry, _ in entries.values()), user]}
    with expect_error(400) as error:
        call(app, user, "create_chat", body)
    fields = {"title": "must be 1 to 200 characters", "x": "is not a known field"}
    assert error.fields == fields | {name: text for name, (_, text) in entries.items()}
    assert count_chats(app, user) == 0


@pytest.mark.parametrize(
    ("members", "error"),
    [
        (None, "must be an array"), ("bob", "must be an array"), ({"userId": "bob"}, "must be an array"),
        (["bob"] * 101, "must have at most 100 entries"), (True, "must be an array"),
    ],
)  # fmt: skip
def test_members_are_an_array_of_at_most_100(app: Connection, members: Any, error: str) -> None:
    with expect_error(400) as caught:
        call(app, new_user(), "create_chat", {"title": "Plans", "members": members})
    assert caught.fields == {"members": error}


def test_chat_with_too_many_members_is_not_created(dba: Connection) -> None:
    dba.execute("update parley.limits set members_per_chat = 3")
    register(dba, "owner", "ann", "ben", "cem")
    before = count_chats(dba, "owner")
    with expect_error(409) as error:
        call(dba, "owner", "create_chat", {"title": "Plans", "members": ["ann", "ben", "cem"]})
    assert error.message.startswith("The chat is full.")
    assert count_chats(dba, "owner") == before
    call(dba, "owner", "create_chat", {"title": "Plans", "members": ["ann", "ben", "owner", "ann"]})
    assert count_chats(dba, "owner") == before + 1


# Concurrent deletion of an account


@pytest.fixture(scope="module")
def url(postgres: Postgres, new_database: Callable[[str], str]) -> str:
    """The URL of a database of this file, as a superuser."""
    return postgres.url(new_database("parley_new_chat_members"))


@pytest.mark.parametrize("function", ["create_chat", "add_member"])
@pytest.mark.parametrize("is_rolled_back", [False, True])
def test_addition_waits_for_the_deletion_of_the_user(url: str, function: str, is_rolled_back: bool) -> None:
    user, deleted = new_user(), new_user()
    with connect_autocommit(url) as first, connect_autocommit(url) as second, ThreadPoolExecutor(1) as thread:
        chat = new_chat(first, user)
        register(first, deleted)
        arguments: list[Any] = [{"title": "Plans", "members": [{"email": f"{deleted}@example.org"}]}]
        if function == "add_member":
            arguments = [chat, {"userId": deleted}]
        with first.transaction(force_rollback=is_rolled_back):
            first.execute("delete from next_auth.users where id = %s", [deleted])
            adding = thread.submit(call, second, user, function, *arguments)
            wait_until(lambda: is_waiting(first, second))
        error = adding.exception()
        if is_rolled_back:
            assert error is None
            assert count_chats(first, deleted) == 1
        else:
            assert isinstance(error, psycopg.Error)
            assert error.sqlstate == "PT400"
            assert first.execute("select from parley.members where user_id = %s", [deleted]).rowcount == 0
            assert count_chats(first, user) == 1


def test_deletion_of_a_user_waits_for_the_chat_that_they_are_added_to(url: str) -> None:
    user, deleted = new_user(), new_user()
    with connect_autocommit(url) as first, connect_autocommit(url) as second, ThreadPoolExecutor(1) as thread:
        register(first, deleted)
        with first.transaction():
            chat = call(first, user, "create_chat", {"title": "Plans", "members": [deleted]})["id"]
            deleting = thread.submit(second.execute, "delete from next_auth.users where id = %s", [deleted])
            wait_until(lambda: is_waiting(first, second))
            assert call(first, user, "list_members", chat)["total"] == 2
        assert deleting.result(15).rowcount == 1
        assert [member["userId"] for member in call(first, user, "list_members", chat)["members"]] == [user]
