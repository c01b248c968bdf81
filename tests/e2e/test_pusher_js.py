"""Live events as a web app receives them: through pusher-js, from the local Pusher server and from soketi.

A ping proves that no further event arrives: everything is published when the outbox is empty, and servers send in
order, so that a further event would arrive before the pong.
"""

import json
import random
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.pusher_js import TERMINATED, Servers, frozen
from tests.e2e.writers import writing
from tests.waiting import wait_until

MAX_EVENT_BYTES = 10_000
LIVES = 5  # rounds of a killed client
MAX_EVENTS = 15  # received before a client is killed


def test_events_of_others_arrive_as_documented_once_and_in_order(servers: Servers) -> None:
    owner, member = servers.new_user("Olga"), servers.new_user("Mia")
    chat = servers.new_chat(owner, member)
    channel = f"private-chat-{chat}"
    subscriber = member.open_client().sign_in().subscribe(channel, member.channel)
    second_client = member.open_client().subscribe(member.channel)

    first = owner.request("POST", f"chats/{chat}/messages", {"content": 'Grüße ☃ "quoted"\n\\n'})
    second = owner.request("POST", f"chats/{chat}/messages", {"content": "1 + 1", "type": "code"})
    owner.request("PUT", f"chats/{chat}/messages/{first['id']}", {"content": "Hello"})
    owner.request("PUT", f"chats/{chat}/messages/{second['id']}", {"content": "text.png", "type": "image"})
    owner.request("PUT", f"chats/{chat}/messages/{second['id']}", {"type": "text"})
    owner.request("DELETE", f"chats/{chat}/messages/{first['id']}")
    owner.request("PUT", f"chats/{chat}", {"title": "Other plans"})
    owner.request("DELETE", f"chats/{chat}")
    servers.settle(subscriber, second_client)

    assert first.keys() == {"id", "content", "type", "userId", "createdAt"}
    on_both = [("chat:updated", {"id": chat, "updates": {"title": "Other plans"}}), ("chat:deleted", chat)]
    assert [event[1:] for event in subscriber.received if event[0] == channel] == [
        ("message:sent", first),
        ("message:sent", second),
        ("message:updated", {"id": first["id"], "updates": {"content": "Hello"}}),
        ("message:updated", {"id": second["id"], "updates": {"content": "text.png", "type": "image"}}),
        ("message:updated", {"id": second["id"], "updates": {"type": "text"}}),
        ("message:deleted", first["id"]),
        *on_both,
    ]
    assert [event[1:] for event in subscriber.received if event[0] != channel] == on_both
    assert second_client.received == [(member.channel, *event) for event in on_both]
    for client in (subscriber, second_client):
        # The member's own addition, number 2, may have been published before the client subscribed.
        entries = [entry for entry in client.entries if entry["seq"] > 2]
        assert [entry["seq"] for entry in entries] == list(range(3, 11))
        assert [(entry["event"], entry["data"]) for entry in entries] == [
            event[1:] for event in subscriber.received if event[0] == channel
        ]


@pytest.mark.parametrize("name", ["next-auth.session-token", "__Secure-authjs.session-token"])
def test_session_cookie_is_sufficient(servers: Servers, name: str) -> None:
    owner, member = servers.new_user("Olga"), servers.new_user("Mia")
    chat = servers.new_chat(owner, member)
    client = member.open_client(Cookie=f"theme=dark; {name}={member.token}")
    client.sign_in().subscribe(f"private-chat-{chat}", f"presence-chat-{chat}", member.channel)
    signed_in = json.loads(client.wait_for("pusher:signin_success")["user_data"])
    assert signed_in == {"id": member.pusher_id, "user_info": {"userId": member.id, "name": "Mia"}}
    sent = owner.send(chat, "Hello")
    servers.settle(client)
    assert client.received == [sent]


def test_signing_in_and_subscribing_require_a_session(servers: Servers) -> None:
    owner = servers.new_user("Olga")
    chat = servers.new_chat(owner)
    client = owner.open_client(Cookie="next-auth.session-token=forged")
    client.do("signin")
    client.do("subscribe", f"private-chat-{chat}")
    assert client.wait_for("pusher:signin_error")["status"] == 401
    assert client.wait_for("pusher:subscription_error", f"private-chat-{chat}")["status"] == 401


