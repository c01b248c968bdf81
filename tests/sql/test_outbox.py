"""The outbox: what each change records, who hears of it, and what the listener does with it."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest

from api.dev.postgres import Postgres
from api.openapi.models.events import MAX_EVENT_BYTES
from tests.support import NO_SUCH_ID, Connection, add_member, call, new_chat, new_user, refused, rolled_back, wait_until


def events(connection: Connection, chat: str) -> list[tuple[str, Any]]:
    """The events of a chat, in the order of their seq, each with its payload; but for who came into it."""
    query = "select event, payload from parley.outbox where chat_id = %s and event <> 'member:added' order by seq"
    return connection.execute(query, [chat]).fetchall()


def before(chat: str) -> str:
    """The id after which a round visits this chat next."""
    return str(UUID(int=UUID(chat).int - 1))


def fetch(connection: Connection, chat: str, **options: Any) -> list[dict[str, Any]]:
    """The events of a chat that the listener gets, in a round that visits this chat next."""
    options.setdefault("after_chat", before(chat))
    return [row for row in fetch_all(connection, **options) if str(row["chat_id"]) == chat]


def fetch_all(connection: Connection, **options: Any) -> list[dict[str, Any]]:
    """The events that the listener gets."""
    arguments: dict[str, Any] = {"acked": [], "held_chats": [], "held_until": []}
    arguments |= {"max_events": 1000, "max_events_per_chat": 1000, "max_bytes": 1_000_000} | options
    cursor = connection.execute(
        "select * from listener.ack_and_fetch_events(%(acked)s, %(after_chat)s, %(held_chats)s::uuid[],"
        " %(held_until)s::bigint[], %(max_events)s, %(max_events_per_chat)s, %(max_bytes)s)",
        arguments,
    )
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def send(connection: Connection, chat: str, content: str = "hello", user: str = "owner") -> dict[str, Any]:
    sent: dict[str, Any] = call(connection, user, "send_message", chat, {"content": content})
    return sent


# What is recorded


def test_each_change_of_a_message_is_recorded_in_the_documents_words(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    sent = send(dba, chat)
    call(dba, "owner", "update_message", chat, sent["id"], {"content": "bye"})
    call(dba, "owner", "update_message", chat, sent["id"], {"content": "bye", "type": "code"})
    call(dba, "owner", "update_message", chat, sent["id"], {"content": "f()", "type": "text"})
    call(dba, "owner", "update_message", chat, sent["id"], {"content": "f()"})
    call(dba, "owner", "delete_message", chat, sent["id"])
    assert sent.keys() == {"id", "content", "type", "userId", "createdAt"}
    assert events(dba, chat) == [
        ("message:sent", sent),
        ("message:updated", {"id": sent["id"], "updates": {"content": "bye"}}),
        ("message:updated", {"id": sent["id"], "updates": {"type": "code"}}),
        ("message:updated", {"id": sent["id"], "updates": {"content": "f()", "type": "text"}}),
        ("message:deleted", sent["id"]),
    ]
    assert {tuple(row["channels"]) for row in fetch(dba, chat)} == {(f"private-chat-{chat}",)}


def test_changes_of_a_chat_are_told_to_its_members_too(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    new_chat(dba, "stranger")
    call(dba, "owner", "update_chat", chat, {"title": "Plans"})
    call(dba, "owner", "update_chat", chat, {"title": "Plans"})
    call(dba, "owner", "delete_chat", chat)
    assert events(dba, chat) == [("chat:updated", {"id": chat, "updates": {"title": "Plans"}}), ("chat:deleted", chat)]
    channels = {f"private-chat-{chat}", "private-user-b3duZXI", "private-user-bWVtYmVy"}
    assert [set(row["channels"]) for row in fetch(dba, chat)] == [channels, channels]


def test_a_deleted_chat_says_nothing_of_its_messages_and_members(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    send(dba, chat)
    call(dba, "owner", "delete_chat", chat)
    assert [event for event, _ in events(dba, chat)] == ["message:sent", "chat:deleted"]


def test_who_comes_is_recorded_and_not_published(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    query = "select id, seq, payload #>> '{}', changed_at from parley.outbox where chat_id = %s order by seq"
    first, second = dba.execute(query, [chat]).fetchall()
    joined = dba.execute(
        "select user_id, joined_at from parley.members where chat_id = %s order by user_id = 'member'", [chat]
    ).fetchall()
    assert (first[1:], second[1:]) == ((1, *joined[0]), (2, *joined[1]))
    assert fetch(dba, chat) == []
    assert dba.execute("select parley.queue_again(%s)", [second[0]]).fetchone() == (0,)
    call(dba, "owner", "remove_member", chat, "member")
    assert [row["event"] for row in fetch(dba, chat)] == ["member:removed"]


def test_members_who_come_at_once_are_told_of_one_by_one(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    dba.execute("insert into next_auth.users (id) values ('ann'), ('ben')")
    with pytest.raises(psycopg.errors.UniqueViolation), dba.transaction():
        dba.execute("insert into parley.members (chat_id, user_id) values (%s, 'owner')", [chat])
    dba.execute(
        "insert into parley.members (chat_id, user_id) values (%(chat)s, 'owner'), (%(chat)s, 'ben'), (%(chat)s, 'ann')"
        " on conflict do nothing",
        {"chat": chat},
    )
    query = "select seq, event, payload #>> '{}' from parley.outbox where chat_id = %s order by seq"
    told = [(1, "member:added", "owner"), (2, "member:added", "ann"), (3, "member:added", "ben")]
    assert dba.execute(query, [chat]).fetchall() == told


@pytest.mark.parametrize("change", ["removed", "left", "deleted their account"])
def test_who_stops_being_a_member_is_recorded(dba: Connection, change: str) -> None:
    chat = new_chat(dba, "owner", "member")
    if change == "deleted their account":
        dba.execute("delete from next_auth.users where id = 'member'")
    else:
        call(dba, "owner" if change == "removed" else "member", "remove_member", chat, "member")
    send(dba, chat)
    (removed, sent) = fetch(dba, chat)
    assert (removed["event"], removed["recipients"], removed["channels"]) == ("member:removed", ["bWVtYmVy"], None)
    assert sent["event"] == "message:sent"


def test_a_refused_change_records_nothing(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    sent = send(dba, chat)
    with refused(400):
        send(dba, chat, "")
    with refused(403):
        call(dba, "member", "update_message", chat, sent["id"], {"content": "mine"})
    with pytest.raises(psycopg.errors.CheckViolation), dba.transaction():
        dba.execute("update parley.messages set type = 'video', content = 'x' where chat_id = %s", [chat])
    with pytest.raises(psycopg.errors.ForeignKeyViolation), dba.transaction():
        dba.execute("insert into parley.messages (chat_id, user_id, content) values (%s, 'x', 'x')", [NO_SUCH_ID])
    assert [event for event, _ in events(dba, chat)] == ["message:sent"]
    assert events(dba, NO_SUCH_ID) == []


def test_a_message_for_a_chat_that_was_deleted_is_refused_as_ever(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    call(dba, "owner", "delete_chat", chat)
    with pytest.raises(psycopg.errors.ForeignKeyViolation), dba.transaction():
        dba.execute("insert into parley.messages (chat_id, user_id, content) values (%s, 'x', 'x')", [chat])


def test_many_messages_at_once_are_as_many_events(dba: Connection) -> None:
    chat, other = new_chat(dba, "owner"), new_chat(dba, "owner")
    for place in (chat, other):
        dba.execute(
            "insert into parley.messages (chat_id, user_id, content)"
            " select %s, 'x', n::text from generate_series(1, 5) n",
            [place],
        )
    ids = dba.execute("select id::text from parley.messages where chat_id = %s order by id", [chat]).fetchall()
    dba.execute("delete from parley.messages where chat_id in (%s, %s) and content <> '3'", [chat, other])
    seqs = dba.execute("select seq from parley.outbox where chat_id = %s order by id", [chat]).fetchall()
    assert [seq for (seq,) in seqs] == list(range(1, 11))
    deleted = [payload for event, payload in events(dba, chat) if event == "message:deleted"]
    assert deleted == [ids[n][0] for n in (0, 1, 3, 4)]
    assert len(events(dba, other)) == 9


def test_seqs_are_those_of_the_chat(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    for n in range(3):
        send(dba, chat, str(n))
    call(dba, "member", "remove_member", chat, "member")
    last = dba.execute("select seq from parley.chats where id = %s", [chat]).fetchone()
    assert last == dba.execute("select max(seq) from parley.outbox where chat_id = %s", [chat]).fetchone() == (6,)


# Sizes


def size(connection: Connection, chat: str) -> int:
    query = "select octet_length(payload::text) from parley.outbox where chat_id = %s order by id desc limit 1"
    row = connection.execute(query, [chat]).fetchone()
    assert row is not None
    return int(row[0])


def test_an_event_has_its_content_up_to_the_limit(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    send(dba, chat, "é")
    rest = size(dba, chat) - 2
    whole = send(dba, chat, "é" * ((MAX_EVENT_BYTES - rest) // 2) + "x" * ((MAX_EVENT_BYTES - rest) % 2))
    assert size(dba, chat) == MAX_EVENT_BYTES
    too_much = send(dba, chat, whole["content"] + "x")
    call(dba, "owner", "update_message", chat, whole["id"], {"content": "é" * 5000})
    call(dba, "owner", "update_message", chat, too_much["id"], {"content": "x" * MAX_EVENT_BYTES, "type": "code"})
    short = {key: value for key, value in too_much.items() if key != "content"}
    assert [payload for _, payload in events(dba, chat)][1:] == [
        whole,
        short | {"truncated": True},
        {"id": whole["id"], "updates": {}, "truncated": True},
        {"id": too_much["id"], "updates": {"type": "code"}, "truncated": True},
    ]


def test_the_longest_title_fits(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    call(dba, "owner", "update_chat", chat, {"title": "x" + "\x01" * 199})
    assert size(dba, chat) < MAX_EVENT_BYTES


def test_a_user_id_that_no_channel_can_name_is_known_by_its_hash(dba: Connection) -> None:
    longest, too_long = "ö" * 56 + "x", "ö" * 57
    chat = new_chat(dba, "owner", longest, too_long)
    call(dba, "owner", "update_chat", chat, {"title": "Plans"})
    (updated,) = fetch(dba, chat)
    call(dba, too_long, "remove_member", chat, too_long)
    (removed,) = fetch(dba, chat, held_chats=[chat], held_until=[updated["id"]])
    assert sorted(map(len, updated["channels"])) == [20, 49, 63, 164]
    assert f"private-user-{removed['recipients'][0]}" in updated["channels"]


def add_members(connection: Connection, chat: str, count: int) -> None:
    """Adds new users to a chat."""
    users = "select %(chat)s::text || '-' || n as id from generate_series(1, %(count)s) n"
    values = {"chat": chat, "count": count}
    connection.execute(f"insert into next_auth.users (id) {users}", values)
    connection.execute(
        f"insert into parley.members (chat_id, user_id) select %(chat)s::uuid, id from ({users}) u", values
    )


def test_a_rename_is_stored_once_and_not_for_each_member(dba: Connection) -> None:
    small, large = new_chat(dba, "owner"), new_chat(dba, "owner")
    add_members(dba, large, 3000)
    sizes = []
    for chat in (small, large):
        call(dba, "owner", "update_chat", chat, {"title": "Plans"})
        query = "select pg_column_size(o), recipients from parley.outbox o where chat_id = %s order by id desc limit 1"
        sizes.append(dba.execute(query, [chat]).fetchone())
    assert sizes[0] == sizes[1]
    assert sizes[0] is not None
    assert sizes[0][0] < 300
    (event,) = fetch(dba, large)
    assert len(set(event["channels"])) == 1 + 1 + 3000


# What the listener does


def test_a_rename_is_published_to_who_is_a_member_then(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "removed")
    call(dba, "owner", "update_chat", chat, {"title": "Plans"})
    call(dba, "owner", "remove_member", chat, "removed")
    add_member(dba, "owner", chat, "newcomer")
    (renamed, _) = fetch(dba, chat)
    channels = {f"private-chat-{chat}", "private-user-b3duZXI", "private-user-bmV3Y29tZXI"}
    assert set(renamed["channels"]) == channels
    call(dba, "owner", "delete_chat", chat)
    (renamed, _, deleted) = fetch(dba, chat)
    assert set(renamed["channels"]) == set(deleted["channels"]) == channels


def test_a_rename_of_before_is_published_to_members_only(dba: Connection) -> None:
    chat = new_chat(dba, "owner", "member")
    call(dba, "owner", "update_chat", chat, {"title": "Plans"})
    dba.execute("update parley.outbox set recipients = '{owner,gone}' where event = 'chat:updated'")
    (renamed,) = fetch(dba, chat)
    assert set(renamed["channels"]) == {f"private-chat-{chat}", "private-user-b3duZXI", "private-user-bWVtYmVy"}


def test_events_are_taken_in_order_and_once_done_no_more(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    sent = [send(dba, chat, str(n)) for n in range(4)]
    taken = fetch(dba, chat)
    assert [json.loads(event["payload"]) for event in taken] == sent
    ids = [event["id"] for event in taken]
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


def test_as_many_events_are_taken_as_their_recipients_allow(dba: Connection) -> None:
    chat, other = new_chat(dba, "owner"), new_chat(dba, "owner")
    dba.execute("insert into next_auth.users (id) select 'member-' || n from generate_series(1, 1000) n")
    dba.execute(
        "insert into parley.members (chat_id, user_id) select %s, 'member-' || n from generate_series(1, 1000) n",
        [chat],
    )
    for n in range(5):
        call(dba, "owner", "update_chat", chat, {"title": f"Plan {n}"})
    send(dba, other)
    assert len(fetch(dba, chat)) == 5
    assert len(fetch(dba, chat, max_bytes=1)) == 1
    assert len(fetch(dba, chat, max_bytes=30_000)) == 2
    (first,) = fetch(dba, chat, max_bytes=1)
    assert first["has_more"]
    assert not fetch(dba, chat)[-1]["has_more"]
    assert len(first["channels"]) == 1002


def test_recipients_stored_and_resolved_count_alike(dba: Connection) -> None:
    renamed, deleted, other = sorted(new_chat(dba, "owner") for _ in range(3))
    for chat in (renamed, deleted):
        add_members(dba, chat, 1000)
    call(dba, "owner", "update_chat", renamed, {"title": "Plans"})
    call(dba, "owner", "delete_chat", deleted)
    call(dba, "owner", "update_chat", renamed, {"title": "Plan B"})
    send(dba, other)
    sizes = [
        sum(len(fetch(dba, chat, after_chat=before(renamed), max_bytes=most)) for chat in (renamed, deleted, other))
        for most in (1, 55_000, 110_000, 165_000)
    ]
    assert sizes == [1, 2, 3, 4]
    call(dba, "owner", "delete_chat", renamed)
    sizes = [len(fetch(dba, renamed, max_bytes=most)) for most in (1, 55_000, 110_000, 165_000)]
    assert sizes == [1, 2, 3, 3]


def test_the_key_of_a_member_does_not_change(dba: Connection) -> None:
    chat, other = new_chat(dba, "owner", "member"), new_chat(dba, "owner")
    send(dba, chat)
    call(dba, "stranger", "list_chats")
    for change in (
        "update parley.members set chat_id = %s where chat_id = %s and user_id = 'member'",
        "update parley.members set user_id = 'stranger' || left(%s, 0) where chat_id = %s and user_id = 'member'",
    ):
        with pytest.raises(psycopg.errors.RaiseException, match="does not change"), dba.transaction():
            dba.execute(change, [other, chat])
    dba.execute("update parley.members set joined_at = now() where chat_id = %s", [chat])


def test_what_is_set_aside_is_in_a_view_and_can_be_queued_again(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    send(dba, chat)
    (event,) = fetch(dba, chat)
    dba.execute("select listener.set_aside(%s, 'HTTP 400: no such thing')", [event["id"]])
    assert fetch(dba, chat) == []
    view = "select id, event, error, bytes from analytics.set_aside_events where id = %s"
    assert dba.execute(view, [event["id"]]).fetchall() == [
        (event["id"], "message:sent", "HTTP 400", len(event["payload"]))
    ]
    words = dba.execute("select error from parley.outbox where id = %s", [event["id"]]).fetchone()
    assert words == ("HTTP 400: no such thing",)
    dba.execute("select parley.queue_again(%s)", [event["id"]])
    assert fetch(dba, chat) == [event]
    assert dba.execute(view, [event["id"]]).fetchall() == []


def test_old_events_go_unless_they_wait(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    for n in range(5):
        send(dba, chat, str(n))
    ids = [event["id"] for event in fetch(dba, chat)]
    fetch(dba, chat, acked=[ids[0], ids[2], ids[3]])
    dba.execute("delete from parley.outbox where chat_id <> %s", [chat])
    dba.execute("update parley.outbox set recorded_at = now() - interval '8 days' where id <> %s", [ids[3]])

    def remove(limit: int) -> int:
        row = dba.execute("select listener.remove_events('7 days', %s)", [limit]).fetchone()
        assert row is not None
        return int(row[0])

    dba.execute("select listener.set_aside(%s, 'HTTP 413')", [ids[4]])
    assert remove(100) == 0  # none is counted in the rollups yet
    dba.execute("update parley.rollup_state set last_counted_event = %s", [ids[0]])
    assert [remove(1), remove(1), remove(100)] == [1, 1, 0]  # that there is a member, too
    dba.execute("update parley.rollup_state set last_counted_event = %s", [ids[4]])
    assert [remove(1), remove(1), remove(100)] == [1, 0, 0]
    left = dba.execute("select id from parley.outbox order by id").fetchall()
    assert [event for (event,) in left] == [ids[1], ids[3], ids[4]]


def test_an_event_that_is_removed_from_the_log_is_not_published(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
    for n in range(3):
        send(dba, chat, str(n))
    ids = [event["id"] for event in fetch(dba, chat)]
    dba.execute("delete from parley.outbox where id = %s", [ids[1]])
    assert [event["id"] for event in fetch(dba, chat)] == [ids[0], ids[2]]
    assert dba.execute("select from parley.outbox_queue where id = %s", [ids[1]]).rowcount == 0
    dba.execute("truncate parley.outbox")
    assert dba.execute("select from parley.outbox_queue").rowcount == 0


def test_a_round_visits_each_chat_once_and_all_of_them(dba: Connection) -> None:
    chats = sorted(new_chat(dba, "owner") for _ in range(5))
    for n in range(5):
        for chat in chats:
            send(dba, chat, str(n))
    position, visited = before(chats[0]), []
    for _ in range(3):
        rows = fetch_all(dba, after_chat=position, max_events=4, max_events_per_chat=2)
        visited += [str(row["chat_id"]) for row in rows]
        assert [row["has_more"] for row in rows] == [False] * (len(rows) - 1) + [len(rows) == 4]
        position = visited[-1]
    assert visited == [chat for chat in chats for _ in range(2)]
    # The last event of a fetch may not be all that a chat could have: the rest is left to the next round.
    rows = fetch_all(dba, after_chat=before(chats[0]), max_events=3, max_events_per_chat=2)
    assert [str(row["chat_id"]) for row in rows] == [chats[0], chats[0], chats[1]]


def test_between_rounds_the_chats_of_the_latest_events_are_visited(dba: Connection) -> None:
    old, new, busy = (new_chat(dba, "owner") for _ in range(3))
    for chat in (old, new):
        send(dba, chat, "first")
    insert = "insert into parley.messages (chat_id, user_id, content) select %s, 'x', 'x' from generate_series(1, 1000)"
    dba.execute(insert, [busy])
    send(dba, new, "second")
    assert fetch(dba, old, after_chat=None, max_events_per_chat=100) == []
    rows = fetch(dba, new, after_chat=None, max_events_per_chat=100)
    found = [json.loads(row["payload"])["content"] for row in rows]
    assert found == ["first", "second"]
    assert len(fetch(dba, old)) == 1


def test_the_listener_has_its_functions_and_nothing_else(dba: Connection) -> None:
    chat = new_chat(dba, "owner")
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
    for forgery in ("parley.record_event(%s, 99, 'chat:deleted', '1')", "parley.queue_again(1) where %s <> ''"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), dba.transaction():
            dba.execute(f"select {forgery}", [chat])


# With several sessions


@pytest.fixture
def database(postgres: Postgres, new_database: Callable[[str], str]) -> str:
    """The URL of a database of the test's own."""
    return postgres.url(new_database(f"parley_{new_user().replace('-', '_')}"))


