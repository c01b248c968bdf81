"""Termination of the connections of removed members: order, merging, and servers that do not support it."""

import asyncio
from functools import partial

import pytest

from api.dev.process import find_free_port
from listener.pusher import PusherClient
from listener.relay import MAX_QUEUED_EVENTS, Relay
from tests.api_process import scrape
from tests.database import Connection, call
from tests.listener.chats import (
    chat_channel,
    new_large_chat,
    pusher_user_id,
    received_contents,
    send_message,
)
from tests.listener.conftest import Harness
from tests.listener.in_process import run_relay
from tests.listener.process import running_listener
from tests.listener.pusher_proxy import PusherProxy
from tests.listener.subscriber import Subscriber
from tests.waiting import wait_until

ROUTE = "/terminate_connections"
NOT_TERMINATED = "Pusher does not terminate connections, so"


def new_authorized_chat(dba: Connection, *members: str) -> str:
    """Create a large chat whose members are authorized for its channel."""
    chat = new_large_chat(dba, "owner", *members)
    dba.execute("update parley.members set was_authorized = true where chat_id = %s", [chat])
    return chat


def remove(harness: Harness, chat: str, member: str) -> None:
    call(harness.dba, "owner", "remove_member", chat, member)


@pytest.mark.parametrize("status", [404, 405, 410, 501, 400])
def test_termination_that_pusher_does_not_support_is_given_up_alone(harness: Harness, status: int) -> None:
    port = find_free_port()
    read_metric = partial(scrape, port, "parley_terminations_given_up_total")
    chat = new_authorized_chat(harness.dba, "first", "second", "third")
    with (
        PusherProxy(harness.pusher).open() as proxy,
        Subscriber(harness.pusher, chat_channel(chat)) as owner,
        Subscriber(harness.pusher, f"private-user-{pusher_user_id('first')}", user=pusher_user_id("first")) as first,
        Subscriber(harness.pusher, chat_channel(chat), user=pusher_user_id("third")) as third,
        running_listener(harness.new_listener(proxy, LISTENER_METRICS_PORT=str(port))) as listener,
    ):
        proxy.reject = {ROUTE: status}
        send_message(harness.dba, chat, "before")
        for member in ("first", "second"):
            remove(harness, chat, member)
            send_message(harness.dba, chat, f"after {member}")
        wait_until(lambda: received_contents(owner) == ["before", "after first", "after second"])
        assert [entry["event"] for entry in first.received("chat:event")] == ["member:removed"]
        wait_until(lambda: read_metric() == 2)
        assert listener.log.read_text().count(NOT_TERMINATED) == 1
        proxy.reject = {}
        remove(harness, chat, "third")
        assert third.closed.wait(15)
        wait_until(lambda: harness.count_queued() == 0)
        assert read_metric() == 2
        assert not first.closed.is_set()
    assert harness.dba.execute("select from analytics.dead_letter_events").fetchall() == []


def test_termination_is_repeated_while_all_requests_fail(harness: Harness) -> None:
    chat = new_authorized_chat(harness.dba, "member")
    with (
        PusherProxy(harness.pusher).open() as proxy,
        Subscriber(harness.pusher, chat_channel(chat), user=pusher_user_id("member")) as member,
        running_listener(harness.new_listener(proxy)) as listener,
    ):
        proxy.delay = {ROUTE: 0.01}
        send_message(harness.dba, chat, "before")
        wait_until(lambda: received_contents(member) == ["before"])
        proxy.reject = {ROUTE: 503}
        remove(harness, chat, "member")
        send_message(harness.dba, chat, "after")
        wait_until(lambda: ROUTE in proxy.rejected)
        proxy.rejected.clear()
        proxy.reject = {ROUTE: 404, "": 404}  # the app is unknown
        wait_until(lambda: proxy.rejected.count(ROUTE) > 2)
        proxy.reject = {}
        assert member.closed.wait(15)
        assert received_contents(member) == ["before"]
        wait_until(lambda: harness.count_queued() == 0)
        assert NOT_TERMINATED not in listener.log.read_text()


