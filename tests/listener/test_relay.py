"""What is recorded arrives: in order within a chat, chats side by side, whatever is in the way."""

import asyncio
import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import aiohttp
import psycopg
from aiohttp import web

from api.dev.process import find_free_port
from api.dev.pusher_process import Pusher
from listener.outbox import MAX_EVENTS_PER_CHAT, Outbox
from listener.pusher import Pusher as PusherClient
from listener.relay import MAX_EVENTS, Relay
from tests.listener.conftest import Stage
from tests.listener.support import Subscriber, listening
from tests.support import Connection, call, new_chat, new_user, wait_until

RECORD = "insert into parley.messages (chat_id, user_id, content) select %s, 'x', n::text from generate_series(1, %s) n"


def send(connection: Connection, chat: str, content: str) -> dict[str, Any]:
    sent: dict[str, Any] = call(connection, "owner", "send_message", chat, {"content": content})
    return sent


def private(chat: str) -> str:
    return f"private-chat-{chat}"


def contents(subscriber: Subscriber) -> list[str]:
    return [data["content"] for data in subscriber.heard("message:sent")]


def record_badly(connection: Connection, chat: str, event: str, payload: str = '"x"') -> int:
    """An event that Pusher will refuse, as a DBA could record it; answers its id."""
    row = connection.execute(
        "with event as (insert into parley.outbox (chat_id, seq, event, payload) select id, seq + 1, %s, %s::json"
        " from parley.chats where id = %s returning id, chat_id), queued as (insert into parley.outbox_queue"
        " select id, chat_id from event), taken as (update parley.chats set seq = seq + 1 where id = %s)"
        " select id from event",
        [event, payload, chat, chat],
    ).fetchone()
    assert row is not None
    return int(row[0])


class Door(Pusher):
    """A way to a Pusher server that refuses some requests, and keeps the contents in the batches that passed."""

    def __init__(self, behind: Pusher) -> None:
        self.app_id, self.key, self.secret = behind.app_id, behind.key, behind.secret
        self.port = find_free_port()
        self.refuse: dict[str, int] = {}  # words in a request: the status of its answer
        self.slow: dict[str, float] = {}  # words in a request: the seconds until its answer
        self.passed: list[list[str]] = []
        self.refused: list[str] = []
        self.asked = 0
        self._behind = f"http://127.0.0.1:{behind.port}"

    async def _handle(self, request: web.Request) -> web.Response:
        if request.path == "/elsewhere":
            return web.Response(text="a page that has nothing to do with it")
        body = await request.read()
        self.asked += 1
        for words, status in self.refuse.items():
            if words in body.decode():
                self.refused.append(words)
                return web.Response(status=status, text="not now\0", headers={"Location": "/elsewhere"})
        for words, seconds in self.slow.items():
            if words in body.decode():
                await asyncio.sleep(seconds)
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, self._behind + request.path_qs, data=body) as response,
        ):
            if response.status == 200 and body:
                batch = json.loads(body).get("batch", [])
                self.passed.append([re.sub(r'.*"content" : "([^"]*)".*', r"\1", event["data"]) for event in batch])
            return web.Response(status=response.status, body=await response.read())

    @contextmanager
    def open(self) -> Iterator["Door"]:
        loop = asyncio.new_event_loop()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app)
        loop.run_until_complete(runner.setup())
        loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", self.port).start())
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.run_until_complete(runner.cleanup())
            loop.close()


# What arrives


def test_what_waited_and_what_comes_arrive_in_order(stage: Stage) -> None:
    chats = [new_chat(stage.dba, "owner") for _ in range(7)]
    for chat in chats:
        stage.dba.execute(RECORD, [chat, 30])
    with Subscriber(stage.pusher, *map(private, chats)) as subscriber, listening(stage.listener()) as listener:
        wait_until(lambda: len(subscriber.events) == 210)
        for chat in chats:
            stage.dba.execute(RECORD, [chat, 3])
        wait_until(lambda: len(subscriber.events) == 231)
        for chat in chats:
            heard = [
                e[1]["content"] for e, on in zip(subscriber.events, subscriber.heard_on, strict=True) if chat in on
            ]
            assert heard == [str(n) for n in [*range(1, 31), 1, 2, 3]]
        wait_until(lambda: stage.waiting() == 0)
        assert listener.stop() == 0


