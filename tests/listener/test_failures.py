"""Events that Pusher rejects, and requests that fail."""

import asyncio
from pathlib import Path

from api.dev.pusher_process import PusherProcess
from listener.pusher import PusherClient
from listener.relay import Relay
from tests.listener.chats import (
    INSERT_MESSAGES,
    chat_channel,
    new_large_chat,
    received_contents,
    record_invalid_event,
    send_message,
)
from tests.listener.conftest import Harness
from tests.listener.in_process import run_relay
from tests.listener.process import running_listener
from tests.listener.pusher_proxy import PusherProxy
from tests.listener.subscriber import Subscriber
from tests.tokens import new_user
from tests.waiting import wait_until


def test_only_the_rejected_event_is_dead_lettered(harness: Harness) -> None:
    chat, other = new_large_chat(harness.dba, "owner"), new_large_chat(harness.dba, "owner")
    harness.dba.execute(INSERT_MESSAGES, [chat, 4])
    invalid = [
        record_invalid_event(harness.dba, chat, "x" * 201),
        record_invalid_event(harness.dba, chat, "big", f'"{"x" * 10_240}"'),
    ]
    harness.dba.execute(INSERT_MESSAGES, [chat, 4])
    harness.dba.execute(INSERT_MESSAGES, [other, 4])
    with (
        Subscriber(harness.pusher, chat_channel(chat), chat_channel(other)) as subscriber,
        running_listener(harness.new_listener()),
    ):
        wait_until(lambda: len(subscriber.events) == 12)
        wait_until(lambda: harness.count_queued() == 0)
        dead_letters = """
            select id, v.event, o.error, v.error
            from analytics.dead_letter_events v join parley.outbox o using (id) order by id"""
        first, second = harness.dba.execute(dead_letters).fetchall()
        assert [first[0], second[0]] == invalid
        assert first[2].startswith("HTTP 400: ")
        assert second[2].startswith("HTTP 413: ")
        assert (first[3], second[3]) == ("HTTP 400", "HTTP 413")
        harness.dba.execute("update parley.outbox set event = 'chat:repaired' where id = %s", [invalid[0]])
        harness.dba.execute("select parley.requeue_events(%s)", [invalid[0]])
        wait_until(lambda: subscriber.received("chat:repaired") == ["x"])


def test_failures_in_one_chat_do_not_delay_others(harness: Harness) -> None:
    chat, other = new_large_chat(harness.dba, "owner"), new_large_chat(harness.dba, "owner")

    def send_messages() -> bool:
        send_message(harness.dba, chat, "poison")
        send_message(harness.dba, chat, "behind it")
        for n in range(40):
            send_message(harness.dba, other, str(n))
            wait_until(lambda: received_contents(subscriber)[-1:] == [str(n)], seconds=2)  # noqa: B023
        wait_until(
            lambda: bool(send_message(harness.dba, other, "more")) and "behind it" in received_contents(subscriber)
        )
        return True

    async def run() -> None:
        async with PusherClient(harness.settings(proxy)) as client:
            await run_relay(harness, Relay(client, dead_letter_after=1), send_messages)

    with (
        PusherProxy(harness.pusher).open() as proxy,
        Subscriber(harness.pusher, chat_channel(chat), chat_channel(other)) as subscriber,
    ):
        proxy.reject = {"poison": 500}
        asyncio.run(run())
        assert proxy.rejected.count("poison") > 5
        (event,) = harness.dba.execute("select error from parley.outbox where dead_lettered_at is not null").fetchall()
        assert event == ("HTTP 500: not now\ufffd",)


def test_nothing_is_dead_lettered_while_all_requests_fail(harness: Harness) -> None:
    chats = [new_large_chat(harness.dba, "owner") for _ in range(5)]
    for status in (500, 401, 400, 302):
        with (
            PusherProxy(harness.pusher).open() as proxy,
            Subscriber(harness.pusher, *map(chat_channel, chats)) as subscriber,
            running_listener(harness.new_listener(proxy)) as listener,
        ):
            proxy.reject = {"": status}
            for chat in chats:
                harness.dba.execute(INSERT_MESSAGES, [chat, 3])
            wait_until(lambda: len(proxy.rejected) > 2)
            wait_until(lambda error=f"HTTP {status}": error in listener.log.read_text())  # type: ignore[misc]
            proxy.reject = {}
            wait_until(lambda: len(subscriber.events) >= 15)
            wait_until(lambda: harness.count_queued() == 0)
    assert harness.dba.execute("select count(*) from analytics.dead_letter_events").fetchone() == (0,)


def test_events_are_published_after_an_outage_of_pusher(harness: Harness, directory: Path) -> None:
    chat = new_large_chat(harness.dba, "owner")
    with (
        PusherProcess(directory / new_user("pusher")) as pusher,
        running_listener(harness.new_listener(pusher)) as listener,
    ):
        pusher.kill()
        for n in range(25):
            send_message(harness.dba, chat, str(n))
        listener.wait_for_log("Pusher is unavailable")
        assert harness.count_queued() == 25
        pusher.start()
        wait_until(lambda: harness.count_queued() == 0)
        assert "Pusher is available again" in listener.log.read_text()
