"""Who may hear what: the signatures that connections to Pusher are given."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from api.openapi.models.events import MAX_CHANNEL_USER_ID_BYTES
from tests.api.support import refusal, unlimited
from tests.support import NO_SUCH_ID, Api, new_user, running, token

AUTH, USER_AUTH = "/api/pusher/auth", "/api/pusher/user-auth"
SOCKET = "123.456"


def own_channel(user: str) -> str:
    return "private-user-" + urlsafe_b64encode(user.encode()).rstrip(b"=").decode()


def signature(text: str) -> str:
    return "key:" + hmac.digest(b"secret", text.encode(), hashlib.sha256).hex()


def ask(client: httpx.Client, channel: str, socket: str = SOCKET, **more: str) -> httpx.Response:
    return client.post(AUTH, data={"socket_id": socket, "channel_name": channel} | more)


@pytest.fixture(scope="module")
def world(api: Api) -> Iterator[dict[str, Any]]:
    """A chat of an owner and a member, and a stranger: for each name the user's id and a client."""
    ids = {name: new_user(name) for name in ("owner", "member", "stranger")}
    with (
        unlimited(api, ids["owner"]) as owner,
        unlimited(api, "", Authorization=f"Bearer {token(ids['member'], name='Mia')}") as member,
        unlimited(api, ids["stranger"]) as stranger,
    ):
        member.get("/api/chats")
        chat = owner.post("/api/chats", json={"title": "Plans"}).json()["id"]
        owner.post(f"/api/chats/{chat}/members", json={"userId": ids["member"]})
        yield {"owner": owner, "member": member, "stranger": stranger, "ids": ids, "chat": chat}


def test_a_member_may_hear_the_chat(world: dict[str, Any]) -> None:
    channel = f"private-chat-{world['chat']}"
    for name in ("owner", "member"):
        answer = ask(world[name], channel)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {"auth": signature(f"{SOCKET}:{channel}")}


def test_presence_tells_who_it_is(world: dict[str, Any]) -> None:
    channel = f"presence-chat-{world['chat']}"
    answer = ask(world["member"], channel).json()
    assert json.loads(answer["channel_data"]) == {"user_id": world["ids"]["member"], "user_info": {"name": "Mia"}}
    assert answer["auth"] == signature(f"{SOCKET}:{channel}:{answer['channel_data']}")
    nameless = ask(world["owner"], channel).json()
    assert json.loads(nameless["channel_data"]) == {"user_id": world["ids"]["owner"], "user_info": {}}


def test_a_user_may_hear_their_own_channel(world: dict[str, Any]) -> None:
    channel = own_channel(world["ids"]["owner"])
    assert ask(world["owner"], channel).json() == {"auth": signature(f"{SOCKET}:{channel}")}
    refusal(ask(world["member"], channel), 403)


@pytest.mark.parametrize("user", ["auth0|1", "ö/☃?#", "a" * MAX_CHANNEL_USER_ID_BYTES])
def test_whatever_characters_an_id_has(api: Api, user: str) -> None:
    with unlimited(api, user) as client:
        assert ask(client, own_channel(user)).status_code == 200
        signed_in = client.post(USER_AUTH, data={"socket_id": SOCKET}).json()
        assert "private-user-" + json.loads(signed_in["user_data"])["id"] == own_channel(user)


def test_an_id_too_long_for_pusher_is_known_there_by_its_hash(api: Api) -> None:
    user = "ö" * 57
    name = "sha256-" + urlsafe_b64encode(hashlib.sha256(user.encode()).digest()).rstrip(b"=").decode()
    with unlimited(api, user) as client:
        assert ask(client, f"private-user-{name}").status_code == 200
        refusal(ask(client, own_channel(user)), 403)
        signed_in = client.post(USER_AUTH, data={"socket_id": SOCKET}).json()
        assert json.loads(signed_in["user_data"])["id"] == name


def test_no_channel_tells_a_stranger_whether_it_is_one(world: dict[str, Any]) -> None:
    channels = [
        *(f"{kind}-chat-{world['chat']}" for kind in ("private", "presence")),
        f"private-chat-{NO_SUCH_ID}",
        own_channel(world["ids"]["owner"]),
    ]
    refusals = [refusal(ask(world["stranger"], channel), 403) for channel in channels]
    assert all(each == refusals[0] for each in refusals)
    assert ask(world["member"], channels[0]).status_code == 200


