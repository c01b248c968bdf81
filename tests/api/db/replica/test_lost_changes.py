"""The promotion of a replica that lacks the last changes: no client misses an event without noticing it."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from api.dev.postgres import Postgres
from api.dev.valkey import Valkey
from tests.api.db.replica.cluster import QUICK
from tests.api.db.replica.lost_changes import COMMON_SEQ, SEEN_SEQ, LostChat, connect, disconnected_replica, promote
from tests.api.support import unlimited_client
from tests.api_process import Api, running
from tests.database import Connection, add_member, call, expect_error
from tests.servers import migrate, new_postgres, new_replica
from tests.sql.outbox import fetch_publications, id_before
from tests.waiting import wait_until

CHATS = 20
HIGHEST_JSON_INTEGER = 2**53

Change = Callable[[Connection, LostChat], Any]
# Each kind of change, as the first one after the promotion.
CHANGES: dict[str, Change] = {
    "message:sent": lambda dba, chat: chat.send(dba, 1),
    "message:updated": lambda dba, chat: call(
        dba, chat.owner, "update_message", chat.id, chat.first_message(dba), {"content": "edited"}
    ),
    "message:deleted": lambda dba, chat: dba.execute("delete from parley.messages where chat_id = %s", [chat.id]),
    "chat:updated": lambda dba, chat: call(dba, chat.owner, "update_chat", chat.id, {"title": "Renamed"}),
    "chat:read": lambda dba, chat: call(dba, chat.member, "mark_read", chat.id, {"messageId": chat.first_message(dba)}),
    "member:added": lambda dba, chat: add_member(dba, chat.owner, chat.id, "guest"),
    "member:updated": lambda dba, chat: call(dba, chat.owner, "update_member", chat.id, chat.member, {"role": "owner"}),
    "member:removed": lambda dba, chat: call(dba, chat.owner, "remove_member", chat.id, chat.member),
}


@pytest.fixture(scope="module")
def primary(directory: Path) -> Iterator[Postgres]:
    with new_postgres(directory / "lost-primary", **QUICK) as server:
        migrate(server)
        yield server


@pytest.fixture(scope="module")
def promoted_and_chats(primary: Postgres, directory: Path) -> Iterator[tuple[Postgres, list[LostChat]]]:
    """A promoted replica, and chats of which clients have seen changes that it lacks; each is for one test."""
    with connect(primary) as dba:
        chats = [LostChat.create(dba) for _ in range(CHATS)]
        with disconnected_replica(directory / "lost-replica", primary) as replica:
            for chat in chats:
                chat.send(dba, SEEN_SEQ - COMMON_SEQ)
                assert chat.seqs(dba)[-1] == SEEN_SEQ
            promote(replica)
            yield replica, chats


@pytest.fixture
def chat(promoted_and_chats: tuple[Postgres, list[LostChat]]) -> LostChat:
    return promoted_and_chats[1].pop()


@pytest.fixture
def promoted(promoted_and_chats: tuple[Postgres, list[LostChat]]) -> Postgres:
    return promoted_and_chats[0]


@pytest.fixture
def dba(promoted: Postgres) -> Iterator[Connection]:
    """A connection to the promoted replica."""
    with connect(promoted) as connection:
        yield connection


def test_seq_of_a_lost_change_has_expired_before_and_after_the_next_changes(chat: LostChat, dba: Connection) -> None:
    for after in range(COMMON_SEQ + 1, SEEN_SEQ + 2):
        with expect_error(410):
            chat.list_events(dba, after)
    assert chat.list_events(dba, COMMON_SEQ) == {"events": [], "next": COMMON_SEQ, "hasMore": False}
    chat.send(dba, 4)
    seqs = chat.seqs(dba)
    first = seqs[COMMON_SEQ]
    assert seqs == [*range(1, COMMON_SEQ + 1), *range(first, first + 4)]
    assert SEEN_SEQ + 1_000_000 < seqs[-1] < HIGHEST_JSON_INTEGER
    for after in (COMMON_SEQ + 1, SEEN_SEQ, SEEN_SEQ + 1, first - 2, first - 1, first + 4):
        with expect_error(410) as error:
            chat.list_events(dba, after)
    assert error.message == "The log does not have the events after this seq."
    for after in (*range(COMMON_SEQ + 1), *range(first, first + 4)):
        assert chat.seqs(dba, after) == [seq for seq in seqs if seq > after]


def test_pages_continue_after_the_gap(chat: LostChat, dba: Connection) -> None:
    chat.send(dba, 2)
    seqs, after = chat.seqs(dba), 0
    for seq in seqs:
        page = chat.list_events(dba, after, limit="1")
        assert ([event["seq"] for event in page["events"]], page["next"]) == ([seq], seq)
        assert page["hasMore"] is (seq != seqs[-1])
        after = page["next"]


def test_removed_event_after_the_gap_expires_the_seq_before_it(chat: LostChat, dba: Connection) -> None:
    chat.send(dba, 2)
    first = chat.seqs(dba, COMMON_SEQ)[0]
    dba.execute("delete from parley.outbox where chat_id = %s and seq in (%s, %s)", [chat.id, COMMON_SEQ, first])
    for after in (COMMON_SEQ - 1, COMMON_SEQ):
        with expect_error(410):
            chat.list_events(dba, after)
    assert chat.seqs(dba, first) == [first + 1]
    assert chat.seqs(dba, COMMON_SEQ - 2) == [COMMON_SEQ - 1]


@pytest.mark.parametrize("event", CHANGES)
def test_first_change_of_each_kind_skips_the_lost_seqs(chat: LostChat, dba: Connection, event: str) -> None:
    CHANGES[event](dba, chat)
    call(dba, chat.owner, "send_message", chat.id, {"content": "next"})
    reader = chat.member if event == "member:updated" else chat.owner
    events = call(dba, reader, "list_chat_events", chat.id, after=str(COMMON_SEQ))["events"]
    assert events[0]["event"] == event
    assert [e["seq"] for e in events] == list(range(events[0]["seq"], events[0]["seq"] + len(events)))
    assert events[0]["seq"] > SEEN_SEQ + 1_000_000
    with expect_error(410):
        chat.list_events(dba, SEEN_SEQ)
    ids = dba.execute("select id from parley.messages where chat_id = %s order by created_at, id", [chat.id]).fetchall()
    sent = (
        "select (payload ->> 'id')::uuid from parley.outbox where chat_id = %s and event = 'message:sent' order by seq"
    )
    assert ids == dba.execute(sent, [chat.id]).fetchall()[-len(ids) :]


@pytest.mark.parametrize("statement", ["delete from parley.chats where id = %s", "delete_chat"])
def test_deletion_of_a_chat_skips_the_lost_seqs(chat: LostChat, dba: Connection, statement: str) -> None:
    if statement == "delete_chat":
        call(dba, chat.owner, "delete_chat", chat.id)
    else:
        dba.execute(statement, [chat.id])
    query = "select event, seq > %s from parley.outbox where chat_id = %s order by seq desc limit 1"
    assert dba.execute(query, [SEEN_SEQ + 1_000_000, chat.id]).fetchone() == ("chat:deleted", True)
    with expect_error(404):
        chat.list_events(dba, SEEN_SEQ)


def test_cursor_of_the_lost_history_has_expired(chat: LostChat, dba: Connection, primary: Postgres) -> None:
    with connect(primary) as old:
        cursor = call(old, chat.owner, "sync")["cursor"]
        assert call(old, chat.owner, "sync", after=cursor)["events"] == []
    for function in ("sync", "list_events"):
        with expect_error(410):
            call(dba, chat.owner, function, after=cursor)
    cursor = call(dba, chat.owner, "sync")["cursor"]
    chat.send(dba, 2)
    assert [event["seq"] for event in call(dba, chat.owner, "sync", after=cursor)["events"]] == chat.seqs(
        dba, COMMON_SEQ
    )


def test_published_events_have_the_new_seqs(chat: LostChat, dba: Connection) -> None:
    chat.send(dba, 3)
    published = [
        json.loads(row["payload"])
        for row in fetch_publications(dba, after_chat=id_before(chat.id))
        if row["event"] == "chat:event"
    ]
    seqs = chat.seqs(dba, COMMON_SEQ)
    assert sorted(event["seq"] for event in published if event["chatId"] == chat.id and event["seq"] > SEEN_SEQ) == seqs


def test_change_that_takes_no_seq_skips_none(chat: LostChat, dba: Connection) -> None:
    dba.execute("update parley.chats set title = title, owner_id = null where id = %s", [chat.id])
    assert chat.list_events(dba, COMMON_SEQ)["next"] == COMMON_SEQ
    chat.send(dba, 1)
    assert len(chat.seqs(dba, COMMON_SEQ)) == 1


def test_new_chat_counts_from_the_start(dba: Connection) -> None:
    chat = LostChat.create(dba)
    assert chat.seqs(dba) == list(range(1, COMMON_SEQ + 1))


def test_failover_as_clients_of_the_api_see_it(
    chat: LostChat, primary: Postgres, promoted: Postgres, directory: Path
) -> None:
    with Valkey(directory / "lost-valkey") as valkey, connect(primary) as old_dba:
        unknown = LostChat.create(old_dba)
        old, new = (Api(directory, server.url("parley", "app", "app"), valkey.url()) for server in (primary, promoted))
        with running(old), running(new), unlimited_client(old, chat.owner) as client:
            path = f"/api/chats/{chat.id}"
            events, messages = f"{path}/events", f"{path}/messages"
            etags = {each: client.get(each).headers["etag"] for each in (path, messages)}
            assert client.get(path).headers["x-chat-seq"] == str(SEEN_SEQ)
            client.base_url = new.url
            assert client.get(events, params={"after": SEEN_SEQ}).json()["error"]["code"] == "cursor_expired"
            assert client.get(path).headers["x-chat-seq"] == str(COMMON_SEQ)
            for _ in range(4):
                assert client.post(messages, json={"content": "new"}).status_code == 201
            assert client.get(events, params={"after": SEEN_SEQ}).status_code == 410
            page = client.get(events, params={"after": COMMON_SEQ}).json()
            assert len(page["events"]) == 4
            assert client.get(path).headers["x-chat-seq"] == str(page["next"])
            for each, etag in etags.items():
                assert client.get(each, headers={"If-None-Match": etag}).status_code == 200
                assert client.get(each).headers["etag"] != etag
            assert client.put(path, json={"title": "x"}, headers={"If-Match": etags[path]}).status_code == 412
        with running(new), unlimited_client(new, unknown.owner) as client:
            assert client.get(f"/api/chats/{unknown.id}/events", params={"after": COMMON_SEQ}).status_code == 404


def test_two_promotions_in_a_row(primary: Postgres, directory: Path) -> None:
    with connect(primary) as first:
        chat, idle = LostChat.create(first), LostChat.create(first)
        with disconnected_replica(directory / "second", primary) as replica:
            promote(replica)
            with connect(replica) as second:
                chat.send(second, 2)
                common = chat.seqs(second)[-1]
                with disconnected_replica(directory / "third", replica) as last:
                    chat.send(second, 3)
                    lost = chat.seqs(second)[-1]
                    promote(last)
                    with connect(last) as third:
                        assert chat.seqs(third, common) == []
                        with expect_error(410):
                            chat.list_events(third, lost)
                        chat.send(third, 3)
                        assert chat.seqs(third, common)[0] > lost
                        for after in (COMMON_SEQ + 1, lost - 1, lost):
                            with expect_error(410):
                                chat.list_events(third, after)
                        assert len(chat.seqs(third, common)) == 3
                        idle.send(third, 1)  # its first change since both promotions
                        assert len(idle.seqs(third, COMMON_SEQ)) == 1


def test_two_replicas_of_one_primary_assign_different_seqs(primary: Postgres, directory: Path) -> None:
    """Both promotions start the same timeline, since the servers are not connected."""
    with connect(primary) as dba:
        chat = LostChat.create(dba)
    with (
        disconnected_replica(directory / "one", primary) as one,
        disconnected_replica(directory / "other", primary) as other,
    ):
        promote(one)
        promote(other)
        with connect(one) as first, connect(other) as second:
            chat.send(first, 2)
            chat.send(second, 5)
            assert not set(chat.seqs(first, COMMON_SEQ)) & set(chat.seqs(second, COMMON_SEQ))
            with expect_error(410):
                chat.list_events(second, chat.seqs(first)[-1])


def assert_lost_before_and_after_changes(chat: LostChat, dba: Connection) -> None:
    """Check that SEEN_SEQ has expired, also after four changes, which follow COMMON_SEQ."""
    with expect_error(410):
        chat.list_events(dba, SEEN_SEQ)
    chat.send(dba, 4)
    with expect_error(410):
        chat.list_events(dba, SEEN_SEQ)
    assert len(chat.seqs(dba, COMMON_SEQ)) == 4


def test_point_in_time_recovery(primary: Postgres, directory: Path) -> None:
    """A base backup that is recovered to a restore point, which is followed by changes."""
    with connect(primary) as dba:
        chat = LostChat.create(dba)
        target = {"recovery_target_name": "before", "recovery_target_action": "promote"}
        copy = new_replica(directory / "recovered", primary, **QUICK, **target)
        dba.execute("select pg_create_restore_point('before')")
        chat.send(dba, SEEN_SEQ - COMMON_SEQ)
        with copy, psycopg.connect(copy.url("parley"), autocommit=True) as recovered:
            wait_until(lambda: recovered.execute("select pg_is_in_recovery()").fetchone() == (False,))
            assert_lost_before_and_after_changes(chat, recovered)


def test_restored_dump(primary: Postgres, directory: Path) -> None:
    """The dump has all changes up to its own, so a client that has seen no later one misses nothing."""
    with connect(primary) as dba:
        chat = LostChat.create(dba)
        database, dump = "restored", directory / "parley.dump"
        subprocess.run([primary.get_program("pg_dump"), "-Fc", "-f", dump, primary.url("parley")], check=True)
        chat.send(dba, SEEN_SEQ - COMMON_SEQ)
        dba.execute(f"create database {database}")
        subprocess.run([primary.get_program("pg_restore"), "-d", primary.url(database), dump], check=True)
    with psycopg.connect(primary.url(database), autocommit=True) as restored:
        assert_lost_before_and_after_changes(chat, restored)
