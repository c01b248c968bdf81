"""Inactive chats are purged in batches: at once for their members, message by message in storage."""

import json
import os
import re
import subprocess

import psycopg
import pytest
from psycopg import sql

from api.dev.postgres import Postgres
from tests import ROOT
from tests.database import Connection, call, expect_error
from tests.sql.inactive_chats import MOST_CHATS, NOTHING, WAYS, arguments, last_message, left, old_chat, remove
from tests.sql.outbox import events

pytestmark = pytest.mark.usefixtures("no_leftovers")


def test_a_chat_is_gone_for_its_members_at_once_and_its_messages_follow(dba: Connection) -> None:
    chat = old_chat(dba, "owner", "member", messages=25)
    message = last_message(dba, chat)
    call(dba, "newcomer", "list_chats")

    def seen(user: str) -> list[int]:
        return [
            call(dba, user, "list_chats")["total"],
            call(dba, user, "search", search="needle")["total"],
            call(dba, user, "search", search="needle", sort="relevance")["total"],
        ]

    channel = ("authorize_channel", "1.2", f"private-chat-{chat}")
    assert (seen("owner"), seen("member")) == ([1, 25, 25], [1, 25, 25])
    assert call(dba, "member", *channel)
    assert remove(dba, 10) == 10
    assert left(dba, chat) == NOTHING | {"chats": 1, "messages": 15, "message_words": 15}
    assert (seen("owner"), seen("member")) == ([0, 0, 0], [0, 0, 0])
    for user in ("owner", "member"):
        for name in WAYS:
            with expect_error(404):
                call(dba, user, name, *arguments(name, chat, message))
        with expect_error(403):
            call(dba, user, *channel)
    assert [remove(dba, 10), remove(dba, 10), remove(dba, 10)] == [10, 5 + 1, 0]
    assert left(dba, chat) == NOTHING
    assert events(dba, chat) == [("chat:deleted", chat)]
    row = dba.execute("select recipients from parley.outbox where chat_id = %s", [chat]).fetchone()
    assert row is not None
    assert sorted(row[0]) == ["member", "owner"]


def test_each_of_these_ways_works_in_a_chat_that_is_not_removed(dba: Connection) -> None:
    for name in WAYS:
        chat = old_chat(dba, "owner", "member", messages=1)
        call(dba, "newcomer", "list_chats")
        call(dba, "owner", name, *arguments(name, chat, last_message(dba, chat)))


def test_plain_sql_as_the_api_sees_nothing_of_it_either(dba: Connection) -> None:
    chat = old_chat(dba, "owner", messages=3)
    statements = [
        "select from parley.chats where id = {chat}",
        "select from parley.messages where chat_id = {chat}",
        "update parley.chats set title = 'mine' where id = {chat}",
        "update parley.messages set content = 'mine' where chat_id = {chat}",
        "delete from parley.messages where chat_id = {chat}",
        "delete from parley.chats where id = {chat}",
    ]

    def touched() -> list[int]:
        counts = []
        for statement in statements:
            with dba.transaction(force_rollback=True):
                dba.execute("select session.authenticate(%s)", [json.dumps({"sub": "owner"})])
                dba.execute("select set_config('parley.selected_chat', %s, true)", [chat])
                dba.execute("set local role app")
                counts.append(dba.execute(sql.SQL(statement).format(chat=sql.Literal(chat))).rowcount)
        return counts

    assert touched() == [1, 3, 1, 3, 3, 1]
    remove(dba, 1)
    assert touched() == [0, 0, 0, 0, 0, 0]


def test_blocks_of_messages_go_with_the_chat(dba: Connection) -> None:
    chat = old_chat(dba, "owner", messages=2300)
    assert remove(dba, 700) == 700
    assert left(dba, chat) == NOTHING | {"chats": 1, "messages": 1600, "message_words": 1600, "message_blocks": 2}
    assert [remove(dba, 1599), remove(dba, 1), remove(dba)] == [1599, 1 + 1, 0]
    assert left(dba, chat) == NOTHING


@pytest.mark.parametrize("messages", [0, 1])
def test_old_is_what_had_its_last_activity_before_that(dba: Connection, messages: int) -> None:
    chat = old_chat(dba, "owner", messages=messages, age="1 year 00:00:00.002")
    younger = old_chat(dba, "owner", messages=messages, age="1 year -00:00:00.002")
    assert remove(dba) == messages + 1
    assert (left(dba, chat)["chats"], left(dba, younger)["chats"]) == (0, 1)
    assert remove(dba) == 0
    assert remove(dba, inactive_for="364 days") == messages + 1
    assert left(dba, younger) == NOTHING


def test_a_chat_with_a_new_message_is_not_old_and_one_with_new_members_is(dba: Connection) -> None:
    used, unused = old_chat(dba, "owner", messages=3), old_chat(dba, "owner", messages=3)
    call(dba, "owner", "send_message", used, {"content": "Anybody there?"})
    call(dba, "member", "list_chats")
    call(dba, "owner", "add_member", unused, {"userId": "member"})
    assert [remove(dba), remove(dba)] == [3 + 1, 0]
    assert (left(dba, used)["messages"], left(dba, unused)) == (4, NOTHING)


