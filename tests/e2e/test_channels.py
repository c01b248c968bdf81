"""The local Pusher Channels: its HTTP API and its WebSocket protocol, over real sockets.

That nothing arrives is shown with a ping: the server writes in order, so what was to come would come before the pong.
"""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from api.dev import pusher_server as channels
from api.dev.pusher_process import Pusher, request_signature, signature
from tests.support import wait_until


@pytest.fixture(scope="module")
def pusher(directory: Path) -> Iterator[Pusher]:
    with Pusher(directory / "pusher") as server:
        yield server


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=10) as client:
        yield client


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Api:
    """The HTTP API, called as an app's backend calls it."""

    def __init__(self, server: Pusher, http: httpx.Client) -> None:
        self.server, self.http = server, http
        self.base = f"http://127.0.0.1:{server.port}"

    def query(self, method: str, path: str, body: bytes = b"", /, **fields: str | None) -> dict[str, str]:
        """A query with its signature; fields of None are left out, those named auth_signature put in its place."""
        given = {
            "auth_key": self.server.key,
            "auth_timestamp": str(int(time.time())),
            "auth_version": "1.0",
            "body_md5": hashlib.md5(body, usedforsecurity=False).hexdigest() if body else None,
            **fields,
        }
        query = {name: value for name, value in given.items() if value is not None}
        signed = [item for item in query.items() if item[0] != "auth_signature"]
        return {"auth_signature": request_signature(self.server.secret, method, path, signed), **query}

    def post(self, path: str, body: Any, **fields: str | None) -> httpx.Response:
        path = f"/apps/{self.server.app_id}/{path}"
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        query = self.query("POST", path, content, **fields)
        return self.http.post(f"{self.base}{path}?{urlencode(query)}", content=content)

    def get(self, path: str, **fields: str | None) -> httpx.Response:
        path = f"/apps/{self.server.app_id}/{path}"
        query = self.query("GET", path, b"", **fields)
        return self.http.get(f"{self.base}{path}?{urlencode(query)}")

    def trigger(self, channel: str, data: str = "{}", name: str = "event", **fields: Any) -> int:
        return self.post("events", {"name": name, "channel": channel, "data": data, **fields}).status_code


class Socket:
    """A client of the WebSocket protocol."""

    def __init__(self, server: Pusher, connection: ClientConnection) -> None:
        self.server, self.connection = server, connection
        self.established = self.receive()["data"]
        self.id: str = self.established["socket_id"]

    def send(self, event: str, data: Any = None, **fields: Any) -> None:
        self.connection.send(json.dumps({"event": event, "data": data, **fields}))

    def receive(self) -> dict[str, Any]:
        """The next event; pusher's own have JSON for data."""
        message: dict[str, Any] = json.loads(self.connection.recv(timeout=10))
        if message["event"].startswith("pusher") and isinstance(message["data"], str):
            message["data"] = json.loads(message["data"])
        return message

    def subscribe(self, channel: str, user: str = "", *, auth: str | None = None, **info: Any) -> dict[str, Any]:
        """The answer."""
        channel_data = json.dumps({"user_id": user, "user_info": info}) if user else None
        signed = f"{self.id}:{channel}" + (f":{channel_data}" if channel_data else "")
        auth = f"{self.server.key}:{signature(self.server.secret, signed)}" if auth is None else auth
        self.send("pusher:subscribe", {"channel": channel, "auth": auth, "channel_data": channel_data})
        return self.receive()

    def sign_in(self, user_data: Any, secret: str = "") -> dict[str, Any]:
        """The answer."""
        text = json.dumps(user_data)
        auth = f"{self.server.key}:{signature(secret or self.server.secret, f'{self.id}::user::{text}')}"
        self.send("pusher:signin", {"auth": auth, "user_data": text})
        return self.receive()

    def expect_nothing(self) -> None:
        self.send("pusher:ping", {})
        assert self.receive() == {"event": "pusher:pong", "data": {}}

    def close_code(self) -> int | None:
        """Of a connection that the server closes."""
        with suppress(ConnectionClosed):
            while True:
                self.connection.recv(timeout=10)
        return self.connection.close_code


@contextmanager
def opened(server: Pusher, max_queue: int | None = None) -> Iterator[Socket]:
    with connect(address(server), max_size=None, max_queue=max_queue, close_timeout=1) as connection:
        yield Socket(server, connection)


