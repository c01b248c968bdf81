"""Delivery of events: in order within a chat, to all recipients, and without delay by other chats."""

from concurrent.futures import ThreadPoolExecutor

import psycopg

from listener.database import MAX_EVENTS_PER_CHAT
from listener.pusher import MAX_BATCH_EVENTS
from listener.relay import MAX_QUEUED_EVENTS
from tests.database import call
from tests.listener.chats import (
    INSERT_MESSAGES,
    chat_channel,
    new_large_chat,
    pusher_user_id,
    received_contents,
    send_message,
)
from tests.listener.conftest import Harness
from tests.listener.process import running_listener
from tests.listener.pusher_proxy import PusherProxy
from tests.listener.subscriber import Subscriber
from tests.waiting import wait_until


def test_queued_and_new_events_arrive_in_order(harness: Harness) -> None:
    chats = [new_large_chat(harness.dba, "owner") for _ in range(7)]
    for chat in chats:
        harness.dba.execute(INSERT_MESSAGES, [chat, 30])
    with (
        Subscriber(harness.pusher, *map(chat_channel, chats)) as subscriber,
        running_listener(harness.new_listener()) as listener,
    ):
        wait_until(lambda: len(subscriber.events) == 210)
        for chat in chats:
            harness.dba.execute(INSERT_MESSAGES, [chat, 3])
        wait_until(lambda: len(subscriber.events) == 231)
        for chat in chats:
            received = [message["content"] for message in subscriber.received_on(chat_channel(chat))]
            assert received == [str(n) for n in [*range(1, 31), 1, 2, 3]]
        wait_until(lambda: harness.count_queued() == 0)
        assert listener.stop() == 0


def test_events_of_concurrent_writers_arrive_in_order(harness: Harness) -> None:
    chats = [new_large_chat(harness.dba, "owner") for _ in range(3)]

    def write(number: int) -> None:
        with psycopg.connect(harness.dba_url, autocommit=True) as writer:
            for n in range(50):
                send_message(writer, chats[n % 3], f"{number} {n}")

    with Subscriber(harness.pusher, *map(chat_channel, chats)) as subscriber, running_listener(harness.new_listener()):
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(write, range(6)))
        wait_until(lambda: len(subscriber.events) == 300)
        for chat in chats:
            received = [message["id"] for message in subscriber.received_on(chat_channel(chat))]
            assert received == sorted(received)
            assert len(set(received)) == len(received)


def test_event_for_many_users_is_published_to_each_once(harness: Harness) -> None:
    channel_count = 250 + 1 + 1  # of the members, of the owner, and of the chat
    chat = new_large_chat(harness.dba, "owner")
    harness.dba.execute("insert into next_auth.users (id) select 'member-' || n from generate_series(1, 250) n")
    harness.dba.execute(
        "insert into parley.members (chat_id, user_id) select %s, 'member-' || n from generate_series(1, 250) n", [chat]
    )
    harness.dba.execute("delete from parley.outbox_queue")
    row = harness.dba.execute(
        "select array_agg(parley.user_channel(user_id)) from parley.members where chat_id = %s", [chat]
    ).fetchone()
    assert row is not None
    renamed = ("chat:updated", {"id": chat, "updates": {"title": "Plans"}})
    with (
        Subscriber(harness.pusher, chat_channel(chat), *row[0]) as subscriber,
        running_listener(harness.new_listener()),
    ):
        call(harness.dba, "owner", "update_chat", chat, {"title": "Plans"})
        call(harness.dba, "owner", "delete_chat", chat)
        wait_until(lambda: len(subscriber.events) == 2 * channel_count)
        for channels in (subscriber.channels[:channel_count], subscriber.channels[channel_count:]):
            assert set(channels) == {chat_channel(chat), *row[0]}
        assert subscriber.events == [renamed] * channel_count + [("chat:deleted", chat)] * channel_count


def test_removed_member_is_disconnected_before_later_events(harness: Harness) -> None:
    chat = new_large_chat(harness.dba, "owner", "member")
    call(harness.dba, "member", "authorize_channel", "1.2", chat_channel(chat))
    with (
        Subscriber(harness.pusher, chat_channel(chat)) as owner,
        Subscriber(harness.pusher, chat_channel(chat), user=pusher_user_id("member")) as member,
        running_listener(harness.new_listener()),
    ):
        send_message(harness.dba, chat, "before")
        call(harness.dba, "owner", "remove_member", chat, "member")
        send_message(harness.dba, chat, "after")
        assert member.closed.wait(15)
        wait_until(lambda: received_contents(owner) == ["before", "after"])
        assert received_contents(member) == ["before"]
        assert not owner.closed.is_set()


