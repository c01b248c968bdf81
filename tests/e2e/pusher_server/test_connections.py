"""The WebSocket protocol of the local Pusher server: connections, private and presence channels."""

import json
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from api.dev.pusher_process import PusherProcess
from api.dev.pusher_server import limits, messages
from api.dev.pusher_server.signatures import sign
from tests.e2e.pusher_server.clients import SUCCEEDED, Api, Socket, build_url, open_socket


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/app/another", "protocol=7", 4001),
        ("/apps/{key}", "protocol=7", 4005),
        ("/app/{key}/more", "protocol=7", 4005),
        ("/", "protocol=7", 4005),
        ("/app/{key}", "protocol=7.0", 4006),
        ("/app/{key}", "protocol=6", 4007),
        ("/app/{key}", "protocol=8", 4007),
        ("/app/{key}", "client=js", 4008),
    ],
)
def test_rejected_connection_is_closed_with_a_code(pusher: PusherProcess, path: str, query: str, code: int) -> None:
    with connect(build_url(pusher, path.format(key=pusher.key), query)) as connection:
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=10)
        assert connection.close_code == code


def test_connection_is_established(api: Api, http_client: httpx.Client, socket: Socket, other_socket: Socket) -> None:
    assert socket.established == {"socket_id": socket.id, "activity_timeout": 120}
    assert messages.SOCKET_ID.fullmatch(socket.id)
    assert socket.id != other_socket.id
    assert http_client.get(f"{api.base}/app/{api.server.key}", params={"protocol": "7"}).status_code == 404


def test_private_channel_requires_a_signature_of_socket_and_channel(
    api: Api, socket: Socket, other_socket: Socket
) -> None:
    key, secret = api.server.key, api.server.secret
    invalid = [
        "",
        sign(secret, f"{socket.id}:private-a"),
        f"another:{sign(secret, f'{socket.id}:private-a')}",
        f"{key}:{sign('another', f'{socket.id}:private-a')}",
        f"{key}:{sign(secret, f'{other_socket.id}:private-a')}",
        f"{key}:{sign(secret, f'{socket.id}:private-b')}",
        f"{key}:{sign(secret, f'{socket.id}::user::private-a')}",
        f"{key}:é",
    ]
    refusal = {"type": "AuthError", "error": "Invalid signature", "status": 401}
    for auth in invalid:
        response = socket.subscribe("private-a", auth=auth)
        assert response == {"event": "pusher:subscription_error", "channel": "private-a", "data": refusal}
    assert api.trigger("private-a") == 200
    socket.expect_nothing()
    assert socket.subscribe("private-a") == {"event": SUCCEEDED, "channel": "private-a", "data": {}}
    assert api.trigger("private-a") == 200
    assert socket.receive()["channel"] == "private-a"
    assert socket.subscribe("private-a")["event"] == "pusher:error"
    assert api.trigger("private-a") == 200
    socket.receive()
    socket.expect_nothing()


@pytest.mark.parametrize(
    ("channel_data", "accepted"),
    [
        ({"user_id": "u" * 128}, True),
        ({"user_id": "u" * 129}, False),
        ({"user_id": 7, "user_info": {"name": "Alice"}}, True),
        ({"user_id": ""}, False),
        ({"user_id": None}, False),
        ({}, False),
        ([], False),
        (None, False),
        ({"user_id": "alice", "user_info": "x" * 1024}, True),
        ({"user_id": "alice", "user_info": "x" * 1025}, False),
    ],
)
def test_presence_channel_requires_a_user(api: Api, socket: Socket, channel_data: Any, accepted: bool) -> None:
    text = json.dumps(channel_data)
    auth = f"{api.server.key}:{sign(api.server.secret, f'{socket.id}:presence-a:{text}')}"
    tampered = {"channel": "presence-a", "auth": auth, "channel_data": text + " "}
    socket.send("pusher:subscribe", tampered)
    assert socket.receive()["data"]["status"] == 401
    socket.send("pusher:subscribe", tampered | {"channel_data": text})
    response = socket.receive()
    if accepted:
        user_id = str(channel_data["user_id"])
        members = {"ids": [user_id], "hash": {user_id: channel_data.get("user_info")}, "count": 1}
        assert response == {"event": SUCCEEDED, "channel": "presence-a", "data": {"presence": members}}
    else:
        assert response["event"] == "pusher:subscription_error"
        assert response["data"]["status"] == 400
        assert api.get("channels/presence-a").json() == {"occupied": False}