def address(server: Pusher, path: str | None = None, query: str = "protocol=7&client=js&version=8.6.0") -> str:
    return f"ws://127.0.0.1:{server.port}{path or f'/app/{server.key}'}?{query}"


@pytest.fixture(scope="module")
def api(pusher: Pusher, http: httpx.Client) -> Api:
    return Api(pusher, http)


@pytest.fixture
def socket(pusher: Pusher, stack: ExitStack) -> Socket:
    return stack.enter_context(opened(pusher))


@pytest.fixture
def other(pusher: Pusher, stack: ExitStack) -> Socket:
    return stack.enter_context(opened(pusher))


SUCCEEDED = "pusher_internal:subscription_succeeded"


# The process


def test_process_shows_no_secret_and_listens_on_loopback_only(pusher: Pusher) -> None:
    assert pusher.child
    process = psutil.Process(pusher.child.pid)
    assert pusher.secret not in " ".join(process.cmdline() + list(process.environ().values()))
    assert [c.laddr for c in process.net_connections() if c.status == "LISTEN"] == [("127.0.0.1", pusher.port)]
    assert pusher.environment == {
        "PUSHER_APP_ID": "1",
        "PUSHER_KEY": pusher.key,
        "PUSHER_SECRET": pusher.secret,
        "PUSHER_HOST": "127.0.0.1",
        "PUSHER_PORT": str(pusher.port),
        "PUSHER_USE_TLS": "false",
    }


def test_stop_sends_4200_and_a_killed_one_starts_again_on_its_port(directory: Path, http: httpx.Client) -> None:
    with Pusher(directory / "restarted") as server, opened(server) as socket:
        server.stop()
        assert socket.close_code() == 4200
    with Pusher(directory / "restarted", server.port, key=server.key, secret=server.secret) as again:
        with opened(again) as socket:
            again.kill()
            assert socket.close_code() == 1006
        again.start()
        assert again.environment == server.environment
        assert Api(server, http).trigger("news") == 200
    assert not again.log.read_bytes()


def test_silent_connection_is_pinged_and_closed(directory: Path) -> None:
    with Pusher(directory / "hasty", timeouts=(0.1, 1)) as server, opened(server) as socket:
        assert socket.established["activity_timeout"] == 0.1
        for _ in range(2):
            assert socket.receive()["event"] == "pusher:ping"
            socket.send("pusher:pong", {})
        assert socket.receive()["event"] == "pusher:ping"
        began = time.monotonic()
        assert socket.close_code() == 4201
        assert time.monotonic() - began > 0.5


# Signed requests


def test_signature_is_that_of_the_documentation() -> None:
    query = {
        "auth_key": "278d425bdf160c739803",
        "auth_timestamp": "1353088179",
        "auth_version": "1.0",
        "body_md5": "ec365a775a4cd0599faeb73354201b6f",
    }
    signed = request_signature("7ad3773142a6692b25b8", "POST", "/apps/3/events", query.items())
    assert signed == "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"


def test_request_must_be_signed_anew(api: Api, socket: Socket) -> None:
    socket.subscribe("news")
    for seconds, status in ((-570, 200), (590, 200), (-610, 401), (660, 401)):
        fields = {"auth_timestamp": str(int(time.time()) + seconds)}
        answer = api.post("events", {"name": "event", "channel": "news", "data": "{}"}, **fields)
        assert answer.status_code == status, seconds
        if status == 200:
            assert socket.receive()["event"] == "event"
    socket.expect_nothing()


@pytest.mark.parametrize(
    ("fields", "accepted"),
    [
        ({}, True),
        ({"Another": "parameter & value"}, True),
        ({"auth_timestamp": "now"}, False),
        ({"auth_timestamp": None}, False),
        ({"auth_version": "1.1"}, False),
        ({"auth_version": None}, False),
        ({"auth_key": "another"}, False),
        ({"auth_key": None}, False),
        ({"body_md5": hashlib.md5(b"another", usedforsecurity=False).hexdigest()}, False),
        ({"body_md5": None}, False),
        ({"auth_signature": "0" * 64}, False),
        ({"auth_signature": "é"}, False),
        ({"auth_signature": ""}, False),
    ],
)
def test_request_must_be_signed(api: Api, socket: Socket, fields: dict[str, str | None], accepted: bool) -> None:
    socket.subscribe("news")
    answer = api.post("events", {"name": "event", "channel": "news", "data": "{}"}, **fields)
    assert answer.status_code == (200 if accepted else 401)
    if accepted:
        assert socket.receive()["event"] == "event"
        assert answer.json() == {}
    socket.expect_nothing()


