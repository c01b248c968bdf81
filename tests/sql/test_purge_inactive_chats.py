"""Inactive chats are deleted at once for their members; their rows are purged in batches."""

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
from tests.sql.chat_calls import CHAT_FUNCTIONS, build_arguments
from tests.sql.chat_rows import NO_CHAT_ROWS, count_chat_rows, last_message_id
from tests.sql.inactive_chats import MAX_CHATS, new_inactive_chat, purge
from tests.sql.outbox import events

pytestmark = pytest.mark.usefixtures("no_pending_removals")


def test_inactive_chat_is_deleted_at_once_and_its_messages_in_batches(dba: Connection) -> None:
    chat = new_inactive_chat(dba, "owner", "member", messages=25)
    message = last_message_id(dba, chat)
    call(dba, "newcomer", "list_chats")

    def totals(user: str) -> list[int]:
        return [
            call(dba, user, "list_chats")["total"],
            call(dba, user, "search", search="needle")["total"],
            call(dba, user, "search", search="needle", sort="relevance")["total"],
        ]

    channel = ("authorize_channel", "1.2", f"private-chat-{chat}")
    assert (totals("owner"), totals("member")) == ([1, 25, 25], [1, 25, 25])
    assert call(dba, "member", *channel)
    assert purge(dba, 10) == 10
    assert count_chat_rows(dba, chat) == NO_CHAT_ROWS | {"chats": 1, "messages": 15, "message_words": 15}
    assert (totals("owner"), totals("member")) == ([0, 0, 0], [0, 0, 0])
    for user in ("owner", "member"):
        for name in CHAT_FUNCTIONS:
            with expect_error(404):
                call(dba, user, name, *build_arguments(name, chat, message))
        with expect_error(403):
            call(dba, user, *channel)
    assert [purge(dba, 10), purge(dba, 10), purge(dba, 10)] == [10, 5 + 1, 0]
    assert count_chat_rows(dba, chat) == NO_CHAT_ROWS
    assert events(dba, chat) == [("chat:deleted", chat)]
    row = dba.execute("select recipients from parley.outbox where chat_id = %s", [chat]).fetchone()
    assert row is not None
    assert sorted(row[0]) == ["member", "owner"]


def test_each_function_succeeds_in_a_chat_that_is_not_purged(dba: Connection) -> None:
    for name in CHAT_FUNCTIONS:
        chat = new_inactive_chat(dba, "owner", "member", messages=1)
        call(dba, "newcomer", "list_chats")
        call(dba, "owner", name, *build_arguments(name, chat, last_message_id(dba, chat)))


def test_plain_sql_of_the_api_role_reads_no_row_of_a_purged_chat(dba: Connection) -> None:
    chat = new_inactive_chat(dba, "owner", messages=3)
    statements = [
        "select from parley.chats where id = {chat}",
        "select from parley.messages where chat_id = {chat}",
        "update parley.chats set title = 'mine' where id = {chat}",
        "update parley.messages set content = 'mine' where chat_id = {chat}",
        "delete from parley.messages where chat_id = {chat}",
        "delete from parley.chats where id = {chat}",
    ]

    def affected_rows() -> list[int]:
        counts = []
        for statement in statements:
            with dba.transaction(force_rollback=True):
                dba.execute("select session.authenticate(%s)", [json.dumps({"sub": "owner"})])
                dba.execute("select set_config('parley.selected_chat', %s, true)", [chat])
                dba.execute("set local role app")
                counts.append(dba.execute(sql.SQL(statement).format(chat=sql.Literal(chat))).rowcount)
        return counts

    assert affected_rows() == [1, 3, 1, 3, 3, 1]
    purge(dba, 1)
    assert affected_rows() == [0, 0, 0, 0, 0, 0]


def test_message_blocks_are_purged_with_the_chat(dba: Connection) -> None:
    chat = new_inactive_chat(dba, "owner", messages=2300)
    assert purge(dba, 700) == 700
    assert count_chat_rows(dba, chat) == NO_CHAT_ROWS | {
        "chats": 1,
        "messages": 1600,
        "message_words": 1600,
        "message_blocks": 2,
    }
    assert [purge(dba, 1599), purge(dba, 1), purge(dba)] == [1599, 1 + 1, 0]
    assert count_chat_rows(dba, chat) == NO_CHAT_ROWS


@pytest.mark.parametrize("messages", [0, 1])
def test_chat_is_inactive_if_its_last_activity_is_older_than_the_interval(dba: Connection, messages: int) -> None:
    chat = new_inactive_chat(dba, "owner", messages=messages, age="1 year 00:00:00.002")
    younger = new_inactive_chat(dba, "owner", messages=messages, age="1 year -00:00:00.002")
    assert purge(dba) == messages + 1
    assert (count_chat_rows(dba, chat)["chats"], count_chat_rows(dba, younger)["chats"]) == (0, 1)
    assert purge(dba) == 0
    assert purge(dba, inactive_for="364 days") == messages + 1
    assert count_chat_rows(dba, younger) == NO_CHAT_ROWS


