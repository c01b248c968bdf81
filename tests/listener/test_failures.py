"""Events that Pusher rejects, and requests that fail."""

import asyncio
from typing import Any

from api.dev.pusher_process import Pusher
from listener.pusher import PusherClient
from listener.relay import Relay
from tests.database import new_chat
from tests.listener.chats import RECORD, contents, private, record_badly, send
from tests.listener.conftest import Stage
from tests.listener.in_process import listen_for
from tests.listener.rejecting_proxy import RejectingProxy
from tests.listener.support import Subscriber, listening
from tests.tokens import new_user
from tests.waiting import wait_until


def test_only_the_rejected_event_is_dead_lettered(stage: Stage) -> None:
    chat, other = new_chat(stage.dba, "owner"), new_chat(stage.dba, "owner")
    stage.dba.execute(RECORD, [chat, 4])
    bad = [record_badly(stage.dba, chat, "x" * 201), record_badly(stage.dba, chat, "big", f'"{"x" * 10_240}"')]
    stage.dba.execute(RECORD, [chat, 4])
    stage.dba.execute(RECORD, [other, 4])
    with Subscriber(stage.pusher, private(chat), private(other)) as subscriber, listening(stage.listener()):
        wait_until(lambda: len(subscriber.events) == 12)
        wait_until(lambda: stage.waiting() == 0)
        dead_letters = """
            select id, v.event, o.error, v.error
            from analytics.dead_letter_events v join parley.outbox o using (id) order by id"""
        first, second = stage.dba.execute(dead_letters).fetchall()
        assert [first[0], second[0]] == bad
        assert first[2].startswith("HTTP 400: ")
        assert second[2].startswith("HTTP 413: ")
        assert (first[3], second[3]) == ("HTTP 400", "HTTP 413")
        stage.dba.execute("update parley.outbox set event = 'chat:mended' where id = %s", [bad[0]])
        stage.dba.execute("select parley.requeue_events(%s)", [bad[0]])
        wait_until(lambda: subscriber.heard("chat:mended") == ["x"])


def test_one_chats_trouble_holds_up_no_other(stage: Stage) -> None:
    chat, other = new_chat(stage.dba, "owner"), new_chat(stage.dba, "owner")

    def go_through_it() -> bool:
        send(stage.dba, chat, "poison")
        send(stage.dba, chat, "behind it")
        for n in range(40):
            send(stage.dba, other, str(n))
            wait_until(lambda: contents(subscriber)[-1:] == [str(n)], seconds=2)  # noqa: B023
        wait_until(lambda: bool(send(stage.dba, other, "more")) and "behind it" in contents(subscriber))
        return True

    async def work() -> None:
        async with PusherClient(stage.settings(proxy)) as client:
            await listen_for(stage, Relay(client, dead_letter_after=1), go_through_it)

    with (
        RejectingProxy(stage.pusher).open() as proxy,
        Subscriber(stage.pusher, private(chat), private(other)) as subscriber,
    ):
        proxy.reject = {"poison": 500}
        asyncio.run(work())
        assert proxy.rejected.count("poison") > 5
        (event,) = stage.dba.execute("select error from parley.outbox where dead_lettered_at is not null").fetchall()
        assert event == ("HTTP 500: not now\ufffd",)


def test_nothing_is_dead_lettered_while_everything_fails(stage: Stage) -> None:
    chats = [new_chat(stage.dba, "owner") for _ in range(5)]
    for status in (500, 401, 400, 302):
        with (
            RejectingProxy(stage.pusher).open() as proxy,
            Subscriber(stage.pusher, *map(private, chats)) as subscriber,
            listening(stage.listener(proxy)) as listener,
        ):
            proxy.reject = {"": status}
            for chat in chats:
                stage.dba.execute(RECORD, [chat, 3])
            wait_until(lambda: len(proxy.rejected) > 2)
            wait_until(lambda said=f"HTTP {status}": said in listener.log.read_text())  # type: ignore[misc]
            proxy.reject = {}
            wait_until(lambda: len(subscriber.events) >= 15)
            wait_until(lambda: stage.waiting() == 0)
    assert stage.dba.execute("select count(*) from analytics.dead_letter_events").fetchone() == (0,)


def test_pusher_may_be_away(stage: Stage, directory: Any) -> None:
    chat = new_chat(stage.dba, "owner")
    with Pusher(directory / new_user("pusher")) as pusher, listening(stage.listener(pusher)) as listener:
        pusher.kill()
        for n in range(25):
            send(stage.dba, chat, str(n))
        listener.child_until("Pusher is unavailable")
        assert stage.waiting() == 25
        pusher.start()
        wait_until(lambda: stage.waiting() == 0)
        assert "Pusher is available again" in listener.log.read_text()
