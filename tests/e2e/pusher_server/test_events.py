"""Events that are published by the HTTP API of the local Pusher server."""

import json
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from api.dev.pusher_process import PusherProcess
from api.dev.pusher_server import limits
from api.dev.pusher_server.signatures import sign
from tests.e2e.pusher_server.clients import Api, Socket, connect_raw, encode_frame, open_socket


def test_event_is_sent_to_the_subscribers_of_its_channels_except_the_excluded_one(
    api: Api, socket: Socket, other_socket: Socket
) -> None:
    socket.subscribe("news")
    other_socket.subscribe("news")
    other_socket.subscribe("weather")
    body = {"name": "rain", "channels": ["news", "weather", "empty"], "data": '{"a": "é\U0001f600"}'}
    assert api.post("events", body | {"socket_id": socket.id}).json() == {}
    assert other_socket.receive() == {"event": "rain", "channel": "news", "data": body["data"]}
    assert other_socket.receive() == {"event": "rain", "channel": "weather", "data": body["data"]}
    other_socket.send("pusher:unsubscribe", {"channel": "weather"})
    other_socket.expect_nothing()
    socket.expect_nothing()
    assert api.post("events", body).status_code == 200
    assert [other_socket.receive()["channel"], socket.receive()["channel"]] == ["news", "news"]
    other_socket.expect_nothing()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"name": "n" * 200}, 200),
        ({"name": "n" * 201}, 400),
        ({"name": ""}, 400),
        ({"name": None}, 400),
        ({"name": 1}, 400),
        ({"data": "é" * 5_120}, 200),
        ({"data": "é" * 5_120 + "x"}, 413),
        ({"data": "\ud800"}, 200),
        ({"data": {}}, 400),
        ({"data": None}, 400),
        ({"channel": "-aZ0_=@,.;"}, 200),
        ({"channel": "#server-to-user-alice"}, 200),
        ({"channel": "c" * 164}, 200),
        ({"channel": "c" * 165}, 400),
        ({"channel": "a b"}, 400),
        ({"channel": "a\n"}, 400),
        ({"channel": "#a"}, 400),
        ({"channel": "é"}, 400),
        ({"channel": ""}, 400),
        ({"channel": None}, 400),
        ({"channel": ["a"]}, 400),
        ({"socket_id": "1.2"}, 200),
        ({"socket_id": "1"}, 400),
        ({"socket_id": 1.2}, 400),
    ],
)
def test_events_are_limited_in_size(api: Api, changes: dict[str, Any], status: int) -> None:
    event = {"name": "event", "channel": "news", "data": "{}"} | changes
    assert api.post("events", event).status_code == status
    assert api.post("batch_events", {"batch": [event]}).status_code == status


@pytest.mark.parametrize(
    ("names", "status"),
    [(["c"] * 100, 200), (["c"] * 101, 400), ([], 400), (["c", "a b"], 400), ("c", 400), ({"c": 1}, 400), (None, 400)],
)
def test_event_has_up_to_100_channels(api: Api, socket: Socket, names: Any, status: int) -> None:
    socket.subscribe("c")
    assert api.post("events", {"name": "event", "channels": names, "data": "{}"}).status_code == status
    for _ in range(100 if status == 200 else 0):
        assert socket.receive()["event"] == "event"
    socket.expect_nothing()


def test_batch_is_published_completely_and_in_order_or_not_at_all(api: Api, socket: Socket) -> None:
    socket.subscribe("a")
    socket.subscribe("b")
    batch: list[dict[str, Any]] = [{"name": f"n{i}", "channel": "ab"[i % 2], "data": str(i)} for i in range(10)]
    assert api.post("batch_events", {"batch": batch}).json() == {}
    for i in range(10):
        assert socket.receive() == {"event": f"n{i}", "channel": "ab"[i % 2], "data": str(i)}
    for invalid in ([*batch, batch[0]], [*batch[:9], batch[0] | {"name": ""}], [*batch[:9], 1], {"a": 1}, None):
        assert api.post("batch_events", {"batch": invalid}).status_code == 400
    assert api.post("batch_events", {"batch": [*batch[:9], batch[0] | {"data": "x" * 10_241}]}).status_code == 413
    assert api.post("batch_events", {"batch": [batch[0] | {"socket_id": socket.id}]}).status_code == 200
    socket.expect_nothing()


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"1", b"\xff", b"[" * 100_000, b"{" + b'"a":{' * 9_999])
def test_malformed_body_is_rejected(api: Api, body: bytes) -> None:
    assert api.post("events", body).status_code == 400
    assert api.post("batch_events", body).status_code == 400


