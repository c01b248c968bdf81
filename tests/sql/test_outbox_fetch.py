"""Fetching, acknowledging, dead-lettering and purging events as the listener does."""

import json

import psycopg
import pytest

from tests.database import Connection, add_member, call
from tests.sql.outbox import (
    add_members,
    events,
    fetch,
    fetch_all,
    fetch_publications,
    id_before,
    new_published_chat,
    send,
)


def test_rename_is_published_to_the_members_then_who_are_still_members(dba: Connection) -> None:
    chat = new_published_chat(dba, "owner", "member", "removed")
    call(dba, "owner", "update_chat", chat, {"title": "Plans"})
    call(dba, "owner", "remove_member", chat, "removed")
    add_member(dba, "owner", chat, "newcomer")
    (renamed,) = fetch(dba, chat)
    channels = {f"private-chat-{chat}", "private-user-b3duZXI", "private-user-bWVtYmVy"}
    assert set(renamed["channels"]) == channels
    call(dba, "owner", "delete_chat", chat)
    (renamed, deleted) = fetch(dba, chat)
    assert set(renamed["channels"]) == set(deleted["channels"]) == channels | {"private-user-bmV3Y29tZXI"}


def test_stored_recipients_of_a_rename_are_ignored(dba: Connection) -> None:
    chat = new_published_chat(dba, "owner", "member")
    call(dba, "owner", "update_chat", chat, {"title": "Plans"})
    dba.execute("update parley.outbox set recipients = '{owner,former}' where event = 'chat:updated'")
    (renamed,) = fetch(dba, chat)
    assert set(renamed["channels"]) == {f"private-chat-{chat}", "private-user-b3duZXI", "private-user-bWVtYmVy"}


def test_events_are_fetched_in_order_until_they_are_acknowledged(dba: Connection) -> None:
    chat = new_published_chat(dba, "owner")
    sent = [send(dba, chat, str(n)) for n in range(4)]
    fetched = fetch(dba, chat)
    assert [json.loads(event["payload"]) for event in fetched] == sent
    ids = [event["id"] for event in fetched]
    assert [event["id"] for event in fetch(dba, chat)] == ids
    assert [event["id"] for event in fetch(dba, chat, max_events=2)] == ids[:2]
    held = {"held_chats": [chat], "held_until": [ids[0]]}
    assert [event["id"] for event in fetch(dba, chat, **held)] == ids[1:]
    assert [event["id"] for event in fetch(dba, chat, **held, max_events_per_chat=2)] == ids[1:3]
    assert [event["id"] for event in fetch(dba, chat, held_chats=[chat], held_until=[ids[2]])] == ids[3:]
    assert fetch(dba, chat, held_chats=[chat], held_until=[None]) == []
    assert fetch(dba, chat, after_chat=chat) == []
    assert [event["id"] for event in fetch(dba, chat, max_events_per_chat=3)] == ids[:3]
    assert [event["id"] for event in fetch(dba, chat, acked=ids[:3])] == ids[3:]
    assert len(events(dba, chat)) == 4


def test_recipients_count_towards_the_size_of_a_fetch(dba: Connection) -> None:
    chat, other = new_published_chat(dba, "owner"), new_published_chat(dba, "owner")
    add_members(dba, chat, 1000)
    for n in range(5):
        call(dba, "owner", "update_chat", chat, {"title": f"Plan {n}"})
    send(dba, other)
    assert len(fetch(dba, chat)) == 5
    assert len(fetch(dba, chat, max_bytes=1)) == 1
    assert len(fetch(dba, chat, max_bytes=100_000)) == 2
    (first,) = fetch(dba, chat, max_bytes=1)
    assert first["has_more"]
    assert not fetch(dba, chat)[-1]["has_more"]
    assert len(first["channels"]) == 1002


def test_stored_and_resolved_recipients_have_the_same_size(dba: Connection) -> None:
    renamed, deleted, other = sorted(new_published_chat(dba, "owner") for _ in range(3))
    for chat in (renamed, deleted):
        add_members(dba, chat, 1000)
    call(dba, "owner", "update_chat", renamed, {"title": "Plans"})
    call(dba, "owner", "delete_chat", deleted)
    call(dba, "owner", "update_chat", renamed, {"title": "Plan B"})
    send(dba, other)
    sizes = [
        sum(len(fetch(dba, chat, after_chat=id_before(renamed), max_bytes=most)) for chat in (renamed, deleted, other))
        for most in (1, 100_000, 170_000, 240_000)
    ]
    assert sizes == [1, 2, 3, 4]
    call(dba, "owner", "delete_chat", renamed)
    sizes = [len(fetch(dba, renamed, max_bytes=most)) for most in (1, 100_000, 170_000, 240_000)]
    assert sizes == [1, 2, 3, 3]


def test_round_visits_every_chat_once(dba: Connection) -> None:
    dba.execute("delete from parley.outbox_queue")  # Other tests of the shared database leave events of users.
    chats = sorted(new_published_chat(dba, "owner") for _ in range(5))
    for n in range(5):
        for chat in chats:
            send(dba, chat, str(n))
    position, visited = id_before(chats[0]), []
    for _ in range(3):
        rows = fetch_all(dba, after_chat=position, max_events=4, max_events_per_chat=2)
        visited += [str(row["chat_id"]) for row in rows]
        assert [row["has_more"] for row in rows] == [False] * (len(rows) - 1) + [len(rows) == 4]
        position = visited[-1]
    assert visited == [chat for chat in chats for _ in range(2)]
    # The last event of a fetch may not be all that a chat could have: the rest is left to the next round.
    rows = fetch_all(dba, after_chat=id_before(chats[0]), max_events=3, max_events_per_chat=2)
    assert [str(row["chat_id"]) for row in rows] == [chats[0], chats[0], chats[1]]