def test_termination_is_given_up_on_a_server_that_lists_no_channels_either(harness: Harness) -> None:
    chat = new_authorized_chat(harness.dba, "member")
    with (
        PusherProxy(harness.pusher).open() as proxy,
        Subscriber(harness.pusher, chat_channel(chat)) as subscriber,
        running_listener(harness.new_listener(proxy)) as listener,
    ):
        proxy.reject = {ROUTE: 404, "/channels": 405}
        remove(harness, chat, "member")
        send_message(harness.dba, chat, "after")
        wait_until(lambda: received_contents(subscriber) == ["after"])
        wait_until(lambda: harness.count_queued() == 0)
        assert listener.log.read_text().count(NOT_TERMINATED) == 1


@pytest.mark.parametrize(("status", "is_given_up"), [(500, True), (403, True), (302, True), (429, False), (503, False)])
def test_termination_that_fails_alone_is_given_up_unless_pusher_is_overloaded(
    harness: Harness, status: int, is_given_up: bool
) -> None:
    chat = new_authorized_chat(harness.dba, "member")

    def check() -> bool:
        remove(harness, chat, "member")
        send_message(harness.dba, chat, "after")
        if not is_given_up:
            wait_until(lambda: proxy.rejected.count(ROUTE) > 6)
            assert received_contents(subscriber) == []
            proxy.reject = {}
        wait_until(lambda: received_contents(subscriber) == ["after"])
        wait_until(lambda: harness.count_queued() == 0)
        assert proxy.terminated == ([] if is_given_up else [pusher_user_id("member")])
        return True

    async def run() -> None:
        async with PusherClient(harness.settings(proxy)) as client:
            await run_relay(harness, Relay(client, dead_letter_after=0.1), check)

    with (
        PusherProxy(harness.pusher).open() as proxy,
        Subscriber(harness.pusher, chat_channel(chat)) as subscriber,
    ):
        proxy.reject = {ROUTE: status}
        asyncio.run(run())
        assert proxy.rejected.count(ROUTE) > 5


def test_removals_from_many_chats_share_terminations(harness: Harness) -> None:
    chats = [new_authorized_chat(harness.dba, "member", "other") for _ in range(200)]
    harness.dba.execute("delete from parley.members where user_id = 'member'")
    for chat in chats:
        send_message(harness.dba, chat, "after")
    with (
        PusherProxy(harness.pusher).open() as proxy,
        Subscriber(harness.pusher, *map(chat_channel, chats)) as other,
        Subscriber(harness.pusher, *map(chat_channel, chats), user=pusher_user_id("member")) as member,
        running_listener(harness.new_listener(proxy)),
    ):
        wait_until(lambda: received_contents(other) == ["after"] * len(chats))
        assert member.closed.is_set()
        assert received_contents(member) == []
        wait_until(lambda: harness.count_queued() == 0)
    assert set(proxy.terminated) == {pusher_user_id("member")}
    assert len(proxy.terminated) <= len(chats) / 10


def test_removal_during_a_termination_is_followed_by_another(harness: Harness) -> None:
    first, second = new_authorized_chat(harness.dba, "member"), new_authorized_chat(harness.dba, "member")
    with PusherProxy(harness.pusher).open() as proxy, running_listener(harness.new_listener(proxy)):
        proxy.delay = {ROUTE: 1}
        remove(harness, first, "member")
        wait_until(lambda: proxy.waiting.get(ROUTE) == 1)
        remove(harness, second, "member")
        wait_until(lambda: harness.count_queued() == 0)
    assert proxy.terminated == [pusher_user_id("member")] * 2