def test_bodies_are_limited_in_size(api: Api) -> None:
    event = {"name": "event", "channel": "news", "data": "\1" * limits.MAX_DATA}
    assert api.post("batch_events", {"batch": [event] * 10}).status_code == 200
    filler = b" " * (limits.MAX_BODY - len(json.dumps(event)))
    assert api.post("events", json.dumps(event).encode() + filler).status_code == 200
    assert api.post("events", json.dumps(event).encode() + filler + b" ").status_code == 413


def test_events_arrive_in_the_order_of_the_responses(api: Api, socket: Socket, other_socket: Socket) -> None:
    for subscriber in (socket, other_socket):
        subscriber.subscribe("news")
    with httpx.Client(timeout=10) as second:
        callers = [api, Api(api.server, second)]
        for i in range(100):
            assert callers[i % 2].trigger("news", str(i)) == 200
    for subscriber in (socket, other_socket):
        assert [subscriber.receive()["data"] for _ in range(100)] == [str(i) for i in range(100)]


def test_subscriber_that_does_not_read_is_disconnected_and_delays_no_other(
    api: Api, pusher: PusherProcess, socket: Socket
) -> None:
    with open_socket(pusher, max_queue=1) as sleeper:
        socket.subscribe("presence-flood", "reader")
        sleeper.subscribe("presence-flood", "sleeper")
        socket.receive()
        batch = {"batch": [{"name": "event", "channel": "presence-flood", "data": "x" * 10_000}] * 10}
        events: list[str] = []
        while "pusher_internal:member_removed" not in events:
            assert api.post("batch_events", batch).status_code == 200
            events += [socket.receive()["event"] for _ in range(10)]
            assert len(events) < 10_000
        assert len(events) * 10_000 > limits.MAX_UNSENT
        assert sleeper.wait_for_close() == 1006
    assert api.get("channels/presence-flood/users").json() == {"users": [{"id": "reader"}]}


def test_subscribers_that_do_not_read_have_a_common_limit(
    api: Api, pusher: PusherProcess, socket: Socket, stack: ExitStack
) -> None:
    name = "presence-crowd"
    socket.subscribe(name, "reader")
    for number in range(limits.MAX_MEMBERS - 1):
        raw = stack.enter_context(connect_raw(pusher))
        user = json.dumps({"user_id": str(number)})
        auth = f"{pusher.key}:{sign(pusher.secret, f'{raw.socket_id}:{name}:{user}')}"
        command = {"event": "pusher:subscribe", "data": {"channel": name, "auth": auth, "channel_data": user}}
        raw.connection.sendall(encode_frame(0x81, json.dumps(command).encode()))
        socket.receive()
    batch = {"batch": [{"name": "event", "channel": name, "data": "x" * 10_000}] * 10}
    events: list[str] = []
    while "pusher_internal:member_removed" not in events:
        assert api.post("batch_events", batch).status_code == 200
        socket.send("pusher:ping", {})
        while events[-1:] != ["pusher:pong"]:
            events.append(socket.receive()["event"])
        events.pop()
        assert events.count("event") * 10_000 < limits.MAX_UNSENT  # none exceeds its own limit
    remaining = api.get(f"channels/{name}/users").json()["users"]
    assert {"id": "reader"} in remaining
    assert 1 < len(remaining) < limits.MAX_MEMBERS