def test_stranger_is_rejected_and_receives_no_events(servers: Servers) -> None:
    owner, member, stranger = servers.new_user("Olga"), servers.new_user("Mia"), servers.new_user("Sam")
    chat = servers.new_chat(owner, member)
    subscriber = member.open_client().sign_in().subscribe(f"private-chat-{chat}", member.channel)
    stranger_client = stranger.open_client().sign_in().subscribe(stranger.channel)
    for channel in (f"private-chat-{chat}", f"presence-chat-{chat}", member.channel):
        stranger_client.do("subscribe", channel)
        assert stranger_client.is_rejected(channel)
    sent = owner.send(chat, "Not for Sam")
    owner.request("PUT", f"chats/{chat}", {"title": "Nor this"})
    servers.settle(subscriber, stranger_client)
    renamed = ("chat:updated", {"id": chat, "updates": {"title": "Nor this"}})
    assert subscriber.received == [sent, (f"private-chat-{chat}", *renamed), (member.channel, *renamed)]
    assert stranger_client.received == []


@pytest.mark.parametrize("reason", ["removed", "left", "deleted"])
def test_removed_member_receives_no_further_events(servers: Servers, reason: str) -> None:
    owner, staying, leaving = servers.new_user("Olga"), servers.new_user("Mia"), servers.new_user("Lea")
    chat = servers.new_chat(owner, staying, leaving)
    channel = f"private-chat-{chat}"
    remaining = staying.open_client().sign_in().subscribe(channel)
    removed = [leaving.open_client().sign_in().subscribe(channel, leaving.channel) for _ in range(2)]
    before = owner.send(chat, "All of us")
    if reason == "deleted":
        servers.dba.execute("delete from next_auth.users where id = %s", [leaving.id])
    else:
        remover = owner if reason == "removed" else leaving
        remover.request("DELETE", f"chats/{chat}/members/{quote(leaving.id, safe='')}")
    after = [owner.send(chat, "Without Lea"), owner.send(chat, "Really")]
    owner.request("PUT", f"chats/{chat}", {"title": "Without Lea"})
    renamed = (channel, "chat:updated", {"id": chat, "updates": {"title": "Without Lea"}})
    servers.settle(remaining)
    assert remaining.received == [before, *after, renamed]
    for client in removed:
        assert client.wait_for("error")["code"] == TERMINATED
        client.wait_for("disconnected")
        client.do("connect")
        if reason == "deleted":
            assert client.is_rejected(channel, 401)
            assert client.is_rejected(leaving.channel, 401)
        else:
            assert client.is_rejected(channel)
            client.wait_for("pusher:subscription_succeeded", leaving.channel, times=2)
    later = owner.send(chat, "Still without Lea")
    servers.settle(remaining, *removed)
    assert remaining.received == [before, *after, renamed, later]
    assert [client.received for client in removed] == [[before], [before]]
    for client in removed:
        assert [entry["event"] for entry in client.entries][-2:] == ["message:sent", "member:removed"]


def test_members_see_each_others_presence(servers: Servers) -> None:
    owner, member = servers.new_user("Olga"), servers.new_user("Mia")
    channel = f"presence-chat-{servers.new_chat(owner, member)}"
    first = owner.open_client().subscribe(channel)
    second = member.open_client().subscribe(channel)
    expected = {owner.id: {"name": "Olga"}, member.id: {"name": "Mia"}}
    assert first.wait_for("pusher:subscription_succeeded", channel)["members"] == {owner.id: {"name": "Olga"}}
    assert first.wait_for("pusher:member_added", channel) == {"id": member.id, "info": {"name": "Mia"}}
    members = second.wait_for("pusher:subscription_succeeded", channel)
    assert members["members"] == expected
    assert members["me"] == {"id": member.id, "info": {"name": "Mia"}}
    with second:
        pass
    assert first.wait_for("pusher:member_removed", channel) == {"id": member.id, "info": {"name": "Mia"}}


def test_members_see_who_is_typing_and_strangers_neither_see_nor_send_it(servers: Servers) -> None:
    owner, member, stranger = servers.new_user("Olga"), servers.new_user("Mia"), servers.new_user("Sam")
    chat = servers.new_chat(owner, member)
    channel = f"presence-chat-{chat}"
    clients = [user.open_client().sign_in() for user in (owner, member, stranger)]
    for client in clients:
        client.do("subscribe", channel)
    for client in clients[:2]:
        client.wait_for("pusher:subscription_succeeded", channel)
        client.do("bind", channel, "client-typing")
    assert clients[2].is_rejected(channel)
    clients[2].do("trigger", channel, "client-typing", {"by": "Sam"})
    clients[2].ping()
    clients[1].do("trigger", channel, "client-typing", {})
    assert clients[0].wait_for("client-typing from", channel) == member.id
    for client in clients:
        client.ping()
    typing = [[event for event in client.received if event[1] == "client-typing"] for client in clients]
    assert typing == [[(channel, "client-typing", {})], [], []]