def test_signature_is_of_this_request_only(api: Api, http: httpx.Client) -> None:
    path = "/apps/1/channels"
    query = api.query("GET", path)
    assert http.get(f"{api.base}{path}", params=query).status_code == 200
    assert http.get(f"{api.base}{path}", params=query | {"filter_by_prefix": "x"}).status_code == 401
    assert http.get(f"{api.base}{path}/news", params=query).status_code == 401
    assert http.get(f"{api.base}{path}", params=api.query("POST", path)).status_code == 401
    assert http.get(f"{api.base}{path}").status_code == 401
    assert http.get(f"{api.base}/apps/2/channels", params=api.query("GET", "/apps/2/channels")).status_code == 404
    assert http.post(f"{api.base}/users/alice/terminate_connections").status_code == 404


# Events


def test_event_goes_to_the_subscribers_of_its_channels_but_the_excluded(
    api: Api, socket: Socket, other: Socket
) -> None:
    socket.subscribe("news")
    other.subscribe("news")
    other.subscribe("weather")
    body = {"name": "rain", "channels": ["news", "weather", "empty"], "data": '{"a": "é\U0001f600"}'}
    assert api.post("events", body | {"socket_id": socket.id}).json() == {}
    assert other.receive() == {"event": "rain", "channel": "news", "data": body["data"]}
    assert other.receive() == {"event": "rain", "channel": "weather", "data": body["data"]}
    other.send("pusher:unsubscribe", {"channel": "weather"})
    other.expect_nothing()
    socket.expect_nothing()
    assert api.post("events", body).status_code == 200
    assert [other.receive()["channel"], socket.receive()["channel"]] == ["news", "news"]
    other.expect_nothing()


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
def test_event_has_limits(api: Api, changes: dict[str, Any], status: int) -> None:
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


def test_batch_is_sent_whole_and_in_order_or_not_at_all(api: Api, socket: Socket) -> None:
    socket.subscribe("a")
    socket.subscribe("b")
    batch: list[dict[str, Any]] = [{"name": f"n{i}", "channel": "ab"[i % 2], "data": str(i)} for i in range(10)]
    assert api.post("batch_events", {"batch": batch}).json() == {}
    for i in range(10):
        assert socket.receive() == {"event": f"n{i}", "channel": "ab"[i % 2], "data": str(i)}
    for wrong in ([*batch, batch[0]], [*batch[:9], batch[0] | {"name": ""}], [*batch[:9], 1], {"a": 1}, None):
        assert api.post("batch_events", {"batch": wrong}).status_code == 400
    assert api.post("batch_events", {"batch": [*batch[:9], batch[0] | {"data": "x" * 10_241}]}).status_code == 413
    assert api.post("batch_events", {"batch": [batch[0] | {"socket_id": socket.id}]}).status_code == 200
    socket.expect_nothing()


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"1", b"\xff", b"[" * 100_000, b"{" + b'"a":{' * 9_999])
def test_malformed_body_is_refused(api: Api, body: bytes) -> None:
    assert api.post("events", body).status_code == 400
    assert api.post("batch_events", body).status_code == 400


def test_body_is_bounded(api: Api) -> None:
    event = {"name": "event", "channel": "news", "data": "\1" * channels.MAX_DATA}
    assert api.post("batch_events", {"batch": [event] * 10}).status_code == 200
    filler = b" " * (channels.MAX_BODY - len(json.dumps(event)))
    assert api.post("events", json.dumps(event).encode() + filler).status_code == 200
    assert api.post("events", json.dumps(event).encode() + filler + b" ").status_code == 413


def test_messages_arrive_in_the_order_of_the_answers(api: Api, socket: Socket, other: Socket) -> None:
    for subscriber in (socket, other):
        subscriber.subscribe("news")
    with httpx.Client(timeout=10) as second:
        callers = [api, Api(api.server, second)]
        for i in range(100):
            assert callers[i % 2].trigger("news", str(i)) == 200
    for subscriber in (socket, other):
        assert [subscriber.receive()["data"] for _ in range(100)] == [str(i) for i in range(100)]


