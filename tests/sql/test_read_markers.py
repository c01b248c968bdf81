"""Read markers and unread counts: exact for every member, whatever else happens in the chat."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.database import NO_SUCH_ID, Connection, add_member, call, connect_rolled_back, expect_error, new_chat
from tests.sql.outbox import add_members, send
from tests.tokens import new_user

BLOCK = 1000  # messages in a block when it is closed
UNREAD = """
    select (select count(*) from parley.messages m
            where m.chat_id = %(chat)s and m.user_id <> %(user)s and m.id > coalesce(
                (select r.last_read_message_id from parley.read_markers r
                 where r.chat_id = m.chat_id and r.user_id = %(user)s), '00000000-0000-0000-0000-000000000000'))
"""


def get_state(connection: Connection, user: str, chat: str) -> tuple[str | None, int]:
    """Return a user's last read message and unread count, which all routes agree on."""
    body = call(connection, user, "get_chat", chat)
    listed = next(c for c in call(connection, user, "list_chats")["chats"] if c["id"] == chat)
    synced = next(c for c in call(connection, user, "sync")["chats"] if c["id"] == chat)
    states = {(c["lastReadMessageId"], c["unreadCount"]) for c in (body, listed, synced)}
    assert len(states) == 1
    return states.pop()


def count_unread(connection: Connection, user: str, chat: str) -> int:
    """Count the messages of others after a user's marker, one by one."""
    row = connection.execute(UNREAD, {"chat": chat, "user": user}).fetchone()
    assert row
    return int(row[0])


def mark(connection: Connection, user: str, chat: str, message: str) -> Any:
    """Mark a message as read; return the response."""
    return call(connection, user, "mark_read", chat, {"messageId": message})


def add_messages(connection: Connection, chat: str, user: str, count: int) -> list[str]:
    """Send messages in one statement; return their ids."""
    rows = connection.execute(
        "insert into parley.messages (chat_id, user_id, content) select %s, %s, n::text from generate_series(1, %s) n"
        " returning id::text",
        [chat, user, count],
    ).fetchall()
    return sorted(message for (message,) in rows)