def test_large_event_arrives_without_its_content(servers: Servers) -> None:
    owner, member = servers.new_user("Olga"), servers.new_user("Mia")
    chat = servers.new_chat(owner, member)
    channel = f"private-chat-{chat}"
    client = member.open_client().subscribe(channel)
    short = owner.send(chat, "x")
    room = MAX_EVENT_BYTES - servers.fetch_number(
        "octet_length(payload::text) from parley.outbox order by id desc limit 1"
    )
    snowmen = "☃" * (room // 3)
    largest = owner.send(chat, snowmen + "x" * (room % 3 + 1))
    too_large = owner.send(chat, snowmen + "x" * (room % 3 + 2))
    path = f"chats/{chat}/messages/{short[2]['id']}"
    owner.request("PUT", path, {"content": snowmen * 2, "type": "code"})
    servers.settle(client)
    truncated = {**too_large[2], "truncated": True}
    del truncated["content"]
    edited = {"id": short[2]["id"], "updates": {"type": "code"}, "truncated": True}
    assert client.received == [
        short,
        largest,
        (channel, "message:sent", truncated),
        (channel, "message:updated", edited),
    ]
    assert member.request("GET", path)["content"] == snowmen * 2


def test_events_arrive_in_order_after_the_server_is_killed(servers: Servers) -> None:
    owner, member = servers.new_user("Olga"), servers.new_user("Mia")
    chat = servers.new_chat(owner, member)
    channel = f"private-chat-{chat}"
    client = member.open_client().sign_in().subscribe(channel)
    before = owner.send(chat, "before")
    servers.settle(client)
    assert servers.listener.child
    with ExitStack() as later:
        with frozen(client.pid):  # if it did not find the server at its retry, it would wait for 15 seconds
            servers.pusher.kill()
            meanwhile = [owner.send(chat, f"meanwhile {number}") for number in range(12)]
            servers.listener.wait_for_log("Pusher is unavailable")
            later.enter_context(frozen(servers.listener.child.pid))  # until there is a subscriber
            servers.pusher.start()
        client.wait_for("pusher:subscription_succeeded", channel, times=2)
    client.wait_for("pusher:signin_success", times=2)
    after = [owner.send(chat, f"after {number}") for number in range(12)]
    servers.settle(client)
    assert client.received == [before, *meanwhile, *after]


def summarize(event: tuple[str, Any]) -> tuple[str, str]:
    """Return the event's name and its message, which identify it: the log has no content of deleted messages."""
    name, data = event
    return name, data if isinstance(data, str) else data["id"]


def test_killed_client_catches_up_with_one_request_after_each_start(servers: Servers) -> None:
    owner, friend, member = servers.new_user("Olga"), servers.new_user("Fay"), servers.new_user("Mia")
    chat = servers.new_chat(owner, friend, member)
    channel = f"private-chat-{chat}"
    first = servers.fetch_number(f"seq from parley.chats where id = '{chat}'")
    log: list[tuple[str, str]] = []  # the events after that; a live event has no seq, and is the next one if it is new

    def append_new(events: Iterable[tuple[str, Any]]) -> int:
        new = [event for event in map(summarize, events) if event not in log]
        log.extend(new)
        return len(new)

    def catch_up() -> int:
        after = first + len(log)
        page = member.request("GET", f"chats/{chat}/events?after={after}&limit=1000")
        assert [event["seq"] for event in page["events"]] == list(range(after + 1, page["next"] + 1))
        assert not page["hasMore"]
        return append_new((event["event"], event["data"]) for event in page["events"])

    def follow_and_crash() -> tuple[int, int]:
        """Run a client that is killed before it fetches events, and then one that fetches them.

        Return how many events the second client had missed, and how many new ones it received.
        """
        with member.open_client() as client:
            client.do("subscribe", channel)
            target = random.randint(0, MAX_EVENTS)  # noqa: S311 (no secret)
            wait_until(lambda: len(client.received) >= target)
        with member.open_client().subscribe(channel) as client:
            missed = catch_up()
            target = random.randint(1, MAX_EVENTS)  # noqa: S311 (no secret)
            wait_until(lambda: sum(summarize(event[1:]) not in log for event in client.received) >= target)
        return missed, append_new(event[1:] for event in client.received)

    with writing([partial(user.write_until, chat=chat) for user in (owner, friend)]):
        results = [follow_and_crash() for _ in range(LIVES)]
    with member.open_client().subscribe(channel) as client:
        catch_up()
        last = owner.send(chat, "The end")
        servers.settle(client)
    append_new(event[1:] for event in client.received)
    query = "select event, payload from parley.outbox where chat_id = %s and seq > %s order by seq"
    assert log == [summarize(event) for event in servers.dba.execute(query, [chat, first])]
    assert log[-1] == summarize(last[1:])
    assert all(received for _, received in results)
    assert any(missed for missed, _ in results)