@contextmanager
def session(url: str) -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def yes(connection: Connection, question: str) -> bool:
    row = connection.execute(f"select {question}").fetchone()
    return row is not None and bool(row[0])


def nudges(listener: Connection, writer: Connection) -> int:
    """How many were sent so far."""
    writer.execute("notify parley_outbox, 'the end'")
    for count, nudge in enumerate(listener.notifies(timeout=10)):
        if nudge.payload == "the end":
            return count
    raise AssertionError("no end")


def test_one_session_leads_until_it_ends(database: str) -> None:
    with session(database) as second:
        with session(database) as first:
            assert yes(first, "listener.lead()")
            assert not yes(second, "listener.lead()")
        second.execute("select pg_advisory_lock(4242108500)")


def test_writers_notify_only_a_sleeping_listener(database: str) -> None:
    with session(database) as listener, session(database) as writer:
        listener.execute("listen parley_outbox")
        chat = new_chat(writer, "owner")
        heard = []
        for step in ("select 1", "select listener.sleep()", "select listener.wake()"):
            listener.execute(step)
            send(writer, chat)
            heard.append(nudges(listener, writer))
        assert heard == [0, 1, 0]


def test_no_commit_comes_between_falling_asleep_and_the_last_look(database: str) -> None:
    with session(database) as listener, session(database) as writer:
        chat = new_chat(writer, "owner")
        with writer.transaction():
            send(writer, chat)
            assert not yes(listener, "listener.sleep()")
            assert fetch(listener, chat) == []
        assert yes(listener, "listener.sleep()")
        assert len(fetch(listener, chat)) == 1


