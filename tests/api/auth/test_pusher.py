"""Authorization of Pusher channels, and authentication of users at Pusher."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.api.support import expect_error, unlimited_client
from tests.api_process import Api, running
from tests.database import NO_SUCH_ID
from tests.tokens import new_user, token

AUTH, USER_AUTH = "/api/pusher/auth", "/api/pusher/user-auth"
SOCKET = "123.456"


def get_user_channel(user: str) -> str:
    return "private-user-" + urlsafe_b64encode(user.encode()).rstrip(b"=").decode()


def sign(text: str) -> str:
    return "key:" + hmac.digest(b"secret", text.encode(), hashlib.sha256).hex()


def authorize(client: httpx.Client, channel: str, socket: str = SOCKET, **more: str) -> httpx.Response:
    return client.post(AUTH, data={"socket_id": socket, "channel_name": channel} | more)


@pytest.fixture(scope="module")
def chat_and_users(api: Api) -> Iterator[dict[str, Any]]:
    """A chat, and the ids and clients of its owner, of a member, and of a stranger."""
    ids = {name: new_user(name) for name in ("owner", "member", "stranger")}
    with (
        unlimited_client(api, ids["owner"]) as owner,
        unlimited_client(api, "", Authorization=f"Bearer {token(ids['member'], name='Mia')}") as member,
        unlimited_client(api, ids["stranger"]) as stranger,
    ):
        member.get("/api/chats")
        chat = owner.post("/api/chats", json={"title": "Plans"}).json()["id"]
        owner.post(f"/api/chats/{chat}/members", json={"userId": ids["member"]})
        yield {"owner": owner, "member": member, "stranger": stranger, "ids": ids, "chat": chat}


def test_member_may_subscribe_to_the_chat(chat_and_users: dict[str, Any]) -> None:
    channel = f"private-chat-{chat_and_users['chat']}"
    for name in ("owner", "member"):
        response = authorize(chat_and_users[name], channel)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        assert response.json() == {"auth": sign(f"{SOCKET}:{channel}")}


def test_presence_channel_identifies_the_member(chat_and_users: dict[str, Any]) -> None:
    channel = f"presence-chat-{chat_and_users['chat']}"
    response = authorize(chat_and_users["member"], channel).json()
    assert json.loads(response["channel_data"]) == {
        "user_id": chat_and_users["ids"]["member"],
        "user_info": {"name": "Mia"},
    }
    assert response["auth"] == sign(f"{SOCKET}:{channel}:{response['channel_data']}")
    without_name = authorize(chat_and_users["owner"], channel).json()
    assert json.loads(without_name["channel_data"]) == {"user_id": chat_and_users["ids"]["owner"], "user_info": {}}


def test_user_may_subscribe_to_their_own_channel(chat_and_users: dict[str, Any]) -> None:
    channel = get_user_channel(chat_and_users["ids"]["owner"])
    assert authorize(chat_and_users["owner"], channel).json() == {"auth": sign(f"{SOCKET}:{channel}")}
    expect_error(authorize(chat_and_users["member"], channel), 403)


@pytest.mark.parametrize("user", ["auth0|1", "ö/☃?#", "a" * 113])
def test_id_may_have_any_characters(api: Api, user: str) -> None:
    with unlimited_client(api, user) as client:
        assert authorize(client, get_user_channel(user)).status_code == 200
        signed_in = client.post(USER_AUTH, data={"socket_id": SOCKET}).json()
        assert "private-user-" + json.loads(signed_in["user_data"])["id"] == get_user_channel(user)


def test_id_too_long_for_pusher_is_replaced_by_its_hash(api: Api) -> None:
    user = "ö" * 57
    name = "sha256-" + urlsafe_b64encode(hashlib.sha256(user.encode()).digest()).rstrip(b"=").decode()
    with unlimited_client(api, user) as client:
        assert authorize(client, f"private-user-{name}").status_code == 200
        expect_error(authorize(client, get_user_channel(user)), 403)
        signed_in = client.post(USER_AUTH, data={"socket_id": SOCKET}).json()
        assert json.loads(signed_in["user_data"])["id"] == name


def test_stranger_cannot_tell_whether_a_channel_exists(chat_and_users: dict[str, Any]) -> None:
    channels = [
        *(f"{kind}-chat-{chat_and_users['chat']}" for kind in ("private", "presence")),
        f"private-chat-{NO_SUCH_ID}",
        get_user_channel(chat_and_users["ids"]["owner"]),
    ]
    errors = [expect_error(authorize(chat_and_users["stranger"], channel), 403) for channel in channels]
    assert all(error == errors[0] for error in errors)
    assert authorize(chat_and_users["member"], channels[0]).status_code == 200


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
def test_unknown_channels_are_rejected(chat_and_users: dict[str, Any], form: str) -> None:
    own = get_user_channel(chat_and_users["ids"]["owner"]).removeprefix("private-user-")
    expect_error(
        authorize(
            chat_and_users["owner"],
            form.format(chat=chat_and_users["chat"], upper=chat_and_users["chat"].upper(), own=own),
        ),
        403,
    )
    assert authorize(chat_and_users["owner"], f"private-chat-{chat_and_users['chat']}").status_code == 200


def authorize_all(client: httpx.Client, channels: list[str], **more: str) -> httpx.Response:
    return client.post(AUTH, data={"socket_id": SOCKET, "channel_name[]": channels, **more})


def test_several_channels_are_authorized_at_once_as_each_is_alone(chat_and_users: dict[str, Any]) -> None:
    channels = [
        *(f"{kind}-chat-{chat_and_users['chat']}" for kind in ("private", "presence")),
        *(get_user_channel(chat_and_users["ids"][name]) for name in ("member", "owner")),
    ]
    responses = [authorize(chat_and_users["member"], channel) for channel in channels]
    assert [response.status_code for response in responses] == [200, 200, 200, 403]
    expected = [response.json() for response in responses[:3]]
    assert authorize_all(chat_and_users["member"], [*channels, channels[0]]).json() == {
        "channels": dict(zip(channels, [*expected, None], strict=True))
    }


def test_user_signs_in_with_the_authorization_of_channels(chat_and_users: dict[str, Any]) -> None:
    own, other = (get_user_channel(chat_and_users["ids"][name]) for name in ("member", "owner"))
    sign_in, sign_in_as_other = (name.replace("private-user-", "#server-to-user-") for name in (own, other))
    signed_in = chat_and_users["member"].post(USER_AUTH, data={"socket_id": SOCKET}).json()
    assert authorize_all(chat_and_users["member"], [sign_in, own, sign_in_as_other]).json() == {
        "channels": {sign_in: signed_in, own: {"auth": sign(f"{SOCKET}:{own}")}, sign_in_as_other: None}
    }
    expect_error(authorize(chat_and_users["member"], sign_in), 403)


def test_up_to_100_channels_are_authorized_at_once(chat_and_users: dict[str, Any]) -> None:
    own = get_user_channel(chat_and_users["ids"]["owner"])
    channels = [own, *(f"private-chat-{number}" for number in range(100))]
    signed = authorize_all(chat_and_users["owner"], channels[:100]).json()["channels"]
    assert signed == {own: {"auth": sign(f"{SOCKET}:{own}")}} | dict.fromkeys(channels[1:100])
    for invalid, more in ((channels, {}), ([""], {}), ([own], {"channel_name": own})):
        expect_error(authorize_all(chat_and_users["owner"], invalid, **more), 400)


def test_user_signs_in(chat_and_users: dict[str, Any]) -> None:
    response = chat_and_users["member"].post(USER_AUTH, data={"socket_id": SOCKET}).json()
    assert response["auth"] == sign(f"{SOCKET}::user::{response['user_data']}")
    assert json.loads(response["user_data"]) == {
        "id": get_user_channel(chat_and_users["ids"]["member"]).removeprefix("private-user-"),
        "user_info": {"userId": chat_and_users["ids"]["member"], "name": "Mia"},
    }


def test_new_user_signs_in_with_the_name_of_the_token(api: Api) -> None:
    with unlimited_client(api, "", Authorization=f"Bearer {token(name='New')}") as client:
        response = client.post(USER_AUTH, data={"socket_id": SOCKET}).json()
    assert json.loads(response["user_data"])["user_info"]["name"] == "New"


@pytest.mark.parametrize("socket", ["1", "1.", ".1", "a.b", "1.2\n", " 1.2", "1.2:private-x", "1" * 21 + ".2", "1.2.3"])
def test_socket_id_is_checked(chat_and_users: dict[str, Any], socket: str) -> None:
    for response in (
        authorize(chat_and_users["owner"], "public", socket),
        chat_and_users["owner"].post(USER_AUTH, data={"socket_id": socket}),
    ):
        assert expect_error(response, 400)["details"]["fields"].keys() == {"socket_id"}


def test_missing_fields_are_named(chat_and_users: dict[str, Any]) -> None:
    for body in ("", "a=b", "socket_id=&channel_name="):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        wrong = expect_error(chat_and_users["owner"].post(AUTH, content=body, headers=headers), 400)["details"][
            "fields"
        ]
        assert wrong == {"socket_id": "is required", "channel_name": "is required"}


@pytest.mark.parametrize(
    "body", [b"socket_id=1.2&channel_name=%00", b"\xff", b"&".join(b"a%d=1" % n for n in range(101))]
)
def test_malformed_form_is_rejected(chat_and_users: dict[str, Any], body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    expect_error(chat_and_users["owner"].post(AUTH, content=body, headers=headers), 400)


def test_body_is_a_form_that_may_have_more_fields(chat_and_users: dict[str, Any]) -> None:
    channel = f"private-chat-{chat_and_users['chat']}"
    expect_error(chat_and_users["owner"].post(AUTH, json={"socket_id": SOCKET, "channel_name": channel}), 415)
    assert authorize(chat_and_users["owner"], channel, more="of the client's").status_code == 200


@pytest.mark.parametrize("prefix", ["", "__Secure-"])
@pytest.mark.parametrize("name", ["next-auth.session-token", "authjs.session-token"])
def test_session_cookie_is_sufficient_for_safe_requests(
    api: Api, chat_and_users: dict[str, Any], prefix: str, name: str
) -> None:
    cookie = f"theme=dark; {prefix}{name}={token(chat_and_users['ids']['owner'])}"
    with unlimited_client(api, "", Cookie=cookie) as client:
        assert authorize(client, f"private-chat-{chat_and_users['chat']}").status_code == 200
        assert client.get(f"/api/chats/{chat_and_users['chat']}").status_code == 200
        expect_error(client.post("/api/chats", json={"title": "forged"}), 403)
        expect_error(client.delete(f"/api/chats/{chat_and_users['chat']}"), 403)
    with unlimited_client(api, "", Cookie=f"__Secure-authjs.session-token=stale; {cookie}") as client:
        assert client.get(f"/api/chats/{chat_and_users['chat']}").status_code == 200
    with unlimited_client(api, "", Cookie=cookie[:-1]) as client:
        expect_error(authorize(client, f"private-chat-{chat_and_users['chat']}"), 401)


def test_bearer_token_has_precedence_over_a_cookie(api: Api, chat_and_users: dict[str, Any]) -> None:
    cookie = f"next-auth.session-token={token(chat_and_users['ids']['owner'])}"
    with unlimited_client(api, chat_and_users["ids"]["stranger"], Cookie=cookie) as client:
        expect_error(authorize(client, f"private-chat-{chat_and_users['chat']}"), 403)


def test_without_an_app_at_pusher_authorization_is_unavailable(
    new_api: Callable[..., Api], shared_database: str
) -> None:
    with running(new_api(shared_database)) as api, unlimited_client(api) as client:
        expect_error(client.post(USER_AUTH, data={"socket_id": SOCKET}), 503)
        assert client.get("/api/chats").status_code == 200