def test_marker_moves_forward_only(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    first, second, third = (send(dba, chat, str(n))["id"] for n in range(3))
    assert get_state(dba, "member", chat) == (None, 3)
    assert mark(dba, "member", chat, second) == {"lastReadMessageId": second, "unreadCount": 1}
    assert mark(dba, "member", chat, first) == {"lastReadMessageId": second, "unreadCount": 1}
    assert mark(dba, "member", chat, second) == {"lastReadMessageId": second, "unreadCount": 1}
    assert mark(dba, "member", chat, third) == {"lastReadMessageId": third, "unreadCount": 0}
    reads = dba.execute("select from parley.outbox where chat_id = %s and event = 'chat:read'", [chat])
    assert reads.rowcount == 2
    members = {m["userId"]: m["lastReadMessageId"] for m in call(dba, "owner", "list_members", chat)["members"]}
    assert members == {"owner": third, "member": third}


def test_own_message_is_read_and_marks_the_older_ones_as_read(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    send(dba, chat)
    own = send(dba, chat, user="member")["id"]
    assert get_state(dba, "member", chat) == (own, 0)
    assert get_state(dba, "owner", chat)[1] == 1
    call(dba, "member", "delete_message", chat, own)
    assert get_state(dba, "member", chat) == (own, 0)
    send(dba, chat)
    assert get_state(dba, "member", chat) == (own, 1)


def test_member_who_returns_continues_at_the_marker(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    own = send(dba, chat, user="member")["id"]
    call(dba, "member", "remove_member", chat, "member")
    with expect_error(404):
        mark(dba, "member", chat, own)
    send(dba, chat)
    add_member(dba, "owner", chat, "member")
    assert get_state(dba, "member", chat) == (own, 1)


def test_marker_of_another_chats_or_a_deleted_message_is_not_found(dba: Connection) -> None:
    chat, other = new_chat(dba, "owner", "member"), new_chat(dba, "owner", "member")
    sent, elsewhere = send(dba, chat)["id"], send(dba, other)["id"]
    deleted = send(dba, chat)["id"]
    call(dba, "owner", "delete_message", chat, deleted)
    for message in (elsewhere, deleted, NO_SUCH_ID):
        with expect_error(404):
            mark(dba, "member", chat, message)
    for body in ({}, {"messageId": 1}, {"messageId": "1"}, {"messageId": None}, {"messageId": sent, "x": 1}):
        with expect_error(400):
            call(dba, "member", "mark_read", chat, body)
    with expect_error(404):
        mark(dba, "stranger", chat, sent)
    assert get_state(dba, "member", chat) == (None, 1)
    assert mark(dba, "member", chat, sent)["unreadCount"] == 0


def test_marker_in_a_large_chat_is_stored_and_has_no_event(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    add_members(dba, chat, 99)
    sent = send(dba, chat)["id"]
    assert mark(dba, "member", chat, sent)["unreadCount"] == 0
    assert dba.execute("select from parley.outbox where chat_id = %s and event = 'chat:read'", [chat]).rowcount == 0
    call(dba, "owner", "remove_member", chat, f"{chat}-1")
    mark(dba, "member", chat, send(dba, chat)["id"])
    assert dba.execute("select from parley.outbox where chat_id = %s and event = 'chat:read'", [chat]).rowcount == 1


def test_markers_go_with_the_chat_and_with_the_account(dba: Connection) -> None:
    users = [new_user() for _ in range(2)]
    chat = new_chat(dba, *users)
    for user in users:
        send(dba, chat, user=user)
    query = "select user_id from parley.read_markers where chat_id = %s order by user_id"
    assert dba.execute(query, [chat]).fetchall() == [(user,) for user in sorted(users)]
    dba.execute("delete from next_auth.users where id = %s", [users[1]])
    assert dba.execute(query, [chat]).fetchall() == [(users[0],)]
    dba.execute("delete from parley.chats where id = %s", [chat])
    assert dba.execute(query, [chat]).fetchall() == []


def test_own_messages_of_a_readmitted_user_are_read(dba: Connection) -> None:
    owner, user = new_user(), new_user()
    chat = new_chat(dba, owner, user)
    send(dba, chat, user=user)
    dba.execute("delete from next_auth.users where id = %s", [user])
    dba.execute("insert into next_auth.users (id) values (%s)", [user])
    add_member(dba, owner, chat, user)
    assert get_state(dba, user, chat)[1] == 0
    send(dba, chat, user=owner)
    assert get_state(dba, user, chat)[1] == count_unread(dba, user, chat) == 1


def test_reading_changes_the_version_of_the_chat_for_the_reader_only(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    sent = send(dba, chat)["id"]

    def list_etags(user: str) -> list[str]:
        etags = []
        for function in ("get_chat", "list_messages"):
            call(dba, user, function, chat)
            (etag,) = dba.execute("select current_setting('response.etag')").fetchone() or ("",)
            etags.append(etag)
        return etags

    before = {user: list_etags(user) for user in ("owner", "member")}
    mark(dba, "member", chat, sent)
    assert list_etags("owner") == before["owner"]
    after = list_etags("member")
    assert (after[0] == before["member"][0], after[1] == before["member"][1]) == (False, True)
    send(dba, chat)
    assert not set(list_etags("owner")) & set(before["owner"])


def test_recount_counts_messages_loaded_without_triggers(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    dba.execute("set local session_replication_role = replica")
    dba.execute(
        "insert into parley.messages (chat_id, id, user_id, content, updated_at)"
        " select %s, parley.generate_uuid7(now(), n), case when n = 7 then 'member' else 'owner' end, n::text, now()"
        " from generate_series(1, 10) n",
        [chat],
    )
    dba.execute("update parley.chats set member_count = 0 where id = %s", [chat])
    dba.execute("set local session_replication_role = origin")
    dba.execute("select parley.recount_chat(%s)", [chat])
    assert get_state(dba, "member", chat)[1] == count_unread(dba, "member", chat) == 3
    assert call(dba, "member", "get_chat", chat)["memberCount"] == 2


@pytest.mark.parametrize("position", [0, 1, 500, BLOCK - 1, BLOCK, BLOCK + 1, 2499, 2500, 3500, 3998, 3999])
def test_unread_messages_are_counted_across_blocks(dba: Connection, position: int) -> None:
    chat = new_chat(dba, "owner", "member")
    ids = add_messages(dba, chat, "owner", 4000)
    assert mark(dba, "member", chat, ids[position])["unreadCount"] == 4000 - position - 1
    dba.execute("delete from parley.messages where chat_id = %s and id = any (%s::uuid[])", [chat, ids[::3]])
    assert (
        get_state(dba, "member", chat)[1]
        == count_unread(dba, "member", chat)
        == len([n for n in range(position + 1, 4000) if n % 3])
    )


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "many", "edit", "delete", "delete own", "read", "read", "leave or join"]),
        st.integers(0, 2),
        st.floats(0, 1),
    ),
    max_size=25,
)


@given(actions=ACTIONS)
@settings(max_examples=40)
def test_unread_count_is_exact_after_any_changes(shared_url: str, actions: list[tuple[str, int, float]]) -> None:
    users = [new_user() for _ in range(3)]
    with connect_rolled_back(shared_url) as connection:
        chat = new_chat(connection, *users)
        markers: dict[str, str] = {}
        for action, number, where in actions:
            change(connection, chat, users, action, users[number], where)
            members = connection.execute("select user_id from parley.members where chat_id = %s", [chat]).fetchall()
            for (member,) in members:
                marker, unread = get_state(connection, member, chat)
                assert unread == count_unread(connection, member, chat)
                assert (marker or "") >= markers.get(member, "")
                markers[member] = marker or ""


def change(connection: Connection, chat: str, users: list[str], action: str, user: str, where: float) -> None:
    """Change a chat as a user, if the user is a member; `where` is the relative position of the message."""
    is_member = connection.execute(
        "select from parley.members where chat_id = %s and user_id = %s", [chat, user]
    ).rowcount
    rows = connection.execute(
        "select id::text, user_id from parley.messages where chat_id = %s order by id", [chat]
    ).fetchall()
    message, author = rows[int(where * (len(rows) - 1))] if rows else (None, None)
    if action == "leave or join" and user != users[0]:
        if is_member:
            call(connection, user, "remove_member", chat, user)
        else:
            add_member(connection, users[0], chat, user)
    elif action == "send" and is_member:
        send(connection, chat, user=user)
    elif action == "many" and is_member:
        add_messages(connection, chat, user, int(where * 1500))
    elif message and action == "delete":
        call(connection, users[0], "delete_message", chat, message)
    elif message and action == "delete own" and is_member and author == user:
        call(connection, user, "delete_message", chat, message)
    elif message and action == "read" and is_member:
        mark(connection, user, chat, message)
    elif message and action == "edit" and is_member and author == user:
        call(connection, user, "update_message", chat, message, {"content": new_user(), "type": "code"})


def test_unread_count_is_exact_in_every_snapshot_of_concurrent_changes(own_url: str, own_dba: Connection) -> None:
    users = [new_user() for _ in range(3)]
    chat = new_chat(own_dba, *users)
    add_messages(own_dba, chat, users[0], 1500)

    def write(user: str) -> None:
        with psycopg.connect(own_url, autocommit=True) as connection:
            for n in range(40):
                sent = send(connection, chat, str(n), user)["id"]
                # Each writer deletes and reads messages of its own third.
                third = "select id::text from parley.messages where chat_id = %s order by id offset %s limit 1"
                (old,) = connection.execute(third, [chat, 200 + 400 * users.index(user)]).fetchone() or ("",)
                if n % 4 == 0:
                    add_messages(connection, chat, user, 60)
                elif n % 4 == 1:
                    with connection.transaction():
                        connection.execute("delete from parley.messages where chat_id = %s and id = %s", [chat, old])
                else:
                    mark(connection, user, chat, sent)

    with ThreadPoolExecutor(3) as pool, psycopg.connect(own_url) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        writing = [pool.submit(write, user) for user in users]
        snapshots = 0
        while not all(writer.done() for writer in writing) or snapshots < 10:
            with reader.transaction():
                for user in users:
                    assert call(reader, user, "get_chat", chat)["unreadCount"] == count_unread(reader, user, chat)
            snapshots += 1
        for writer in writing:
            writer.result()