def test_new_message_is_activity_and_new_member_is_not(dba: Connection) -> None:
    used, unused = new_inactive_chat(dba, "owner", messages=3), new_inactive_chat(dba, "owner", messages=3)
    call(dba, "owner", "send_message", used, {"content": "Anybody there?"})
    call(dba, "member", "list_chats")
    call(dba, "owner", "add_member", unused, {"userId": "member"})
    assert [purge(dba), purge(dba)] == [3 + 1, 0]
    assert (count_chat_rows(dba, used)["messages"], count_chat_rows(dba, unused)) == (4, NO_CHAT_ROWS)


def test_batch_is_limited_and_starts_with_the_longest_inactive_chats(dba: Connection) -> None:
    chats = [new_inactive_chat(dba, "owner", messages=4, age=f"{years} years") for years in (2, 4, 3)]
    assert purge(dba, 5) == 5 + 1
    assert [count_chat_rows(dba, chat)["messages"] for chat in chats] == [4, 0, 3]
    assert purge(dba, 7) == 7 + 2
    for _ in range(MAX_CHATS + 1):
        new_inactive_chat(dba, "owner")
    assert [purge(dba), purge(dba), purge(dba)] == [MAX_CHATS, 1, 0]


@pytest.mark.parametrize(
    ("inactive_for", "max_messages", "message"),
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
def test_invalid_arguments_are_rejected(
    dba: Connection, inactive_for: str | None, max_messages: int | None, message: str
) -> None:
    chat = new_inactive_chat(dba, "owner")
    statement = "select parley.purge_inactive_chats(%s::interval, %s)"
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=message), dba.transaction():
        dba.execute(statement, [inactive_for, max_messages])
    assert count_chat_rows(dba, chat)["chats"] == 1
    assert dba.execute(statement, ["1 year", 1]).fetchone() == (1,)


@pytest.mark.parametrize("role", ["parley_api", "parley_listener", "parley_web", "parley_analyst"])
def test_parley_roles_cannot_purge_chats(dba: Connection, role: str) -> None:
    chat = new_inactive_chat(dba, "owner", messages=1)
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
    assert count_chat_rows(dba, chat) | {"message_blocks": 0} == NO_CHAT_ROWS | {
        "chats": 1, "members": 1, "messages": 1, "message_words": 1,
    }  # fmt: skip
    for attempt in attempts:
        with dba.transaction(force_rollback=True):
            assert dba.execute(attempt).rowcount >= 1


def test_chat_being_removed_rejects_members_and_messages_and_records_no_events(dba: Connection) -> None:
    chat = new_inactive_chat(dba, "owner", messages=5)
    call(dba, "member", "list_chats")
    additions = (
        ("insert into parley.members (chat_id, user_id) values (%s, 'member')", "members_chat_exists"),
        ("insert into parley.messages (chat_id, user_id, content) values (%s, 'x', 'x')", "messages_chat_exists"),
    )
    for addition, _ in additions:
        with dba.transaction(force_rollback=True):
            assert dba.execute(addition, [chat]).rowcount == 1
    purge(dba, 1)
    for addition, constraint in additions:
        with pytest.raises(psycopg.errors.ForeignKeyViolation) as caught, dba.transaction():
            dba.execute(addition, [chat])
        assert caught.value.diag.constraint_name == constraint
    dba.execute("update parley.messages set content = 'other' where chat_id = %s", [chat])
    dba.execute("delete from parley.messages where chat_id = %s and id = %s", [chat, last_message_id(dba, chat)])
    dba.execute("delete from parley.chats where id = %s", [chat])
    assert events(dba, chat) == [("chat:deleted", chat)]


def test_deleting_its_users_does_not_affect_a_chat_being_removed(dba: Connection) -> None:
    chat = new_inactive_chat(dba, "owner", "member", messages=5)
    purge(dba, 2)
    for user in ("owner", "member"):
        dba.execute("delete from next_auth.users where id = %s", [user])
    assert [purge(dba), purge(dba)] == [3 + 1, 0]
    assert events(dba, chat) == [("chat:deleted", chat)]


def test_loop_of_the_readme_purges_all_inactive_chats_and_ends(
    postgres: Postgres, own_dba: Connection, own_url: str
) -> None:
    readme = (ROOT / "sql" / "README.md").read_text()
    (loop,) = re.findall(r"^while .*purge_inactive_chats.*\n.*$", readme, flags=re.MULTILINE)

    def run(url: str) -> int:
        environment = {"PATH": f"{postgres.get_program('psql').parent}:{os.environ['PATH']}", "DATABASE_URL": url}
        done = subprocess.run(["sh", "-c", loop], env=environment, check=False, timeout=30, stderr=subprocess.DEVNULL)
        return done.returncode

    inactive = [new_inactive_chat(own_dba, "owner", messages=n * 300, age="3 years") for n in range(5)]
    active = new_inactive_chat(own_dba, "owner", messages=2, age="1 year")
    assert run("postgresql://nobody@127.0.0.1:1/x") == 1
    assert run(own_url) == 0
    assert [count_chat_rows(own_dba, chat) for chat in inactive] == [NO_CHAT_ROWS] * len(inactive)
    assert count_chat_rows(own_dba, active)["messages"] == 2