def test_removals_from_one_chat_are_published_before_the_first_termination_ends(harness: Harness) -> None:
    members = [f"member-{n}" for n in range(30)]
    chat, other = new_authorized_chat(harness.dba, *members), new_large_chat(harness.dba, "owner")
    with (
        PusherProxy(harness.pusher).open() as proxy,
        Subscriber(harness.pusher, chat_channel(chat), chat_channel(other)) as subscriber,
        Subscriber(harness.pusher, *(f"private-user-{pusher_user_id(member)}" for member in members)) as removed,
        running_listener(harness.new_listener(proxy)),
    ):
        proxy.delay = {ROUTE: 3}
        harness.dba.execute("delete from parley.members where user_id like 'member-%'")
        send_message(harness.dba, chat, "after")
        wait_until(lambda: len(removed.received("chat:event")) == len(members))
        wait_until(lambda: proxy.waiting.get(ROUTE) == 8)
        send_message(harness.dba, other, "elsewhere")
        wait_until(lambda: received_contents(subscriber) == ["elsewhere"])
        assert proxy.terminated == []
        proxy.delay = {}
        wait_until(lambda: received_contents(subscriber) == ["elsewhere", "after"])
        assert len(proxy.terminated) == len(members)


def test_removal_that_pusher_rejects_stays_in_the_queue_until_its_termination(harness: Harness) -> None:
    chat = new_authorized_chat(harness.dba, "member")
    with (
        PusherProxy(harness.pusher).open() as proxy,
        Subscriber(harness.pusher, chat_channel(chat), user=pusher_user_id("member")) as member,
    ):
        proxy.reject = {"member:removed": 400, ROUTE: 503}
        with running_listener(harness.new_listener(proxy)) as listener:
            remove(harness, chat, "member")
            wait_until(lambda: proxy.rejected.count(ROUTE) > 1)
            listener.kill()
        assert not member.closed.is_set()
        del proxy.reject[ROUTE]
        with running_listener(harness.new_listener(proxy)):
            assert member.closed.wait(15)
            wait_until(lambda: harness.count_queued() == 0)
    (letters,) = harness.dba.execute("select count(*) from analytics.dead_letter_events").fetchone() or (0,)
    assert letters == 1


@pytest.mark.parametrize("status", [500, 503])
def test_terminations_that_fail_do_not_delay_other_events(harness: Harness, status: int) -> None:
    chat = new_large_chat(harness.dba, "owner")
    users = ("first", "second", "third")
    harness.dba.execute("insert into next_auth.users (id) select unnest(%s::text[])", [[*users]])
    harness.dba.execute(
        "insert into parley.chats (title, owner_id) select 'Plans', 'owner' from generate_series(1, %s)",
        [MAX_QUEUED_EVENTS // 2],
    )
    harness.dba.execute(
        "insert into parley.members (chat_id, user_id, was_authorized)"
        " select c.id, u, true from parley.chats c, unnest(%s::text[]) u where c.title = 'Plans'",
        [[*users]],
    )
    harness.dba.execute("update parley.chats set member_count = 1000")
    harness.dba.execute("delete from parley.outbox_queue")
    with (
        PusherProxy(harness.pusher).open() as proxy,
        Subscriber(harness.pusher, chat_channel(chat)) as subscriber,
        running_listener(harness.new_listener(proxy)) as listener,
    ):
        proxy.reject = {ROUTE: status}
        for number, user in enumerate(users):
            harness.dba.execute("delete from parley.members where user_id = %s", [user])
            send_message(harness.dba, chat, user)
            wait_until(lambda number=number: len(subscriber.events) == number + 1)  # type: ignore[misc]
            count = min(number * 2000 + 1000, 5000)
            wait_until(lambda count=count: sum(map(len, proxy.accepted)) >= count)  # type: ignore[misc]
        wait_until(lambda: proxy.rejected.count(ROUTE) > 10)
        send_message(harness.dba, chat, "elsewhere")
        wait_until(lambda: received_contents(subscriber) == [*users, "elsewhere"])
        assert "Pusher is unavailable" not in listener.log.read_text()