def test_many_writers_at_once(stage: Stage) -> None:
    chats = [new_chat(stage.dba, "owner") for _ in range(3)]

    def write(number: int) -> None:
        with psycopg.connect(stage.dba_url, autocommit=True) as writer:
            for n in range(50):
                send(writer, chats[n % 3], f"{number} {n}")

    with Subscriber(stage.pusher, *map(private, chats)) as subscriber, listening(stage.listener()):
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(write, range(6)))
        wait_until(lambda: len(subscriber.events) == 300)
        for chat in chats:
            heard = [e[1]["id"] for e, on in zip(subscriber.events, subscriber.heard_on, strict=True) if chat in on]
            assert heard == sorted(heard)
            assert len(set(heard)) == len(heard)


def test_an_event_for_many_is_published_to_each_once(stage: Stage) -> None:
    chat = new_chat(stage.dba, "owner")
    stage.dba.execute("insert into next_auth.users (id) select 'member-' || n from generate_series(1, 250) n")
    stage.dba.execute(
        "insert into parley.members (chat_id, user_id) select %s, 'member-' || n from generate_series(1, 250) n", [chat]
    )
    row = stage.dba.execute(
        "select array_agg(parley.user_channel(user_id)) from parley.members where chat_id = %s", [chat]
    ).fetchone()
    assert row is not None
    renamed = ("chat:updated", {"id": chat, "updates": {"title": "Plans"}})
    with Subscriber(stage.pusher, private(chat), *row[0]) as subscriber, listening(stage.listener()):
        call(stage.dba, "owner", "update_chat", chat, {"title": "Plans"})
        call(stage.dba, "owner", "delete_chat", chat)
        wait_until(lambda: len(subscriber.events) == 2 * 252)
        for heard_on in (subscriber.heard_on[:252], subscriber.heard_on[252:]):
            assert set(heard_on) == {private(chat), *row[0]}
        assert subscriber.events == [renamed] * 252 + [("chat:deleted", chat)] * 252


def test_who_is_removed_is_disconnected_before_what_comes_after(stage: Stage) -> None:
    chat = new_chat(stage.dba, "owner", "member")
    with (
        Subscriber(stage.pusher, private(chat)) as owner,
        Subscriber(stage.pusher, private(chat), user="bWVtYmVy") as member,
        listening(stage.listener()),
    ):
        send(stage.dba, chat, "before")
        call(stage.dba, "owner", "remove_member", chat, "member")
        send(stage.dba, chat, "after")
        assert member.closed.wait(15)
        wait_until(lambda: contents(owner) == ["before", "after"])
        assert contents(member) == ["before"]
        assert not owner.closed.is_set()


def test_an_event_of_a_transaction_that_took_long_arrives_behind_later_ones(stage: Stage) -> None:
    slow, quick = new_chat(stage.dba, "owner"), new_chat(stage.dba, "owner")
    with (
        Subscriber(stage.pusher, private(slow), private(quick)) as subscriber,
        listening(stage.listener()),
        psycopg.connect(stage.dba_url, autocommit=True) as writer,
    ):
        with writer.transaction():
            send(writer, slow, "slow")
            for n in range(300):
                send(stage.dba, quick, str(n))
            wait_until(lambda: len(subscriber.events) == 300)
            wait_until(lambda: stage.waiting() == 0)
        wait_until(lambda: contents(subscriber)[-1] == "slow", seconds=3)


# What Pusher refuses


