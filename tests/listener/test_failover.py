"""Lost connections to the database, and a second listener that takes over."""

import os
import signal

from tests.database import new_chat
from tests.listener.chats import RECORD, contents, private, send
from tests.listener.conftest import Stage
from tests.listener.rejecting_proxy import RejectingProxy
from tests.listener.support import Subscriber, listening
from tests.waiting import wait_until


def test_a_connection_to_the_database_that_ends_is_made_anew(stage: Stage) -> None:
    chat = new_chat(stage.dba, "owner")
    with Subscriber(stage.pusher, private(chat)) as subscriber, listening(stage.listener()) as listener:
        for n in range(3):
            send(stage.dba, chat, str(n))
            stage.dba.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'events'")
            wait_until(lambda n=n: listener.log.read_text().count("This listener is the leader") == n + 2)  # type: ignore[misc]
        send(stage.dba, chat, "end")
        wait_until(lambda: "end" in contents(subscriber))
        assert set(contents(subscriber)) == {"0", "1", "2", "end"}


def test_a_connection_to_the_database_that_is_dead_is_noticed(stage: Stage) -> None:
    chat = new_chat(stage.dba, "owner")
    with Subscriber(stage.pusher, private(chat)) as subscriber, listening(stage.listener()) as listener:
        # Not while it holds what others wait for.
        backend = (
            "select pid from pg_stat_activity where usename = 'events' and query ~ 'ack_and_fetch' and state = 'idle'"
        )
        pids: list[int] = []

        def found() -> bool:
            pids[:] = [row[0] for row in stage.dba.execute(backend).fetchall()]
            return bool(pids)

        wait_until(found)
        os.kill(pids[0], signal.SIGSTOP)
        try:
            listener.child_until("The database is unavailable")
            send(stage.dba, chat, "meanwhile")
        finally:
            os.kill(pids[0], signal.SIGCONT)
        wait_until(lambda: contents(subscriber) == ["meanwhile"])


def test_a_second_listener_takes_over(stage: Stage) -> None:
    chat = new_chat(stage.dba, "owner")
    first, second = stage.listener(), stage.listener()
    with Subscriber(stage.pusher, private(chat)) as subscriber, listening(first):
        try:
            second.spawn().child_until("is a standby")
            send(stage.dba, chat, "by the first")
            wait_until(lambda: len(subscriber.events) == 1)
            wait_until(lambda: stage.waiting() == 0)
            first.kill()
            second.child_until("This listener is the leader", seconds=10)
            send(stage.dba, chat, "by the second")
            wait_until(lambda: contents(subscriber) == ["by the first", "by the second"])
        finally:
            second.stop()


def test_a_listener_that_hangs_loses_its_place(stage: Stage) -> None:
    chat = new_chat(stage.dba, "owner")
    first, second = stage.listener(), stage.listener()
    with Subscriber(stage.pusher, private(chat)) as subscriber, listening(first):
        try:
            second.spawn().child_until("is a standby")
            first.pause()
            second.child_until("This listener is the leader", seconds=10)
            send(stage.dba, chat, "by the second")
            wait_until(lambda: contents(subscriber) == ["by the second"])
            first.go_on()
            first.child_until("is a standby")
            assert len(subscriber.events) == 1
        finally:
            second.stop()


def test_what_is_under_way_is_finished(stage: Stage) -> None:
    chats = [new_chat(stage.dba, "owner") for _ in range(20)]
    for chat in chats:
        stage.dba.execute(RECORD, [chat, 100])
    with RejectingProxy(stage.pusher).open() as proxy, listening(stage.listener(proxy)) as listener:
        wait_until(lambda: len(proxy.accepted) > 10)
        assert listener.stop() == 0
        assert 0 < stage.waiting() == 2000 - sum(map(len, proxy.accepted))
        assert "Traceback" not in listener.log.read_text()


def test_the_claim_is_kept_until_the_last_request_ended(stage: Stage) -> None:
    chat = new_chat(stage.dba, "owner")
    second = stage.listener()
    with (
        RejectingProxy(stage.pusher).open() as proxy,
        Subscriber(stage.pusher, private(chat)) as subscriber,
        listening(stage.listener(proxy)) as first,
    ):
        try:
            second.spawn().child_until("is a standby")
            proxy.delay = {"slow": 6.5}  # seconds, after which an idle session would have lost its claim
            send(stage.dba, chat, "slow")
            send(stage.dba, chat, "later")
            wait_until(lambda: proxy.requests > 0)
            assert first.stop() == 0
            wait_until(lambda: contents(subscriber) == ["slow", "later"])
        finally:
            second.stop()
    assert contents(subscriber) == ["slow", "later"]
