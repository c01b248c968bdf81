"""Requests to Pusher are shared: however many there are of one kind, they do not delay those of another."""

import pytest

from listener.publisher import MAX_EVENT_REQUESTS
from listener.relay import MAX_QUEUED_EVENTS, RESERVED_EVENTS
from tests.database import Connection, call
from tests.listener.chats import chat_channel, new_large_chat, received_contents, send_message
from tests.listener.conftest import Harness
from tests.listener.process import running_listener
from tests.listener.pusher_proxy import PusherProxy
from tests.listener.subscriber import Subscriber
from tests.waiting import wait_until

CHATS = "insert into parley.chats (title, owner_id) select 'Plans', 'owner' from generate_series(1, %s)"
MEMBERS = """
    insert into parley.members (chat_id, user_id)
    select c.id, 'member-' || n from parley.chats c, generate_series(1, %s) n where c.title = 'Plans'"""
RENAME = "update parley.chats set title = 'stored' where title = 'Plans'"
SEND = """
    insert into parley.messages (chat_id, user_id, content)
    select c.id, 'owner', 'stored' from parley.chats c where c.title = 'Plans'"""


def new_chats(dba: Connection, count: int, members: int = 0) -> None:
    """Create chats with the title Plans, with this many members besides the owner, and discard their events."""
    dba.execute("insert into next_auth.users (id) select 'member-' || n from generate_series(1, %s) n", [members])
    dba.execute(CHATS, [count])
    dba.execute(MEMBERS, [members])
    dba.execute("delete from parley.outbox_queue")


@pytest.mark.parametrize(
    ("members", "change"), [(0, RENAME), (15, RENAME), (15, SEND)], ids=["others", "large others", "large messages"]
)
def test_requests_of_another_kind_do_not_delay_a_message(harness: Harness, members: int, change: str) -> None:
    chat = new_large_chat(harness.dba, "owner")
    new_chats(harness.dba, 60, members)
    with (
        PusherProxy(harness.pusher).open() as proxy,
        Subscriber(harness.pusher, chat_channel(chat)) as subscriber,
        running_listener(harness.new_listener(proxy)),
    ):
        proxy.delay = {"stored": 3}
        harness.dba.execute(change)
        wait_until(lambda: proxy.waiting.get("stored") == MAX_EVENT_REQUESTS)
        send_message(harness.dba, chat, "elsewhere")
        wait_until(lambda: received_contents(subscriber) == ["elsewhere"])
        assert harness.count_queued() >= 60
        proxy.delay = {}
        wait_until(lambda: harness.count_queued() == 0)


def test_messages_do_not_delay_another_event(harness: Harness) -> None:
    chat = new_large_chat(harness.dba, "owner")
    new_chats(harness.dba, 60)
    with (
        PusherProxy(harness.pusher).open() as proxy,
        Subscriber(harness.pusher, chat_channel(chat)) as subscriber,
        running_listener(harness.new_listener(proxy)),
    ):
        proxy.delay = {"stored": 3}
        harness.dba.execute(SEND)
        wait_until(lambda: proxy.waiting.get("stored") == MAX_EVENT_REQUESTS)
        call(harness.dba, "owner", "update_chat", chat, {"title": "elsewhere"})
        wait_until(lambda: subscriber.received("chat:updated") == [{"id": chat, "updates": {"title": "elsewhere"}}])
        assert harness.count_queued() >= 60


def test_message_overtakes_other_events_that_fill_the_queues(harness: Harness) -> None:
    chat = new_large_chat(harness.dba, "owner")
    new_chats(harness.dba, MAX_QUEUED_EVENTS + RESERVED_EVENTS + 1000)
    harness.dba.execute(RENAME)
    with (
        PusherProxy(harness.pusher).open() as proxy,
        Subscriber(harness.pusher, chat_channel(chat)) as subscriber,
        running_listener(harness.new_listener(proxy)),
    ):
        proxy.delay = {"stored": 0.1}
        wait_until(lambda: proxy.waiting.get("stored") == MAX_EVENT_REQUESTS)
        send_message(harness.dba, chat, "elsewhere")
        wait_until(lambda: received_contents(subscriber) == ["elsewhere"])
        assert harness.count_queued() > MAX_QUEUED_EVENTS
