"""Recorded events arrive: in order within a chat, chats side by side, to all who are to receive them."""

from concurrent.futures import ThreadPoolExecutor

import psycopg

from listener.database import MAX_EVENTS_PER_CHAT
from listener.relay import MAX_EVENTS
from tests.database import call, new_chat
from tests.listener.chats import RECORD, contents, private, send
from tests.listener.conftest import Stage
from tests.listener.rejecting_proxy import RejectingProxy
from tests.listener.support import Subscriber, listening
from tests.waiting import wait_until


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


def test_a_busy_chat_leaves_room_for_others(stage: Stage) -> None:
    busy, other = new_chat(stage.dba, "owner"), new_chat(stage.dba, "owner")
    stage.dba.execute(RECORD, [busy, 3000])
    send(stage.dba, other, "here I am")
    with RejectingProxy(stage.pusher).open() as proxy, listening(stage.listener(proxy)):
        wait_until(lambda: stage.waiting() == 0)
    sent = [content for batch in proxy.accepted for content in batch]
    assert sent.index("here I am") < 1000
    assert [content for content in sent if content != "here I am"] == [str(n) for n in range(1, 3001)]
    assert max(map(len, proxy.accepted)) == 10


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
    with RejectingProxy(stage.pusher).open() as proxy, listening(stage.listener(proxy)):
        wait_until(lambda: stage.waiting() == 0, seconds=60)
    sent = [content.split() for batch in proxy.accepted for content in batch]
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
        assert "unavailable" not in listener.log.read_text()
