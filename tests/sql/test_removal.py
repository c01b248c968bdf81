"""Deletion takes effect at once; messages of deleted chats and memberships of deleted users are purged in batches."""

import psycopg
import pytest
from psycopg import sql

from tests.database import NO_SUCH_ID, Connection, call, expect_error, new_chat
from tests.sql.chat_calls import CHAT_FUNCTIONS, build_arguments
from tests.sql.chat_rows import NO_CHAT_ROWS, count_chat_rows
from tests.sql.outbox import events
from tests.sql.removal import (
    MEMBERSHIPS_REMOVED_AT_ONCE,
    count_memberships,
    count_owned_chats,
    delete_user,
    insert_chats,
    is_being_removed,
    purge_batch,
)
from tests.tokens import new_user

pytestmark = pytest.mark.usefixtures("no_pending_removals")


@pytest.mark.parametrize("message_count", [0, 1, 250])
def test_deleted_chat_is_hidden_at_once_and_its_messages_are_purged_in_batches(
    dba: Connection, message_count: int
) -> None:
    chat = new_chat(dba, "owner", "member")
    message = NO_SUCH_ID
    for _ in range(message_count):
        message = call(dba, "owner", "send_message", chat, {"content": "needle"})["id"]
    assert call(dba, "member", "search", search="needle")["total"] == message_count
    call(dba, "newcomer", "list_chats")  # registers the user whom add_member adds
    call(dba, "owner", "delete_chat", chat)
    assert count_chat_rows(dba, chat) == NO_CHAT_ROWS | {
        "chats": 1,
        "messages": message_count,
        "message_words": message_count,
    }
    for user in ("owner", "member"):
        assert call(dba, user, "list_chats")["total"] == 0
        assert call(dba, user, "search", search="needle")["total"] == 0
        for function in CHAT_FUNCTIONS:
            with expect_error(404):
                call(dba, user, function, *build_arguments(function, chat, message))
    sizes = [purge_batch(dba, "purge_deleted_chats", 100) for _ in range(message_count // 100 + 2)]
    assert sizes == [100] * (message_count // 100) + [message_count % 100 + 1, 0]
    assert count_chat_rows(dba, chat) == NO_CHAT_ROWS
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
def test_only_the_listener_can_purge(dba: Connection, role: str) -> None:
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


@pytest.mark.parametrize(
    "chats", [0, 1, MEMBERSHIPS_REMOVED_AT_ONCE, MEMBERSHIPS_REMOVED_AT_ONCE + 1, 2 * MEMBERSHIPS_REMOVED_AT_ONCE + 50]
)
def test_memberships_of_a_deleted_user_are_purged_in_batches(dba: Connection, chats: int) -> None:
    insert_chats(dba, "owner", chats, "deleted")
    delete_user(dba, "deleted")
    remaining = max(0, chats - MEMBERSHIPS_REMOVED_AT_ONCE)
    assert (count_memberships(dba, "deleted"), is_being_removed(dba, "deleted")) == (remaining, remaining > 0)
    for chat in call(dba, "owner", "list_chats", limit="1")["chats"]:
        assert [m["userId"] for m in call(dba, "owner", "list_members", chat["id"])["members"]] == ["owner"]
    sizes = []
    while removed := purge_batch(dba, "purge_memberships", MEMBERSHIPS_REMOVED_AT_ONCE):
        sizes.append(removed)
    assert sizes == [MEMBERSHIPS_REMOVED_AT_ONCE] * (remaining // MEMBERSHIPS_REMOVED_AT_ONCE) + [
        remaining % MEMBERSHIPS_REMOVED_AT_ONCE
    ] * (remaining % MEMBERSHIPS_REMOVED_AT_ONCE > 0)
    assert (count_memberships(dba, "deleted"), is_being_removed(dba, "deleted")) == (0, False)
    removals = "select from parley.outbox where event = 'member:removed' and removed_user = 'deleted'"
    assert dba.execute(removals).rowcount == chats


def test_deleted_user_owns_no_chats_after_the_purge(dba: Connection) -> None:
    chats = insert_chats(dba, "deleted", 250, "member")
    delete_user(dba, "deleted")
    assert count_memberships(dba, "deleted") == 150
    owned_by_strangers = (
        "select from parley.chats c where c.owner_id is not null"
        " and not exists (select from parley.members m where m.chat_id = c.id and m.user_id = c.owner_id)"
    )
    assert 0 < count_owned_chats(dba, "deleted") <= 150
    assert dba.execute(owned_by_strangers).rowcount == 0  # the owner of a chat is a member
    while purge_batch(dba, "purge_memberships", 100):
        pass
    assert (count_owned_chats(dba, "deleted"), count_memberships(dba, "deleted")) == (0, 0)
    assert call(dba, "member", "list_chats")["total"] == 250
    (chat, *_) = chats
    with expect_error(403):
        call(dba, "member", "delete_chat", chat)


def test_memberships_of_all_deleted_users_are_purged(dba: Connection) -> None:
    deleted_users = [new_user() for _ in range(3)]
    insert_chats(dba, "owner", MEMBERSHIPS_REMOVED_AT_ONCE + 5, *deleted_users)
    for user in deleted_users:
        delete_user(dba, user)
    # A batch ends after the user with whom it reaches its size: 5 + 5, then 5.
    assert [purge_batch(dba, "purge_memberships", 7) for _ in range(3)] == [10, 5, 0]
    assert [count_memberships(dba, user) for user in deleted_users] == [0, 0, 0]


@pytest.mark.parametrize("user", ["nobody", "deleted"])
def test_member_must_be_an_existing_user(dba: Connection, user: str) -> None:
    chat = new_chat(dba, "owner", "deleted")
    delete_user(dba, "deleted")
    with pytest.raises(psycopg.errors.ForeignKeyViolation) as caught, dba.transaction():
        dba.execute("insert into parley.members (chat_id, user_id) values (%s, %s)", [chat, user])
    assert caught.value.diag.constraint_name == "members_user_exists"
    with expect_error(400) as error:
        call(dba, "owner", "add_member", chat, {"userId": user})
    assert error.fields == {"userId": "is not a known user"}
    call(dba, "member", "get_settings")  # registers the user, who can then be inserted
    dba.execute("insert into parley.members (chat_id, user_id) values (%s, 'member')", [chat])
