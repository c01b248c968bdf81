"""The progress of the rollups: as_of is exact, and each message is counted once, while other transactions write."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import psycopg
import pytest

from tests.database import Connection, call, new_chat, roll_up, roll_up_to_now
from tests.tokens import new_user
from tests.waiting import next_millisecond, wait_until


def test_as_of_does_not_pass_messages_of_open_transactions(own_dba: Connection, own_url: str) -> None:
    early, late = new_chat(own_dba, "owner"), new_chat(own_dba, "owner")
    counted = "select coalesce(sum(messages), 0), max(as_of) from analytics.activity_by_hour"
    with psycopg.connect(own_url) as writer:
        writer.execute("select")
        call(writer, "owner", "send_message", early, {"content": "before"})
        roll_up(own_dba)  # from here on, messages are counted by events
        call(own_dba, "owner", "send_message", late, {"content": "before, too"})
        roll_up(own_dba)
        assert own_dba.execute(counted).fetchone() == (0, None)
        writer.commit()
        roll_up(own_dba)
        assert own_dba.execute(counted).fetchone()[0] == 2  # type: ignore[index]
        next_millisecond()
        writer.execute("select")
        call(writer, "owner", "send_message", early, {"content": "first"})
        sent = call(own_dba, "owner", "send_message", late, {"content": "second"})
        next_millisecond()
        for _ in range(2):
            roll_up(own_dba)
            messages, as_of = own_dba.execute(counted).fetchone()  # type: ignore[misc]
            assert messages == 2
            assert as_of < datetime.fromisoformat(sent["createdAt"])
        writer.rollback()
        writer.execute("select")
        call(writer, "owner", "send_message", early, {"content": "third"})
        for _ in range(2):
            roll_up(own_dba)
            assert own_dba.execute(counted).fetchone() == (2, as_of)
        writer.commit()
    roll_up(own_dba)
    messages, as_of = own_dba.execute(counted).fetchone()  # type: ignore[misc]
    assert messages == 4
    assert as_of > datetime.fromisoformat(sent["createdAt"])


def test_counting_waits_for_a_transaction_that_has_read_the_clock(own_dba: Connection, own_url: str) -> None:
    chat = new_chat(own_dba, "owner")
    roll_up_to_now(own_dba)
    waiting = "select from pg_locks where not granted and relation = 'parley.outbox'::regclass"
    with psycopg.connect(own_url) as other, ThreadPoolExecutor(1) as thread:
        other.execute("lock table parley.outbox in share mode")
        with psycopg.connect(own_url, autocommit=True) as writer:
            sending = thread.submit(call, writer, "owner", "send_message", chat, {"content": "word"})
            wait_until(lambda: own_dba.execute(waiting).rowcount == 1)
            next_millisecond()
            roll_up(own_dba)
            other.rollback()
            sent_at = datetime.fromisoformat(sending.result()["createdAt"])
    roll_up(own_dba)
    (as_of,) = own_dba.execute("select as_of from parley.rollup_state").fetchone()  # type: ignore[misc]
    assert as_of > sent_at
    assert own_dba.execute("select messages from analytics.activity_by_day").fetchall() == [(1,)]


def test_as_of_advances_with_the_last_batch(own_dba: Connection) -> None:
    chat = new_chat(own_dba, "owner")
    roll_up_to_now(own_dba)
    as_of = "select as_of from parley.rollup_state"
    before = own_dba.execute(as_of).fetchone()
    for _ in range(3):
        call(own_dba, "owner", "send_message", chat, {"content": "word"})
    counted = "select coalesce(sum(messages), 0)::int from analytics.activity_by_day"
    states = set()
    while own_dba.execute("select listener.roll_up(1)").fetchone() == (True,):
        states.add((own_dba.execute(counted).fetchone(), own_dba.execute(as_of).fetchone() == before))
    assert states >= {((1,), True), ((2,), True)}
    assert own_dba.execute(counted).fetchone() == (3,)
    assert own_dba.execute(as_of).fetchone() != before


def test_backfill_ends_at_a_whole_millisecond(own_dba: Connection) -> None:
    own_dba.execute("""
        do $$ begin
            for n in 1 .. 100 loop
                perform parley.reset_rollups();
                commit;
                perform listener.roll_up(1);
                assert (select rules.uuid7_timestamp(s.backfill_until) <= clock_timestamp() from parley.rollup_state s);
                commit;
            end loop;
        end $$""")  # fmt: skip


def test_each_message_is_counted_once_under_concurrent_writes(own_dba: Connection, own_url: str) -> None:
    users = [new_user() for _ in range(4)]
    chats = [new_chat(own_dba, user) for user in users]
    done = threading.Event()
    roll_up(own_dba)

    def write(n: int) -> None:
        with psycopg.connect(own_url, autocommit=n % 2 == 0) as connection:
            for k in range(60):
                connection.execute("select")
                sent = call(connection, users[n], "send_message", chats[n], {"content": "word"})
                if k % 5 == 0:
                    call(connection, users[n], "delete_message", chats[n], sent["id"])
                if n % 2 and k % 7 == 0:
                    connection.commit()

    def count() -> None:
        with psycopg.connect(own_url, autocommit=True) as connection:
            while not done.is_set():
                connection.execute("select listener.roll_up(9)")

    with ThreadPoolExecutor(6) as threads:
        counters = [threads.submit(count) for _ in range(2)]
        list(threads.map(write, range(4)))
        done.set()
        for counter in counters:
            counter.result()
    roll_up_to_now(own_dba)
    assert own_dba.execute("select sum(messages) from analytics.activity_by_hour").fetchone() == (240,)
    assert own_dba.execute("select sum(messages) from parley.rollup_users").fetchone() == (240,)
    by_week = "select distinct active_users, active_chats from analytics.growth_by_week"
    assert own_dba.execute(by_week).fetchall() == [(4, 4)]


def test_concurrent_roll_up_returns_false_without_waiting(own_dba: Connection, own_url: str) -> None:
    with psycopg.connect(own_url) as other:
        other.execute("select listener.roll_up(100)")
        own_dba.execute("set statement_timeout = '5s'")
        assert own_dba.execute("select listener.roll_up(100)").fetchone() == (False,)
        other.rollback()
    assert own_dba.execute("select listener.roll_up(100)").fetchone() == (True,)


def test_counting_continues_in_a_cluster_with_lower_transaction_ids(own_dba: Connection) -> None:
    chat = new_chat(own_dba, "owner")
    roll_up(own_dba)
    call(own_dba, "owner", "send_message", chat, {"content": "word"})
    own_dba.execute("select listener.roll_up(100)")
    own_dba.execute("update parley.rollup_state set barrier_transaction = '99999999999'")
    roll_up(own_dba)
    roll_up(own_dba)
    assert own_dba.execute("select messages from analytics.activity_by_day").fetchall() == [(1,)]


@pytest.mark.parametrize("size", [0, -1, None])
def test_batch_size_must_be_positive(dba: Connection, size: int | None) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="1 or more"), dba.transaction():
        dba.execute("select listener.roll_up(%s)", [size])


def test_roll_up_must_be_the_first_write_of_its_transaction(own_dba: Connection) -> None:
    with own_dba.transaction():
        own_dba.execute("select pg_current_xact_id()")
        with pytest.raises(psycopg.errors.RaiseException, match="first to write"), own_dba.transaction():
            own_dba.execute("select listener.roll_up(1)")