def test_what_pusher_refuses_is_set_aside_alone(stage: Stage) -> None:
    chat, other = new_chat(stage.dba, "owner"), new_chat(stage.dba, "owner")
    stage.dba.execute(RECORD, [chat, 4])
    bad = [record_badly(stage.dba, chat, "x" * 201), record_badly(stage.dba, chat, "big", f'"{"x" * 10_240}"')]
    stage.dba.execute(RECORD, [chat, 4])
    stage.dba.execute(RECORD, [other, 4])
    with Subscriber(stage.pusher, private(chat), private(other)) as subscriber, listening(stage.listener()):
        wait_until(lambda: len(subscriber.events) == 12)
        wait_until(lambda: stage.waiting() == 0)
        set_aside = """
            select id, v.event, o.error, v.error
            from analytics.set_aside_events v join parley.outbox o using (id) order by id"""
        first, second = stage.dba.execute(set_aside).fetchall()
        assert [first[0], second[0]] == bad
        assert first[2].startswith("HTTP 400: ")
        assert second[2].startswith("HTTP 413: ")
        assert (first[3], second[3]) == ("HTTP 400", "HTTP 413")
        stage.dba.execute("update parley.outbox set event = 'chat:mended' where id = %s", [bad[0]])
        stage.dba.execute("select parley.queue_again(%s)", [bad[0]])
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
        async with PusherClient(stage.settings(door)) as client:
            await listen_for(stage, Relay(client, patience=1), go_through_it)

    with Door(stage.pusher).open() as door, Subscriber(stage.pusher, private(chat), private(other)) as subscriber:
        door.refuse = {"poison": 500}
        asyncio.run(work())
        assert door.refused.count("poison") > 5
        (event,) = stage.dba.execute("select error from parley.outbox where set_aside_at is not null").fetchall()
        assert event == ("HTTP 500: not now\ufffd",)


def test_nothing_is_set_aside_while_everything_fails(stage: Stage) -> None:
    chats = [new_chat(stage.dba, "owner") for _ in range(5)]
    for status in (500, 401, 400, 302):
        with (
            Door(stage.pusher).open() as door,
            Subscriber(stage.pusher, *map(private, chats)) as subscriber,
            listening(stage.listener(door)) as listener,
        ):
            door.refuse = {"": status}
            for chat in chats:
                stage.dba.execute(RECORD, [chat, 3])
            wait_until(lambda: len(door.refused) > 2)
            wait_until(lambda said=f"HTTP {status}": said in listener.log.read_text())  # type: ignore[misc]
            door.refuse = {}
            wait_until(lambda: len(subscriber.events) >= 15)
            wait_until(lambda: stage.waiting() == 0)
    assert stage.dba.execute("select count(*) from analytics.set_aside_events").fetchone() == (0,)


def test_a_busy_chat_leaves_room_for_others(stage: Stage) -> None:
    busy, other = new_chat(stage.dba, "owner"), new_chat(stage.dba, "owner")
    stage.dba.execute(RECORD, [busy, 3000])
    send(stage.dba, other, "here I am")
    with Door(stage.pusher).open() as door, listening(stage.listener(door)):
        wait_until(lambda: stage.waiting() == 0)
    sent = [content for batch in door.passed for content in batch]
    assert sent.index("here I am") < 1000
    assert [content for content in sent if content != "here I am"] == [str(n) for n in range(1, 3001)]
    assert max(map(len, door.passed)) == 10


def test_more_chats_and_events_than_are_fetched_at_once_arrive_once_and_in_order(stage: Stage) -> None:
    record = """
        with recorded as (
            insert into parley.outbox (chat_id, seq, event, payload)
            select md5((n %% %(chats)s)::text)::uuid, n, 'message:sent',
                json_build_object('content', n %% %(chats)s || ' ' || n / %(chats)s)
            from generate_series(0, %(events)s - 1) n returning id, chat_id)
        insert into parley.outbox_queue select id, chat_id from recorded"""
    stage.dba.execute(record, {"chats": MAX_EVENTS + 500, "events": MAX_EVENTS + 500})
    stage.dba.execute(record, {"chats": 3, "events": 9 * MAX_EVENTS_PER_CHAT})
    with Door(stage.pusher).open() as door, listening(stage.listener(door)):
        wait_until(lambda: stage.waiting() == 0, seconds=60)
    sent = [content.split() for batch in door.passed for content in batch]
    assert len(sent) == MAX_EVENTS + 500 + 9 * MAX_EVENTS_PER_CHAT
    for chat in ("0", "1", "2"):
        assert [int(n) for c, n in sent if c == chat] == [0, *range(3 * MAX_EVENTS_PER_CHAT)]
    assert len({c for c, _ in sent}) == MAX_EVENTS + 500