def test_event_of_a_long_transaction_arrives_after_later_ones(harness: Harness) -> None:
    slow, quick = new_large_chat(harness.dba, "owner"), new_large_chat(harness.dba, "owner")
    with (
        Subscriber(harness.pusher, chat_channel(slow), chat_channel(quick)) as subscriber,
        running_listener(harness.new_listener()),
        psycopg.connect(harness.dba_url, autocommit=True) as writer,
    ):
        with writer.transaction():
            send_message(writer, slow, "slow")
            for n in range(300):
                send_message(harness.dba, quick, str(n))
            wait_until(lambda: len(subscriber.events) == 300)
            wait_until(lambda: harness.count_queued() == 0)
        wait_until(lambda: received_contents(subscriber)[-1] == "slow", seconds=3)


def test_busy_chat_does_not_delay_others(harness: Harness) -> None:
    busy, other = new_large_chat(harness.dba, "owner"), new_large_chat(harness.dba, "owner")
    harness.dba.execute(INSERT_MESSAGES, [busy, 3000])
    send_message(harness.dba, other, "here I am")
    with PusherProxy(harness.pusher).open() as proxy, running_listener(harness.new_listener(proxy)):
        wait_until(lambda: harness.count_queued() == 0)
    sent = [content for batch in proxy.accepted for content in batch]
    assert sent.index("here I am") < 1000
    assert [content for content in sent if content != "here I am"] == [str(n) for n in range(1, 3001)]
    assert max(map(len, proxy.accepted)) == MAX_BATCH_EVENTS == 10


def test_more_events_and_chats_than_in_one_fetch_arrive_once_and_in_order(harness: Harness) -> None:
    record = """
        with recorded as (
            insert into parley.outbox (chat_id, seq, event, payload)
            select md5((n %% %(chats)s)::text)::uuid, n, 'message:sent',
                json_build_object('content', n %% %(chats)s || ' ' || n / %(chats)s)
            from generate_series(0, %(events)s - 1) n returning id, chat_id)
        insert into parley.outbox_queue select id, chat_id from recorded"""
    harness.dba.execute(record, {"chats": MAX_QUEUED_EVENTS + 500, "events": MAX_QUEUED_EVENTS + 500})
    harness.dba.execute(record, {"chats": 3, "events": 9 * MAX_EVENTS_PER_CHAT})
    with PusherProxy(harness.pusher).open() as proxy, running_listener(harness.new_listener(proxy)):
        wait_until(lambda: harness.count_queued() == 0, seconds=60)
    sent = [content.split() for batch in proxy.accepted for content in batch]
    assert len(sent) == MAX_QUEUED_EVENTS + 500 + 9 * MAX_EVENTS_PER_CHAT
    for chat in ("0", "1", "2"):
        # 0 is recorded by the first statement, the others by the second.
        assert [int(n) for c, n in sent if c == chat] == [0, *range(3 * MAX_EVENTS_PER_CHAT)]
    assert len({c for c, _ in sent}) == MAX_QUEUED_EVENTS + 500


def test_events_with_many_recipients_do_not_delay_others(harness: Harness) -> None:
    large, other = new_large_chat(harness.dba, "owner"), new_large_chat(harness.dba, "owner")
    harness.dba.execute("insert into next_auth.users (id) select gen_random_uuid()::text from generate_series(1, 2000)")
    harness.dba.execute(
        "insert into parley.members (chat_id, user_id) select %s, id from next_auth.users on conflict do nothing",
        [large],
    )
    for n in range(300):
        harness.dba.execute("update parley.chats set title = %s where id = %s", [f"Plan {n}", large])
    send_message(harness.dba, other, "here I am")
    with (
        Subscriber(harness.pusher, chat_channel(other)) as subscriber,
        running_listener(harness.new_listener()) as listener,
    ):
        wait_until(lambda: received_contents(subscriber) == ["here I am"])
        # A fetch that exceeds its timeout is logged as `The database is unavailable`.
        assert "unavailable" not in listener.log.read_text()