def test_a_commit_of_many_events_notifies_once(database: str) -> None:
    with session(database) as listener, session(database) as writer:
        chat = new_chat(writer, "owner")
        listener.execute("listen parley_outbox")
        assert yes(listener, "listener.sleep()")
        with writer.transaction():
            for _ in range(20):
                send(writer, chat)
        assert nudges(listener, writer) == 1


def test_a_user_who_is_deleted_does_not_wait_for_a_chat_that_is(database: str) -> None:
    with session(database) as chat_goes, session(database) as user_goes, session(database) as watcher:
        chat = new_chat(chat_goes, "owner", "member")
        user_goes.execute("set lock_timeout = '5s'")
        with chat_goes.transaction():
            chat_goes.execute("select from parley.chats where id = %s for update", [chat])
            assert user_goes.execute("delete from next_auth.users where id = 'member'").rowcount == 1
            chat_goes.execute("delete from parley.chats where id = %s", [chat])
        assert events(watcher, chat) == [("chat:deleted", chat)]
        assert yes(watcher, "not exists (select from parley.members where user_id = 'member')")


def test_the_recipients_of_a_deletion_are_those_at_its_commit(database: str) -> None:
    with session(database) as owner, rolled_back(database) as watcher:
        chat = new_chat(owner, "owner")
        for n in range(3):
            add_member(owner, "owner", chat, f"member-{n}")
        call(owner, "owner", "remove_member", chat, "member-1")
        call(owner, "owner", "delete_chat", chat)
        rows = watcher.execute("select recipients from parley.outbox where event = 'chat:deleted'").fetchall()
        assert [sorted(recipients) for (recipients,) in rows] == [["member-0", "member-2", "owner"]]


def test_who_is_added_while_the_chat_is_renamed_hears_of_it(database: str) -> None:
    waits = "exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')"
    with session(database) as renamer, session(database) as adder, session(database) as watcher:
        chat = new_chat(renamer, "owner")
        call(adder, "member", "list_chats")
        with ThreadPoolExecutor() as pool:
            with renamer.transaction():
                call(renamer, "owner", "update_chat", chat, {"title": "old news"})
                adding = pool.submit(call, adder, "owner", "add_member", chat, {"userId": "member"})
                wait_until(lambda: yes(watcher, waits))
            assert adding.result()["userId"] == "member"
        assert call(watcher, "member", "get_chat", chat)["title"] == "old news"
