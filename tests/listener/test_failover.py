"""Lost connections to the database, and a second listener that takes over."""

import os
import signal

import psycopg
import pytest

from tests.listener.chats import INSERT_MESSAGES, chat_channel, new_large_chat, received_contents, send_message
from tests.listener.conftest import Harness
from tests.listener.process import LEADER_LOG, running_listener
from tests.listener.pusher_proxy import PusherProxy
from tests.listener.subscriber import Subscriber
from tests.waiting import wait_until


def test_closed_connection_to_the_database_is_replaced(harness: Harness) -> None:
    chat = new_large_chat(harness.dba, "owner")
    with (
        Subscriber(harness.pusher, chat_channel(chat)) as subscriber,
        running_listener(harness.new_listener()) as listener,
    ):
        for n in range(3):
            send_message(harness.dba, chat, str(n))
            harness.dba.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'events'")
            wait_until(lambda n=n: listener.log.read_text().count(LEADER_LOG) == n + 2)  # type: ignore[misc]
        send_message(harness.dba, chat, "end")
        wait_until(lambda: "end" in received_contents(subscriber))
        assert set(received_contents(subscriber)) == {"0", "1", "2", "end"}


def test_dead_connection_to_the_database_is_detected(harness: Harness) -> None:
    chat = new_large_chat(harness.dba, "owner")
    with (
        Subscriber(harness.pusher, chat_channel(chat)) as subscriber,
        running_listener(harness.new_listener()) as listener,
    ):
        # An idle backend holds no locks that others wait for.
        idle_backends = (
            "select pid from pg_stat_activity where usename = 'events' and query ~ 'ack_and_fetch' and state = 'idle'"
        )
        pids: list[int] = []

        def find_backends() -> bool:
            pids[:] = [row[0] for row in harness.dba.execute(idle_backends).fetchall()]
            return bool(pids)

        wait_until(find_backends)
        os.kill(pids[0], signal.SIGSTOP)
        try:
            listener.wait_for_log("The database is unavailable")
            send_message(harness.dba, chat, "meanwhile")
        finally:
            os.kill(pids[0], signal.SIGCONT)
        wait_until(lambda: received_contents(subscriber) == ["meanwhile"])


def test_standby_becomes_the_leader(harness: Harness) -> None:
    chat = new_large_chat(harness.dba, "owner")
    first, second = harness.new_listener(), harness.new_listener()
    with Subscriber(harness.pusher, chat_channel(chat)) as subscriber, running_listener(first):
        try:
            second.spawn().wait_for_log("is a standby")
            send_message(harness.dba, chat, "by the first")
            wait_until(lambda: len(subscriber.events) == 1)
            wait_until(lambda: harness.count_queued() == 0)
            first.kill()
            second.wait_for_log(LEADER_LOG, seconds=10)
            send_message(harness.dba, chat, "by the second")
            wait_until(lambda: received_contents(subscriber) == ["by the first", "by the second"])
        finally:
            second.stop()


@pytest.mark.parametrize("lock", ["pg_advisory_lock", "pg_advisory_lock_shared"])
def test_locks_of_another_login_hold_up_no_event(harness: Harness, lock: str) -> None:
    chat = new_large_chat(harness.dba, "owner")
    with (
        psycopg.connect(harness.dba_url, user="web", password="web", autocommit=True) as stranger,
        Subscriber(harness.pusher, chat_channel(chat)) as subscriber,
    ):
        for key in ("leader", "notify"):
            (value,) = harness.dba.execute(f"select parley.{key}_lock_key()").fetchone() or (0,)
            stranger.execute(f"select {lock}(%s)", [value])
        with running_listener(harness.new_listener()):
            for n in range(20):
                send_message(harness.dba, chat, str(n))
                wait_until(lambda: len(subscriber.events) == n + 1)  # noqa: B023
            wait_until(lambda: harness.count_queued() == 0)
            stranger.execute("select pg_advisory_unlock_all()")
            send_message(harness.dba, chat, "last")
            wait_until(lambda: received_contents(subscriber)[-1] == "last")


def test_hanging_leader_is_replaced(harness: Harness) -> None:
    chat = new_large_chat(harness.dba, "owner")
    first, second = harness.new_listener(), harness.new_listener()
    with Subscriber(harness.pusher, chat_channel(chat)) as subscriber, running_listener(first):
        try:
            second.spawn().wait_for_log("is a standby")
            first.pause()
            second.wait_for_log(LEADER_LOG, seconds=10)
            send_message(harness.dba, chat, "by the second")
            wait_until(lambda: received_contents(subscriber) == ["by the second"])
            first.resume()
            first.wait_for_log("is a standby")
            assert len(subscriber.events) == 1
        finally:
            second.stop()


def test_requests_in_flight_complete_before_the_process_ends(harness: Harness) -> None:
    chats = [new_large_chat(harness.dba, "owner") for _ in range(20)]
    for chat in chats:
        harness.dba.execute(INSERT_MESSAGES, [chat, 100])
    with PusherProxy(harness.pusher).open() as proxy, running_listener(harness.new_listener(proxy)) as listener:
        wait_until(lambda: len(proxy.accepted) > 10)
        assert listener.stop() == 0
        assert 0 < harness.count_queued() == 2000 - sum(map(len, proxy.accepted))
        assert "Traceback" not in listener.log.read_text()


def test_leader_keeps_the_lead_until_its_last_request_ends(harness: Harness) -> None:
    chat = new_large_chat(harness.dba, "owner")
    second = harness.new_listener()
    with (
        PusherProxy(harness.pusher).open() as proxy,
        Subscriber(harness.pusher, chat_channel(chat)) as subscriber,
        running_listener(harness.new_listener(proxy)) as first,
    ):
        try:
            second.spawn().wait_for_log("is a standby")
            proxy.delay = {"slow": 6.5}  # seconds, longer than the timeout of an idle session
            send_message(harness.dba, chat, "slow")
            send_message(harness.dba, chat, "later")
            wait_until(lambda: proxy.requests > 0)
            assert first.stop() == 0
            wait_until(lambda: received_contents(subscriber) == ["slow", "later"])
        finally:
            second.stop()
    assert received_contents(subscriber) == ["slow", "later"]