def test_subscriber_that_does_not_read_is_dropped_and_holds_up_nobody(api: Api, pusher: Pusher, socket: Socket) -> None:
    with opened(pusher, max_queue=1) as sleeper:
        socket.subscribe("presence-flood", "reader")
        sleeper.subscribe("presence-flood", "sleeper")
        socket.receive()
        batch = {"batch": [{"name": "event", "channel": "presence-flood", "data": "x" * 10_000}] * 10}
        events: list[str] = []
        while "pusher_internal:member_removed" not in events:
            assert api.post("batch_events", batch).status_code == 200
            events += [socket.receive()["event"] for _ in range(10)]
            assert len(events) < 10_000
        assert len(events) * 10_000 > channels.MAX_UNSENT
        assert sleeper.close_code() == 1006
    assert api.get("channels/presence-flood/users").json() == {"users": [{"id": "reader"}]}


# Questions


def test_channels_are_listed_while_they_are_occupied(api: Api, socket: Socket, other: Socket) -> None:
    socket.subscribe("listed-1")
    socket.subscribe("presence-listed", "alice")
    other.subscribe("presence-listed", "alice")
    assert api.get("channels", filter_by_prefix="listed-").json() == {"channels": {"listed-1": {}}}
    assert {"listed-1", "presence-listed"} <= api.get("channels").json()["channels"].keys()
    presence = {"channels": {"presence-listed": {"user_count": 1}}}
    assert api.get("channels", filter_by_prefix="presence-l", info="user_count").json() == presence
    assert api.get("channels", info="user_count").status_code == 400
    assert api.get("channels", filter_by_prefix="presence-", info="subscription_count").status_code == 400
    assert api.get("channels/listed-1").json() == {"occupied": True}
    assert api.get("channels/listed-1", info="user_count").status_code == 400
    assert api.get("channels/presence-listed", info="user_count").json() == {"occupied": True, "user_count": 1}
    assert api.get("channels/presence-listed/users").json() == {"users": [{"id": "alice"}]}
    assert api.get("channels/presence-empty/users").json() == {"users": []}
    assert api.get("channels/listed-1/users").status_code == 400
    socket.connection.close()
    wait_until(lambda: api.get("channels/listed-1").json() == {"occupied": False})
    other.send("pusher:unsubscribe", {"channel": "presence-listed"})
    other.expect_nothing()
    assert api.get("channels/presence-listed", info="user_count").json() == {"occupied": False, "user_count": 0}


def test_terminated_are_the_connections_of_that_user(api: Api, pusher: Pusher, socket: Socket, other: Socket) -> None:
    with opened(pusher) as second:
        socket.sign_in({"id": "mallory"})
        second.sign_in({"id": "mallory"})
        other.sign_in({"id": "alice"})
        other.subscribe("presence-termination", "alice")
        socket.subscribe("presence-termination", "mallory")
        other.receive()
        assert api.post("users/nobody/terminate_connections", {}).json() == {}
        assert api.post("users/mallory/terminate_connections", {}).json() == {}
        assert api.get("channels/presence-termination/users").json() == {"users": [{"id": "alice"}]}
        assert [socket.close_code(), second.close_code()] == [4009, 4009]
    assert other.receive()["event"] == "pusher_internal:member_removed"
    other.expect_nothing()


# The WebSocket protocol


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
def test_connection_is_refused_with_a_code(pusher: Pusher, path: str, query: str, code: int) -> None:
    with connect(address(pusher, path.format(key=pusher.key), query)) as connection:
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=10)
        assert connection.close_code == code


def test_connection_is_established(api: Api, http: httpx.Client, socket: Socket, other: Socket) -> None:
    assert socket.established == {"socket_id": socket.id, "activity_timeout": 120}
    assert channels.SOCKET_ID.fullmatch(socket.id)
    assert socket.id != other.id
    assert http.get(f"{api.base}/app/{api.server.key}", params={"protocol": "7"}).status_code == 404