def test_events_for_very_many_hold_up_no_other(stage: Stage) -> None:
    large, other = new_chat(stage.dba, "owner"), new_chat(stage.dba, "owner")
    stage.dba.execute("insert into next_auth.users (id) select gen_random_uuid()::text from generate_series(1, 2000)")
    stage.dba.execute(
        "insert into parley.members (chat_id, user_id) select %s, id from next_auth.users on conflict do nothing",
        [large],
    )
    for n in range(300):
        stage.dba.execute("update parley.chats set title = %s where id = %s", [f"Plan {n}", large])
    send(stage.dba, other, "here I am")
    with Subscriber(stage.pusher, private(other)) as subscriber, listening(stage.listener()) as listener:
        wait_until(lambda: contents(subscriber) == ["here I am"])
        assert "away" not in listener.log.read_text()


# What goes away and comes back


def test_pusher_may_be_away(stage: Stage, directory: Any) -> None:
    chat = new_chat(stage.dba, "owner")
    with Pusher(directory / new_user("pusher")) as pusher, listening(stage.listener(pusher)) as listener:
        pusher.kill()
        for n in range(25):
            send(stage.dba, chat, str(n))
        listener.child_until("Pusher is away")
        assert stage.waiting() == 25
        pusher.start()
        wait_until(lambda: stage.waiting() == 0)
        assert "Pusher is back" in listener.log.read_text()


def test_a_connection_to_the_database_that_ends_is_made_anew(stage: Stage) -> None:
    chat = new_chat(stage.dba, "owner")
    with Subscriber(stage.pusher, private(chat)) as subscriber, listening(stage.listener()) as listener:
        for n in range(3):
            send(stage.dba, chat, str(n))
            stage.dba.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'events'")
            wait_until(lambda n=n: listener.log.read_text().count("This listener publishes") == n + 2)  # type: ignore[misc]
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
            listener.child_until("The database is away")
            send(stage.dba, chat, "meanwhile")
        finally:
            os.kill(pids[0], signal.SIGCONT)
        wait_until(lambda: contents(subscriber) == ["meanwhile"])


def test_a_second_listener_takes_over(stage: Stage) -> None:
    chat = new_chat(stage.dba, "owner")
    first, second = stage.listener(), stage.listener()
    with Subscriber(stage.pusher, private(chat)) as subscriber, listening(first):
        try:
            second.spawn().child_until("this one waits")
            send(stage.dba, chat, "by the first")
            wait_until(lambda: len(subscriber.events) == 1)
            wait_until(lambda: stage.waiting() == 0)
            first.kill()
            second.child_until("This listener publishes", seconds=10)
            send(stage.dba, chat, "by the second")
            wait_until(lambda: contents(subscriber) == ["by the first", "by the second"])
        finally:
            second.stop()


def test_a_listener_that_hangs_loses_its_place(stage: Stage) -> None:
    chat = new_chat(stage.dba, "owner")
    first, second = stage.listener(), stage.listener()
    with Subscriber(stage.pusher, private(chat)) as subscriber, listening(first):
        try:
            second.spawn().child_until("this one waits")
            first.pause()
            second.child_until("This listener publishes", seconds=10)
            send(stage.dba, chat, "by the second")
            wait_until(lambda: contents(subscriber) == ["by the second"])
            first.go_on()
            first.child_until("this one waits")
            assert len(subscriber.events) == 1
        finally:
            second.stop()