def test_members_are_added_and_removed_once_per_user(
    pusher: PusherProcess, socket: Socket, other_socket: Socket
) -> None:
    name = "presence-room"
    socket.subscribe(name, "alice", name="Alice")
    with open_socket(pusher) as second:
        members = other_socket.subscribe(name, "bob", name="Bob")["data"]["presence"]
        assert members["hash"] == {"alice": {"name": "Alice"}, "bob": {"name": "Bob"}}
        assert (sorted(members["ids"]), members["count"]) == (["alice", "bob"], 2)
        added = {"user_id": "bob", "user_info": {"name": "Bob"}}
        assert socket.receive() == {"event": "pusher_internal:member_added", "channel": name, "data": added}
        assert second.subscribe(name, "bob", name="Bob")["data"]["presence"]["count"] == 2
        socket.expect_nothing()
        other_socket.expect_nothing()
        other_socket.send("pusher:unsubscribe", {"channel": name})
        other_socket.expect_nothing()
        socket.expect_nothing()
    removed = {"event": "pusher_internal:member_removed", "channel": name, "data": {"user_id": "bob"}}
    assert socket.receive() == removed
    socket.expect_nothing()
    other_socket.send("pusher:unsubscribe", {"channel": name})
    other_socket.expect_nothing()


def test_presence_channel_has_up_to_100_members(api: Api, pusher: PusherProcess, stack: ExitStack) -> None:
    sockets = [stack.enter_context(open_socket(pusher)) for _ in range(limits.MAX_MEMBERS + 1)]
    for i in range(limits.MAX_MEMBERS):
        assert sockets[i].subscribe("presence-full", f"u{i}")["event"] == SUCCEEDED
    assert sockets[-1].subscribe("presence-full", "one more")["event"] == "pusher:subscription_error"
    assert sockets[-1].subscribe("presence-full", "u0")["data"]["presence"]["count"] == limits.MAX_MEMBERS
    assert len(api.get("channels/presence-full/users").json()["users"]) == limits.MAX_MEMBERS


def test_connection_has_a_limited_number_of_subscriptions(socket: Socket) -> None:
    for name in ("c" * 165, "a b", "#a", ""):
        assert socket.subscribe(name)["data"]["error"] == "Invalid channel name"
    assert socket.subscribe("c" * 164)["event"] == SUCCEEDED
    for i in range(limits.MAX_SUBSCRIPTIONS - 1):
        assert socket.subscribe(f"c{i}")["event"] == SUCCEEDED
    assert socket.subscribe("more")["event"] == "pusher:subscription_error"
    socket.send("pusher:unsubscribe", {"channel": "c0"})
    assert socket.subscribe("more")["event"] == SUCCEEDED


def test_signed_in_user_has_a_channel_and_is_the_member_of_presence_channels(api: Api, socket: Socket) -> None:
    user = {"id": "alice", "user_info": {"name": "Alice"}}
    assert socket.subscribe("#server-to-user-alice")["data"]["status"] == 401
    assert socket.subscribe("presence-b")["data"]["error"] == "Invalid JSON"
    assert socket.sign_in(user, secret="another")["event"] == "pusher:error"
    invalid: list[Any] = [{"id": ""}, {"id": 7}, {}, []]
    for user_data in invalid:
        assert socket.sign_in(user_data)["event"] == "pusher:error"
    assert socket.subscribe("#server-to-user-alice")["data"]["status"] == 401
    assert socket.sign_in(user) == {"event": "pusher:signin_success", "data": {"user_data": json.dumps(user)}}
    assert socket.sign_in(user)["event"] == "pusher:signin_success"
    assert socket.sign_in({"id": "bob"})["event"] == "pusher:error"
    assert socket.subscribe("#server-to-user-bob")["data"]["status"] == 401
    assert socket.subscribe("#server-to-user-alice")["event"] == SUCCEEDED
    assert api.trigger("#server-to-user-alice") == 200
    assert socket.receive()["channel"] == "#server-to-user-alice"
    assert socket.subscribe("presence-b")["data"]["presence"]["hash"] == {"alice": {"name": "Alice"}}
