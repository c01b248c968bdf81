"""Events that clients send over the WebSocket protocol, and malformed messages."""

import time
from typing import Any

import pytest

from api.dev.pusher_server import limits
from tests.e2e.pusher_server.clients import Socket
from tests.waiting import wait_until


@pytest.mark.parametrize("channel", ["private-c", "presence-c"])
def test_client_event_is_sent_to_the_other_subscribers(socket: Socket, other_socket: Socket, channel: str) -> None:
    socket.subscribe(channel, "alice" if channel.startswith("presence-") else "")
    other_socket.subscribe(channel, "bob" if channel.startswith("presence-") else "")
    if channel.startswith("presence-"):
        socket.receive()
    for data in ({"typing": True}, "text", None):
        socket.send("client-event", data, channel=channel)
        user = {"user_id": "alice"} if channel.startswith("presence-") else {}
        assert other_socket.receive() == {"event": "client-event", "channel": channel, "data": data, **user}
    socket.expect_nothing()


def test_client_events_are_limited_in_size_and_to_subscribed_private_channels(
    socket: Socket, other_socket: Socket
) -> None:
    for subscriber in (socket, other_socket):
        subscriber.subscribe("private-d")
        subscriber.subscribe("public")
    other_socket.subscribe("private-e")
    name, data = "client-".ljust(limits.MAX_NAME, "x"), "x" * limits.MAX_DATA
    invalid: list[tuple[str, Any, Any]] = [
        ("client-event", {}, "public"),
        ("client-event", {}, "private-e"),
        ("client-event", {}, None),
        (f"{name}x", {}, "private-d"),
        ("client-event", f"{data}x", "private-d"),
        ("client-event", [data], "private-d"),
    ]
    for event, content, channel in invalid:
        socket.send(event, content, channel=channel)
        assert socket.receive()["event"] == "pusher:error"
    socket.send(name, data, channel="private-d")
    assert other_socket.receive() == {"event": name, "channel": "private-d", "data": data}
    other_socket.expect_nothing()


def test_client_events_are_limited_to_10_in_a_second(socket: Socket, other_socket: Socket) -> None:
    for subscriber in (socket, other_socket):
        subscriber.subscribe("private-f")
    began = time.monotonic()
    for i in range(11):
        socket.send("client-event", i, channel="private-f")
    error = socket.receive()
    assert time.monotonic() - began < 1
    assert (error["event"], error["data"]["code"]) == ("pusher:error", 4301)
    assert [other_socket.receive()["data"] for _ in range(10)] == list(range(10))
    other_socket.expect_nothing()

    def is_forwarded() -> bool:
        socket.send("client-event", "later", channel="private-f")
        socket.send("pusher:ping")
        if socket.receive()["event"] == "pusher:pong":
            return True
        socket.receive()
        return False

    wait_until(is_forwarded)
    assert other_socket.receive()["data"] == "later"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "x",
        "[]",
        "1",
        "{}",
        '{"event": 1}',
        '{"event": "another"}',
        '{"event": "another", "data": {}}',
        '{"event": "pusher:subscribe"}',
        '{"event": "pusher:subscribe", "data": "{}"}',
        '{"event": "pusher:subscribe", "data": {"channel": 1}}',
        '{"event": "pusher:unsubscribe", "data": {"channel": {}}}',
        '{"event": "pusher:signin", "data": {"auth": 1, "user_data": "{}"}}',
        '{"event": "client-x", "channel": {}}',
        "[" * 60_000,
        '{"event": "client-x", "channel": "private-g", "data": ' + "[" * 9_000 + "]" * 9_000 + "}",
        b"\xff",
        b"{}",
    ],
)
def test_malformed_message_gets_an_error(socket: Socket, content: str | bytes) -> None:
    socket.subscribe("private-g")
    socket.connection.send(content)
    assert socket.receive()["event"] == "pusher:error"
    socket.expect_nothing()


def test_messages_are_limited_in_size(socket: Socket) -> None:
    message = '{"event": "pusher:ping"}'
    socket.connection.send(message.ljust(limits.MAX_MESSAGE - 1))
    assert socket.receive()["event"] == "pusher:pong"
    socket.connection.send(message.ljust(limits.MAX_MESSAGE + 1))
    assert socket.wait_for_close() == 1009