def test_a_call_touches_so_many_messages_and_chats_and_the_longest_unused_first(dba: Connection) -> None:
    chats = [old_chat(dba, "owner", messages=4, age=f"{years} years") for years in (2, 4, 3)]
    assert remove(dba, 5) == 5 + 1
    assert [left(dba, chat)["messages"] for chat in chats] == [4, 0, 3]
    assert remove(dba, 7) == 7 + 2
    for _ in range(MOST_CHATS + 1):
        old_chat(dba, "owner")
    assert [remove(dba), remove(dba), remove(dba)] == [MOST_CHATS, 1, 0]


@pytest.mark.parametrize(
    ("inactive_for", "max_messages", "said"),
    [
        (None, 1, "inactive_for must be"),
        ("0", 1, "inactive_for must be"),
        ("-1 day", 1, "inactive_for must be"),
        ("1 month -40 days", 1, "inactive_for must be"),
        ("1 year", None, "max_messages must be"),
        ("1 year", 0, "max_messages must be"),
        ("1 year", -1, "max_messages must be"),
    ],
)
def test_bad_arguments_are_refused(
    dba: Connection, inactive_for: str | None, max_messages: int | None, said: str
) -> None:
    chat = old_chat(dba, "owner")
    call_with = "select parley.purge_inactive_chats(%s::interval, %s)"
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=said), dba.transaction():
        dba.execute(call_with, [inactive_for, max_messages])
    assert left(dba, chat)["chats"] == 1
    assert dba.execute(call_with, ["1 year", 1]).fetchone() == (1,)


@pytest.mark.parametrize("role", ["parley_api", "parley_listener", "parley_web", "parley_analyst"])
def test_no_role_of_ours_removes_anything(dba: Connection, role: str) -> None:
    chat = old_chat(dba, "owner", messages=1)
    attempts = (
        "select parley.purge_inactive_chats('1 year')",
        "select parley.begin_removal_of_inactive_chats('ffffffff-ffff-ffff-ffff-ffffffffffff', 100)",
        "update parley.chats set is_being_removed = true",
        "insert into parley.chats (title, owner_id, is_being_removed) values ('x', null, true)",
    )
    with dba.transaction():
        dba.execute("select set_config('parley.user_id', 'owner', true)")
        dba.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
        for attempt in attempts:
            with pytest.raises(psycopg.errors.InsufficientPrivilege), dba.transaction():
                dba.execute(attempt)
        dba.execute("reset role")
    assert left(dba, chat) | {"message_blocks": 0} == NOTHING | {
        "chats": 1, "members": 1, "messages": 1, "message_words": 1,
    }  # fmt: skip
    for attempt in attempts:
        with dba.transaction(force_rollback=True):
            assert dba.execute(attempt).rowcount >= 1


def test_a_chat_that_is_being_removed_takes_neither_members_nor_messages_and_tells_nothing(dba: Connection) -> None:
    chat = old_chat(dba, "owner", messages=5)
    call(dba, "member", "list_chats")
    additions = (
        ("insert into parley.members (chat_id, user_id) values (%s, 'member')", "members_chat_exists"),
        ("insert into parley.messages (chat_id, user_id, content) values (%s, 'x', 'x')", "messages_chat_exists"),
    )
    for addition, _ in additions:
        with dba.transaction(force_rollback=True):
            assert dba.execute(addition, [chat]).rowcount == 1
    remove(dba, 1)
    for addition, constraint in additions:
        with pytest.raises(psycopg.errors.ForeignKeyViolation) as caught, dba.transaction():
            dba.execute(addition, [chat])
        assert caught.value.diag.constraint_name == constraint
    dba.execute("update parley.messages set content = 'other' where chat_id = %s", [chat])
    dba.execute("delete from parley.messages where chat_id = %s and id = %s", [chat, last_message(dba, chat)])
    dba.execute("delete from parley.chats where id = %s", [chat])
    assert events(dba, chat) == [("chat:deleted", chat)]


def test_an_owner_who_goes_meanwhile_changes_nothing(dba: Connection) -> None:
    chat = old_chat(dba, "owner", "member", messages=5)
    remove(dba, 2)
    for user in ("owner", "member"):
        dba.execute("delete from next_auth.users where id = %s", [user])
    assert [remove(dba), remove(dba)] == [3 + 1, 0]
    assert events(dba, chat) == [("chat:deleted", chat)]


def test_the_loop_of_the_readme_removes_all_that_is_old_and_ends(
    postgres: Postgres, own: Connection, own_url: str
) -> None:
    readme = (ROOT / "sql" / "README.md").read_text()
    (loop,) = re.findall(r"^while .*purge_inactive_chats.*\n.*$", readme, flags=re.MULTILINE)

    def run(url: str) -> int:
        environment = {"PATH": f"{postgres.get_program('psql').parent}:{os.environ['PATH']}", "DATABASE_URL": url}
        done = subprocess.run(["sh", "-c", loop], env=environment, check=False, timeout=30, stderr=subprocess.DEVNULL)
        return done.returncode

    old = [old_chat(own, "owner", messages=n * 300, age="3 years") for n in range(5)]
    young = old_chat(own, "owner", messages=2, age="1 year")
    assert run("postgresql://nobody@127.0.0.1:1/x") == 1
    assert run(own_url) == 0
    assert [left(own, chat) for chat in old] == [NOTHING] * len(old)
    assert left(own, young)["messages"] == 2