def test_what_is_under_way_is_finished(stage: Stage) -> None:
    chats = [new_chat(stage.dba, "owner") for _ in range(20)]
    for chat in chats:
        stage.dba.execute(RECORD, [chat, 100])
    with Door(stage.pusher).open() as door, listening(stage.listener(door)) as listener:
        wait_until(lambda: len(door.passed) > 10)
        assert listener.stop() == 0
        assert 0 < stage.waiting() == 2000 - sum(map(len, door.passed))
        assert "Traceback" not in listener.log.read_text()


def test_the_claim_is_kept_until_the_last_request_ended(stage: Stage) -> None:
    chat = new_chat(stage.dba, "owner")
    second = stage.listener()
    with (
        Door(stage.pusher).open() as door,
        Subscriber(stage.pusher, private(chat)) as subscriber,
        listening(stage.listener(door)) as first,
    ):
        try:
            second.spawn().child_until("this one waits")
            door.slow = {"slow": 6.5}  # seconds, after which an idle session would have lost its claim
            send(stage.dba, chat, "slow")
            send(stage.dba, chat, "later")
            wait_until(lambda: door.asked > 0)
            assert first.stop() == 0
            wait_until(lambda: contents(subscriber) == ["slow", "later"])
        finally:
            second.stop()
    assert contents(subscriber) == ["slow", "later"]


# Old events


def test_old_events_are_removed(stage: Stage) -> None:
    chat = new_chat(stage.dba, "owner")
    stage.dba.execute(RECORD, [chat, 2500])
    stage.dba.execute("update parley.outbox set recorded_at = now() - interval '25 hours'")
    send(stage.dba, chat, "young")
    stage.dba.execute("truncate parley.outbox_queue")  # what is published meanwhile may put the count off by a minute
    count = "select count(*) from parley.outbox"
    with listening(stage.listener(OUTBOX_RETENTION_DAYS="1")):
        wait_until(lambda: stage.dba.execute(count).fetchone() == (1,))


# What may not be published twice, or must be


async def listen_for(stage: Stage, relay: Relay, until: Callable[[], bool]) -> None:
    """Has a relay at work in this process, until a state has come."""
    stopping = asyncio.Event()
    async with Outbox.connect(stage.settings()) as outbox:
        work = asyncio.create_task(relay.run(outbox, stopping))
        await asyncio.to_thread(wait_until, until)
        stopping.set()
        relay.interrupt()
        await work


def test_events_that_postgresql_forgot_are_done_are_repeated_without_a_gap(stage: Stage) -> None:
    chat = new_chat(stage.dba, "owner")
    stage.dba.execute(RECORD, [chat, 3])
    row = stage.dba.execute("select max(id) from parley.outbox").fetchone()
    assert row is not None

    async def work() -> None:
        async with PusherClient(stage.settings()) as client:
            relay = Relay(client)
            relay._publisher.published = [row[0]]  # published, and the crash came before the outbox knew of any
            await listen_for(stage, relay, lambda: stage.waiting() == 0)

    with Subscriber(stage.pusher, private(chat)) as subscriber:
        asyncio.run(work())
        wait_until(lambda: contents(subscriber) == ["1", "2", "3"])


def test_what_is_held_when_the_outbox_is_asked_counts(stage: Stage) -> None:
    stage.dba.execute(RECORD, [new_chat(stage.dba, "owner"), 2])

    async def work() -> tuple[list[int], list[int]]:
        async with Outbox.connect(stage.settings()) as outbox:
            events = (await outbox.ack_and_fetch_events([], max_events=9)).events
        async with Outbox.connect(stage.settings()) as outbox:
            held: dict[str, int | None] = {event.chat_id: event.id for event in events}
            taking = asyncio.create_task(outbox.ack_and_fetch_events([], held=held, max_events=9))
            asyncio.get_running_loop().call_soon(held.clear)  # when it waits for the statement to be prepared
            return [event.id for event in events], [event.id for event in (await taking).events]

    ids, taken = asyncio.run(work())
    assert len(ids) == 2
    assert taken == []