def test_private_channel_needs_a_signature_of_this_socket_and_channel(api: Api, socket: Socket, other: Socket) -> None:
    key, secret = api.server.key, api.server.secret
    wrong = [
        "",
        signature(secret, f"{socket.id}:private-a"),
        f"another:{signature(secret, f'{socket.id}:private-a')}",
        f"{key}:{signature('another', f'{socket.id}:private-a')}",
        f"{key}:{signature(secret, f'{other.id}:private-a')}",
        f"{key}:{signature(secret, f'{socket.id}:private-b')}",
        f"{key}:{signature(secret, f'{socket.id}::user::private-a')}",
        f"{key}:é",
    ]
    refusal = {"type": "AuthError", "error": "Invalid signature", "status": 401}
    for auth in wrong:
        answer = socket.subscribe("private-a", auth=auth)
        assert answer == {"event": "pusher:subscription_error", "channel": "private-a", "data": refusal}
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
def test_presence_channel_needs_a_user(api: Api, socket: Socket, channel_data: Any, accepted: bool) -> None:
    text = json.dumps(channel_data)
    auth = f"{api.server.key}:{signature(api.server.secret, f'{socket.id}:presence-a:{text}')}"
    tampered = {"channel": "presence-a", "auth": auth, "channel_data": text + " "}
    socket.send("pusher:subscribe", tampered)
    assert socket.receive()["data"]["status"] == 401
    socket.send("pusher:subscribe", tampered | {"channel_data": text})
    answer = socket.receive()
    if accepted:
        user_id = str(channel_data["user_id"])
        members = {"ids": [user_id], "hash": {user_id: channel_data.get("user_info")}, "count": 1}
        assert answer == {"event": SUCCEEDED, "channel": "presence-a", "data": {"presence": members}}
    else:
        assert answer["event"] == "pusher:subscription_error"
        assert answer["data"]["status"] == 400
        assert api.get("channels/presence-a").json() == {"occupied": False}


def test_members_come_and_go_once_per_user(pusher: Pusher, socket: Socket, other: Socket) -> None:
    name = "presence-room"
    socket.subscribe(name, "alice", name="Alice")
    with opened(pusher) as second:
        members = other.subscribe(name, "bob", name="Bob")["data"]["presence"]
        assert members["hash"] == {"alice": {"name": "Alice"}, "bob": {"name": "Bob"}}
        assert (sorted(members["ids"]), members["count"]) == (["alice", "bob"], 2)
        added = {"user_id": "bob", "user_info": {"name": "Bob"}}
        assert socket.receive() == {"event": "pusher_internal:member_added", "channel": name, "data": added}
        assert second.subscribe(name, "bob", name="Bob")["data"]["presence"]["count"] == 2
        socket.expect_nothing()
        other.expect_nothing()
        other.send("pusher:unsubscribe", {"channel": name})
        other.expect_nothing()
        socket.expect_nothing()
    removed = {"event": "pusher_internal:member_removed", "channel": name, "data": {"user_id": "bob"}}
    assert socket.receive() == removed
    socket.expect_nothing()
    other.send("pusher:unsubscribe", {"channel": name})
    other.expect_nothing()


def test_presence_channel_has_up_to_100_members(api: Api, pusher: Pusher, stack: ExitStack) -> None:
    sockets = [stack.enter_context(opened(pusher)) for _ in range(channels.MAX_MEMBERS + 1)]
    for i in range(channels.MAX_MEMBERS):
        assert sockets[i].subscribe("presence-full", f"u{i}")["event"] == SUCCEEDED
    assert sockets[-1].subscribe("presence-full", "one more")["event"] == "pusher:subscription_error"
    assert sockets[-1].subscribe("presence-full", "u0")["data"]["presence"]["count"] == channels.MAX_MEMBERS
    assert len(api.get("channels/presence-full/users").json()["users"]) == channels.MAX_MEMBERS


def test_connection_has_limits_of_its_subscriptions(socket: Socket) -> None:
    for name in ("c" * 165, "a b", "#a", ""):
        assert socket.subscribe(name)["data"]["error"] == "Invalid channel name"
    assert socket.subscribe("c" * 164)["event"] == SUCCEEDED
    for i in range(channels.MAX_SUBSCRIPTIONS - 1):
        assert socket.subscribe(f"c{i}")["event"] == SUCCEEDED
    assert socket.subscribe("more")["event"] == "pusher:subscription_error"
    socket.send("pusher:unsubscribe", {"channel": "c0"})
    assert socket.subscribe("more")["event"] == SUCCEEDED