def test_fetch_between_rounds_visits_the_chats_of_the_latest_events(dba: Connection) -> None:
    old, new, busy = (new_published_chat(dba, "owner") for _ in range(3))
    for chat in (old, new):
        send(dba, chat, "first")
    insert = "insert into parley.messages (chat_id, user_id, content) select %s, 'x', 'x' from generate_series(1, 1000)"
    dba.execute(insert, [busy])
    send(dba, new, "second")
    assert fetch(dba, old, after_chat=None, max_events_per_chat=100) == []
    rows = fetch(dba, new, after_chat=None, max_events_per_chat=100)
    contents = [json.loads(row["payload"])["content"] for row in rows]
    assert contents == ["first", "second"]
    assert len(fetch(dba, old)) == 1


def test_chats_of_the_latest_messages_are_visited_first_and_the_newest_of_them_first(dba: Connection) -> None:
    renamed, first, second = (new_published_chat(dba, "owner") for _ in range(3))
    for chat in (first, second):
        send(dba, chat)
    call(dba, "owner", "update_chat", renamed, {"title": "Plans"})
    chats = [str(row["chat_id"]) for row in fetch_publications(dba, after_chat=None, max_events=3)]
    assert list(dict.fromkeys(chats)) == [second, first, renamed]
    assert {str(row["chat_id"]) for row in fetch_publications(dba, after_chat=None, max_events=1)} == {second}


def test_dead_letters_are_in_a_view_and_can_be_requeued(dba: Connection) -> None:
    chat = new_published_chat(dba, "owner")
    send(dba, chat)
    (event,) = fetch(dba, chat)
    dba.execute("select listener.dead_letter(%s, 'HTTP 400: no such thing')", [event["id"]])
    assert fetch(dba, chat) == []
    view = "select id, event, error, bytes from analytics.dead_letter_events where id = %s"
    assert dba.execute(view, [event["id"]]).fetchall() == [
        (event["id"], "message:sent", "HTTP 400", len(event["payload"]))
    ]
    error = dba.execute("select error from parley.outbox where id = %s", [event["id"]]).fetchone()
    assert error == ("HTTP 400: no such thing",)
    dba.execute("select parley.requeue_events(%s)", [event["id"]])
    assert fetch(dba, chat) == [event]
    assert dba.execute(view, [event["id"]]).fetchall() == []


def test_purge_removes_old_events_that_are_published_and_counted(dba: Connection) -> None:
    chat = new_published_chat(dba, "owner")
    for n in range(5):
        send(dba, chat, str(n))
    ids = [event["id"] for event in fetch(dba, chat)]
    fetch(dba, chat, acked=[ids[0], ids[2], ids[3]])
    dba.execute("delete from parley.outbox where chat_id <> %s", [chat])
    dba.execute("update parley.outbox set recorded_at = now() - interval '8 days' where id <> %s", [ids[3]])

    def purge(limit: int) -> int:
        row = dba.execute("select listener.purge_events('7 days', %s)", [limit]).fetchone()
        assert row is not None
        return int(row[0])

    dba.execute("select listener.dead_letter(%s, 'HTTP 413')", [ids[4]])
    assert purge(100) == 0  # the rollups have not counted any
    dba.execute("update parley.rollup_state set last_counted_event = %s", [ids[0]])
    assert [purge(1), purge(1), purge(100)] == [1, 1, 0]  # an event of the message, and member:added
    dba.execute("update parley.rollup_state set last_counted_event = %s", [ids[4]])
    assert [purge(1), purge(1), purge(100)] == [1, 0, 0]
    remaining = dba.execute("select id from parley.outbox order by id").fetchall()
    assert [event for (event,) in remaining] == [ids[1], ids[3], ids[4]]


def test_event_removed_from_the_log_is_not_published(dba: Connection) -> None:
    chat = new_published_chat(dba, "owner")
    for n in range(3):
        send(dba, chat, str(n))
    ids = [event["id"] for event in fetch(dba, chat)]
    dba.execute("delete from parley.outbox where id = %s", [ids[1]])
    assert [event["id"] for event in fetch(dba, chat)] == [ids[0], ids[2]]
    assert dba.execute("select from parley.outbox_queue where id = %s", [ids[1]]).rowcount == 0
    dba.execute("truncate parley.outbox")
    assert dba.execute("select from parley.outbox_queue").rowcount == 0


def test_listener_can_use_only_its_functions(dba: Connection) -> None:
    chat = new_published_chat(dba, "owner")
    send(dba, chat)
    dba.execute("set local role parley_listener")
    assert len(fetch(dba, chat)) == 1
    for table in ("parley.outbox", "parley.outbox_queue", "parley.messages", "next_auth.users"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), dba.transaction():
            dba.execute(f"select from {table}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), dba.transaction():
        dba.execute("select api.check_readiness()")
    dba.execute("set local role app")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), dba.transaction():
        fetch(dba, chat)
    for forgery in ("parley.record_event(%s, 99, 'chat:deleted', '1')", "parley.requeue_events(1) where %s <> ''"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), dba.transaction():
            dba.execute(f"select {forgery}", [chat])
