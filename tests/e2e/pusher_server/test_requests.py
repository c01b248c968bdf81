"""The HTTP API of the local Pusher server: its process, signed requests, and queries."""

import hashlib
import time
from pathlib import Path

import httpx
import psutil
import pytest

from api.dev.pusher_process import PusherProcess
from api.dev.pusher_server.signatures import sign_request
from tests.e2e.pusher_server.clients import Api, Socket, open_socket
from tests.waiting import wait_until


def test_process_shows_no_secret_and_listens_on_loopback_only(pusher: PusherProcess) -> None:
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


def test_stopped_server_sends_4200_and_a_killed_one_restarts_on_its_port(
    directory: Path, http_client: httpx.Client
) -> None:
    with PusherProcess(directory / "restarted") as server, open_socket(server) as socket:
        server.stop()
        assert socket.wait_for_close() == 4200
    with PusherProcess(directory / "restarted", server.port, key=server.key, secret=server.secret) as restarted:
        with open_socket(restarted) as socket:
            restarted.kill()
            assert socket.wait_for_close() == 1006
        restarted.start()
        assert restarted.environment == server.environment
        assert Api(server, http_client).trigger("news") == 200
    assert not restarted.log.read_bytes()


def test_silent_connection_is_pinged_and_closed(directory: Path) -> None:
    with PusherProcess(directory / "hasty", timeouts=(0.1, 1)) as server, open_socket(server) as socket:
        assert socket.established["activity_timeout"] == 0.1
        for _ in range(2):
            assert socket.receive()["event"] == "pusher:ping"
            socket.send("pusher:pong", {})
        assert socket.receive()["event"] == "pusher:ping"
        began = time.monotonic()
        assert socket.wait_for_close() == 4201
        assert time.monotonic() - began > 0.5


def test_signature_equals_the_documented_one() -> None:
    query = {
        "auth_key": "278d425bdf160c739803",
        "auth_timestamp": "1353088179",
        "auth_version": "1.0",
        "body_md5": "ec365a775a4cd0599faeb73354201b6f",
    }
    signed = sign_request("7ad3773142a6692b25b8", "POST", "/apps/3/events", query.items())
    assert signed == "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"


def test_signature_expires(api: Api, socket: Socket) -> None:
    socket.subscribe("news")
    for seconds, status in ((-570, 200), (590, 200), (-610, 401), (660, 401)):
        fields = {"auth_timestamp": str(int(time.time()) + seconds)}
        response = api.post("events", {"name": "event", "channel": "news", "data": "{}"}, **fields)
        assert response.status_code == status, seconds
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
def test_requests_must_be_signed(api: Api, socket: Socket, fields: dict[str, str | None], accepted: bool) -> None:
    socket.subscribe("news")
    response = api.post("events", {"name": "event", "channel": "news", "data": "{}"}, **fields)
    assert response.status_code == (200 if accepted else 401)
    if accepted:
        assert socket.receive()["event"] == "event"
        assert response.json() == {}
    socket.expect_nothing()


def test_signature_is_valid_for_its_request_only(api: Api, http_client: httpx.Client) -> None:
    path = "/apps/1/channels"
    query = api.query("GET", path)
    assert http_client.get(f"{api.base}{path}", params=query).status_code == 200
    assert http_client.get(f"{api.base}{path}", params=query | {"filter_by_prefix": "x"}).status_code == 401
    assert http_client.get(f"{api.base}{path}/news", params=query).status_code == 401
    assert http_client.get(f"{api.base}{path}", params=api.query("POST", path)).status_code == 401
    assert http_client.get(f"{api.base}{path}").status_code == 401
    assert (
        http_client.get(f"{api.base}/apps/2/channels", params=api.query("GET", "/apps/2/channels")).status_code == 404
    )
    assert http_client.post(f"{api.base}/users/alice/terminate_connections").status_code == 404


def test_channels_are_listed_while_they_are_occupied(api: Api, socket: Socket, other_socket: Socket) -> None:
    socket.subscribe("listed-1")
    socket.subscribe("presence-listed", "alice")
    other_socket.subscribe("presence-listed", "alice")
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
    other_socket.send("pusher:unsubscribe", {"channel": "presence-listed"})
    other_socket.expect_nothing()
    assert api.get("channels/presence-listed", info="user_count").json() == {"occupied": False, "user_count": 0}


def test_only_connections_of_the_terminated_user_are_closed(
    api: Api, pusher: PusherProcess, socket: Socket, other_socket: Socket
) -> None:
    with open_socket(pusher) as second:
        socket.sign_in({"id": "mallory"})
        second.sign_in({"id": "mallory"})
        other_socket.sign_in({"id": "alice"})
        other_socket.subscribe("presence-termination", "alice")
        socket.subscribe("presence-termination", "mallory")
        other_socket.receive()
        assert api.post("users/nobody/terminate_connections", {}).json() == {}
        assert api.post("users/mallory/terminate_connections", {}).json() == {}
        assert api.get("channels/presence-termination/users").json() == {"users": [{"id": "alice"}]}
        assert [socket.wait_for_close(), second.wait_for_close()] == [4009, 4009]
    assert other_socket.receive()["event"] == "pusher_internal:member_removed"
    other_socket.expect_nothing()