def test_signed_in_user_has_a_channel_and_is_the_member_of_presence_channels(api: Api, socket: Socket) -> None:
    user = {"id": "alice", "user_info": {"name": "Alice"}}
    assert socket.subscribe("#server-to-user-alice")["data"]["status"] == 401
    assert socket.subscribe("presence-b")["data"]["error"] == "Invalid JSON"
    assert socket.sign_in(user, secret="another")["event"] == "pusher:error"
    refused: list[Any] = [{"id": ""}, {"id": 7}, {}, []]
    for wrong in refused:
        assert socket.sign_in(wrong)["event"] == "pusher:error"
    assert socket.subscribe("#server-to-user-alice")["data"]["status"] == 401
    assert socket.sign_in(user) == {"event": "pusher:signin_success", "data": {"user_data": json.dumps(user)}}
    assert socket.sign_in(user)["event"] == "pusher:signin_success"
    assert socket.sign_in({"id": "bob"})["event"] == "pusher:error"
    assert socket.subscribe("#server-to-user-bob")["data"]["status"] == 401
    assert socket.subscribe("#server-to-user-alice")["event"] == SUCCEEDED
    assert api.trigger("#server-to-user-alice") == 200
    assert socket.receive()["channel"] == "#server-to-user-alice"
    assert socket.subscribe("presence-b")["data"]["presence"]["hash"] == {"alice": {"name": "Alice"}}


@pytest.mark.parametrize("channel", ["private-c", "presence-c"])
def test_client_event_goes_to_the_others(socket: Socket, other: Socket, channel: str) -> None:
    socket.subscribe(channel, "alice" if channel.startswith("presence-") else "")
    other.subscribe(channel, "bob" if channel.startswith("presence-") else "")
    if channel.startswith("presence-"):
        socket.receive()
    for data in ({"typing": True}, "text", None):
        socket.send("client-event", data, channel=channel)
        user = {"user_id": "alice"} if channel.startswith("presence-") else {}
        assert other.receive() == {"event": "client-event", "channel": channel, "data": data, **user}
    socket.expect_nothing()


def test_client_event_has_limits(socket: Socket, other: Socket) -> None:
    for subscriber in (socket, other):
        subscriber.subscribe("private-d")
        subscriber.subscribe("public")
    other.subscribe("private-e")
    name, data = "client-".ljust(channels.MAX_NAME, "x"), "x" * channels.MAX_DATA
    refused: list[tuple[str, Any, Any]] = [
        ("client-event", {}, "public"),
        ("client-event", {}, "private-e"),
        ("client-event", {}, None),
        (f"{name}x", {}, "private-d"),
        ("client-event", f"{data}x", "private-d"),
        ("client-event", [data], "private-d"),
    ]
    for event, content, channel in refused:
        socket.send(event, content, channel=channel)
        assert socket.receive()["event"] == "pusher:error"
    socket.send(name, data, channel="private-d")
    assert other.receive() == {"event": name, "channel": "private-d", "data": data}
    other.expect_nothing()


def test_client_events_are_limited_to_10_in_a_second(socket: Socket, other: Socket) -> None:
    for subscriber in (socket, other):
        subscriber.subscribe("private-f")
    began = time.monotonic()
    for i in range(11):
        socket.send("client-event", i, channel="private-f")
    error = socket.receive()
    assert time.monotonic() - began < 1
    assert (error["event"], error["data"]["code"]) == ("pusher:error", 4301)
    assert [other.receive()["data"] for _ in range(10)] == list(range(10))
    other.expect_nothing()

    def is_let_through() -> bool:
        socket.send("client-event", "later", channel="private-f")
        socket.send("pusher:ping")
        if socket.receive()["event"] == "pusher:pong":
            return True
        socket.receive()
        return False

    wait_until(is_let_through)
    assert other.receive()["data"] == "later"


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
def test_malformed_message_is_answered_with_an_error(socket: Socket, content: str | bytes) -> None:
    socket.subscribe("private-g")
    socket.connection.send(content)
    assert socket.receive()["event"] == "pusher:error"
    socket.expect_nothing()


def test_message_is_bounded(socket: Socket) -> None:
    message = '{"event": "pusher:ping"}'
    socket.connection.send(message.ljust(channels.MAX_MESSAGE - 1))
    assert socket.receive()["event"] == "pusher:pong"
    socket.connection.send(message.ljust(channels.MAX_MESSAGE + 1))
    assert socket.close_code() == 1009


def test_log_stays_empty(pusher: Pusher) -> None:
    assert not pusher.log.read_text()
