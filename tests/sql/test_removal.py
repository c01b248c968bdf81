"""Deletion takes effect at once; messages of deleted chats and memberships of deleted users are removed in batches."""

import psycopg
import pytest
from psycopg import sql

from tests.database import Connection, call, expect_error, new_chat
from tests.sql.inactive_chats import FUNCTIONS, NO_ROWS, arguments_of, count_rows
from tests.sql.outbox import events
from tests.sql.removal import (
    SYNCHRONOUS,
    count_memberships,
    count_owned_chats,
    delete_user,
    insert_chats,
    is_being_removed,
    purge_batch,
)
from tests.tokens import new_user

pytestmark = pytest.mark.usefixtures("no_leftovers")


@pytest.mark.parametrize("messages", [0, 1, 250])
def test_deleted_chat_is_hidden_at_once_and_its_messages_are_removed_in_batches(dba: Connection, messages: int) -> None:
    chat = new_chat(dba, "owner", "member")
    for _ in range(messages):
        message = call(dba, "owner", "send_message", chat, {"content": "needle"})["id"]
    assert call(dba, "member", "search", search="needle")["total"] == messages
    call(dba, "newcomer", "list_chats")
    call(dba, "owner", "delete_chat", chat)
    assert count_rows(dba, chat) == NO_ROWS | {"chats": 1, "messages": messages, "message_words": messages}
    for user in ("owner", "member"):
        assert call(dba, user, "list_chats")["total"] == 0
        assert call(dba, user, "search", search="needle")["total"] == 0
        for function in FUNCTIONS:
            with expect_error(404):
                call(dba, user, function, *arguments_of(function, chat, message if messages else chat))
    sizes = [purge_batch(dba, "purge_deleted_chats", 100) for _ in range(messages // 100 + 2)]
    assert sizes == [100] * (messages // 100) + [messages % 100 + 1, 0]
    assert count_rows(dba, chat) == NO_ROWS
    assert [event for event in events(dba, chat) if event[0] != "message:sent"] == [("chat:deleted", chat)]


def test_only_the_owner_can_delete_a_chat_and_only_once(app: Connection) -> None:
    owner, member, stranger = new_user(), new_user(), new_user()
    chat = new_chat(app, owner, member)
    begin_removal = "select parley.begin_chat_removal(%s) from session.authenticate(%s)"
    for user in (member, stranger):
        assert app.execute(begin_removal, [chat, f'{{"sub": "{user}"}}']).fetchone() == (False,)
        assert call(app, owner, "list_chats")["total"] == 1
    assert app.execute(begin_removal, [chat, f'{{"sub": "{owner}"}}']).fetchone() == (True,)
    assert app.execute(begin_removal, [chat, f'{{"sub": "{owner}"}}']).fetchone() == (False,)
    for user in (owner, member):
        assert call(app, user, "list_chats")["total"] == 0


@pytest.mark.parametrize("role", ["parley_api", "parley_web", "parley_analyst"])
def test_only_the_listener_can_remove_batches(dba: Connection, role: str) -> None:
    chat = new_chat(dba, "owner")
    call(dba, "owner", "delete_chat", chat)
    attempts = (
        "select parley.purge_deleted_chats(10)",
        "select parley.purge_memberships('owner', 10)",
        "select listener.purge_deleted_chats(10)",
        "select listener.purge_memberships(10)",
    )
    with dba.transaction():
        dba.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
        for attempt in attempts:
            with pytest.raises(psycopg.errors.InsufficientPrivilege), dba.transaction():
                dba.execute(attempt)
    with dba.transaction(force_rollback=True):
        dba.execute("set local role parley_listener")
        assert dba.execute(attempts[2]).fetchone() == (1,)
        assert dba.execute(attempts[3]).fetchone() == (0,)


@pytest.mark.parametrize("chats", [0, 1, SYNCHRONOUS, SYNCHRONOUS + 1, 2 * SYNCHRONOUS + 50])
def test_memberships_of_a_deleted_user_are_removed_in_batches(dba: Connection, chats: int) -> None:
    insert_chats(dba, "owner", chats, "leaver")
    delete_user(dba, "leaver")
    remaining = max(0, chats - SYNCHRONOUS)
    assert (count_memberships(dba, "leaver"), is_being_removed(dba, "leaver")) == (remaining, remaining > 0)
    for chat in call(dba, "owner", "list_chats", limit="1")["chats"]:
        assert [m["userId"] for m in call(dba, "owner", "list_members", chat["id"])["members"]] == ["owner"]
    sizes = []
    while removed := purge_batch(dba, "purge_memberships", SYNCHRONOUS):
        sizes.append(removed)
    assert sizes == [SYNCHRONOUS] * (remaining // SYNCHRONOUS) + [remaining % SYNCHRONOUS] * (
        remaining % SYNCHRONOUS > 0
    )
    assert (count_memberships(dba, "leaver"), is_being_removed(dba, "leaver")) == (0, False)
    removals = "select from parley.outbox where event = 'member:removed' and removed_user = 'leaver'"
    assert dba.execute(removals).rowcount == chats


def test_deleted_user_owns_no_chats_after_the_batches(dba: Connection) -> None:
    chats = insert_chats(dba, "leaver", 250, "member")
    delete_user(dba, "leaver")
    assert (count_owned_chats(dba, "leaver"), count_memberships(dba, "leaver")) == (150, 150)
    while purge_batch(dba, "purge_memberships", 100):
        pass
    assert (count_owned_chats(dba, "leaver"), count_memberships(dba, "leaver")) == (0, 0)
    assert call(dba, "member", "list_chats")["total"] == 250
    (chat, *_) = chats
    with expect_error(403):
        call(dba, "member", "delete_chat", chat)


def test_batches_remove_memberships_of_all_deleted_users(dba: Connection) -> None:
    leavers = [new_user() for _ in range(3)]
    insert_chats(dba, "owner", SYNCHRONOUS + 5, *leavers)
    for user in leavers:
        delete_user(dba, user)
    assert [purge_batch(dba, "purge_memberships", 7) for _ in range(3)] == [10, 5, 0]
    assert [count_memberships(dba, user) for user in leavers] == [0, 0, 0]


@pytest.mark.parametrize("user", ["nobody", "leaver"])
def test_member_must_be_an_existing_user(dba: Connection, user: str) -> None:
    chat = new_chat(dba, "owner", "leaver")
    delete_user(dba, "leaver")
    with pytest.raises(psycopg.errors.ForeignKeyViolation) as caught, dba.transaction():
        dba.execute("insert into parley.members (chat_id, user_id) values (%s, %s)", [chat, user])
    assert caught.value.diag.constraint_name == "members_user_exists"
    with expect_error(400) as error:
        call(dba, "owner", "add_member", chat, {"userId": user})
    assert error.fields == {"userId": "is not a known user"}
    call(dba, "member", "get_settings")
    dba.execute("insert into parley.members (chat_id, user_id) values (%s, 'member')", [chat])