@pytest.mark.parametrize(
    "form",
    [
        "private-chat-{upper}",
        "private-chat-{chat} ",
        "private-chat-{chat}\n",
        "private-chat-{chat},private-chat-{chat}",
        "private-encrypted-chat-{chat}",
        "private-chat-",
        "presence-{chat}",
        "{chat}",
        "public",
        "#server-to-user-{own}",
        "private-user-",
        "presence-user-{own}",
        "x" * 10_000,
    ],
)
def test_what_is_no_channel_of_ours_is_refused(world: dict[str, Any], form: str) -> None:
    own = own_channel(world["ids"]["owner"]).removeprefix("private-user-")
    refusal(ask(world["owner"], form.format(chat=world["chat"], upper=world["chat"].upper(), own=own)), 403)
    assert ask(world["owner"], f"private-chat-{world['chat']}").status_code == 200


def test_a_user_signs_in(world: dict[str, Any]) -> None:
    answer = world["member"].post(USER_AUTH, data={"socket_id": SOCKET}).json()
    assert answer["auth"] == signature(f"{SOCKET}::user::{answer['user_data']}")
    assert json.loads(answer["user_data"]) == {
        "id": own_channel(world["ids"]["member"]).removeprefix("private-user-"),
        "user_info": {"userId": world["ids"]["member"], "name": "Mia"},
    }


def test_a_user_of_this_very_request_signs_in_with_their_name(api: Api) -> None:
    with unlimited(api, "", Authorization=f"Bearer {token(name='New')}") as client:
        answer = client.post(USER_AUTH, data={"socket_id": SOCKET}).json()
    assert json.loads(answer["user_data"])["user_info"]["name"] == "New"


@pytest.mark.parametrize("socket", ["1", "1.", ".1", "a.b", "1.2\n", " 1.2", "1.2:private-x", "1" * 21 + ".2", "1.2.3"])
def test_a_socket_id_is_checked(world: dict[str, Any], socket: str) -> None:
    for answer in (ask(world["owner"], "public", socket), world["owner"].post(USER_AUTH, data={"socket_id": socket})):
        assert refusal(answer, 400)["details"]["fields"].keys() == {"socket_id"}


def test_what_is_missing_is_named(world: dict[str, Any]) -> None:
    for body in ("", "a=b", "socket_id=&channel_name="):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        wrong = refusal(world["owner"].post(AUTH, content=body, headers=headers), 400)["details"]["fields"]
        assert wrong == {"socket_id": "is required", "channel_name": "is required"}


@pytest.mark.parametrize(
    "body", [b"socket_id=1.2&channel_name=%00", b"\xff", b"&".join(b"a%d=1" % n for n in range(101))]
)
def test_a_malformed_form_is_refused(world: dict[str, Any], body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    refusal(world["owner"].post(AUTH, content=body, headers=headers), 400)


def test_a_body_is_sent_as_a_form_and_may_have_more_in_it(world: dict[str, Any]) -> None:
    channel = f"private-chat-{world['chat']}"
    refusal(world["owner"].post(AUTH, json={"socket_id": SOCKET, "channel_name": channel}), 415)
    assert ask(world["owner"], channel, more="of the client's").status_code == 200


@pytest.mark.parametrize("prefix", ["", "__Secure-"])
@pytest.mark.parametrize("name", ["next-auth.session-token", "authjs.session-token"])
def test_a_session_cookie_will_do_where_nothing_is_changed(
    api: Api, world: dict[str, Any], prefix: str, name: str
) -> None:
    cookie = f"theme=dark; {prefix}{name}={token(world['ids']['owner'])}"
    with unlimited(api, "", Cookie=cookie) as client:
        assert ask(client, f"private-chat-{world['chat']}").status_code == 200
        assert client.get(f"/api/chats/{world['chat']}").status_code == 200
        refusal(client.post("/api/chats", json={"title": "forged"}), 403)
        refusal(client.delete(f"/api/chats/{world['chat']}"), 403)
    with unlimited(api, "", Cookie=f"__Secure-authjs.session-token=stale; {cookie}") as client:
        assert client.get(f"/api/chats/{world['chat']}").status_code == 200
    with unlimited(api, "", Cookie=cookie[:-1]) as client:
        refusal(ask(client, f"private-chat-{world['chat']}"), 401)


def test_a_bearer_token_goes_before_a_cookie(api: Api, world: dict[str, Any]) -> None:
    cookie = f"next-auth.session-token={token(world['ids']['owner'])}"
    with unlimited(api, world["ids"]["stranger"], Cookie=cookie) as client:
        refusal(ask(client, f"private-chat-{world['chat']}"), 403)


def test_without_an_app_at_pusher_nothing_is_signed(new_api: Callable[..., Api], shared_database: str) -> None:
    with running(new_api(shared_database)) as api, unlimited(api) as client:
        refusal(client.post(USER_AUTH, data={"socket_id": SOCKET}), 503)
        assert client.get("/api/chats").status_code == 200
