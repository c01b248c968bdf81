"""Idempotency-Key: a repeated POST is executed once, and gets the first response."""

from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.dev.postgres import Postgres
from api.routes import ROUTES, Route
from tests import images
from tests.api.http.idempotency import CHATS, REPLAYED, contents, idempotency_header, is_replay, new_chat, upload
from tests.api.route_examples import RouteExamples, name_of
from tests.api.support import expect_error, request_head, send_raw, unlimited_client
from tests.api_process import Api
from tests.database import NO_SUCH_ID, add_session
from tests.sql.idempotency import BAD_KEY
from tests.tokens import new_user, token

POSTS = [route for route in ROUTES if route.method == "POST"]


@pytest.fixture
def client(api: Api) -> Iterator[httpx.Client]:
    """A client of a new user."""
    with unlimited_client(api) as client:
        yield client


@pytest.mark.parametrize("route", POSTS, ids=name_of)
def test_every_post_can_be_repeated_with_its_key(route_examples: RouteExamples, route: Route) -> None:
    header = idempotency_header()
    first = route_examples.request(route_examples.owner, route, headers=header)
    assert first.status_code == route.status, first.text
    assert REPLAYED not in first.headers
    for _ in range(2):
        assert is_replay(route_examples.request(route_examples.owner, route, headers=header), first)
    other = next(other for other in POSTS if other is not route)
    error = expect_error(route_examples.request(route_examples.owner, other, headers=header), 422)
    assert error["message"] == "Another request was sent with this Idempotency-Key."
    assert route_examples.request(route_examples.owner, other, headers=idempotency_header()).status_code == other.status


def test_other_methods_ignore_an_idempotency_key(client: httpx.Client) -> None:
    chat = new_chat(client).removesuffix("/messages")
    for header in (idempotency_header("a key"), idempotency_header("same"), idempotency_header("same")):
        for response in (
            client.get(chat, headers=header),
            client.put(chat, json={"title": new_user()}, headers=header),
        ):
            assert response.status_code == 200
            assert REPLAYED not in response.headers


@pytest.mark.parametrize(
    "headers",
    [
        [b""],
        [b'"'],
        [b"a b"],
        [b"a" * 256],
        [b"a", b"a"],
        [b'"a"', b'"a"'],
        [b"a", b""],
        ["clé".encode()],
        ["clé".encode("latin-1")],
        [b"\xff"],
        [b"\xc2\xa0"],
    ],
)
def test_malformed_key_is_rejected(client: httpx.Client, headers: list[bytes]) -> None:
    fields = [*client.headers.raw, *((b"Idempotency-Key", value) for value in headers)]
    response = client.post(CHATS, json={"title": "x"}, headers=fields)
    assert expect_error(response, 400)["details"] == {"fields": {"Idempotency-Key": BAD_KEY}}
    assert client.get(CHATS).json()["total"] == 0


def test_whitespace_around_a_key_is_ignored(api: Api, client: httpx.Client) -> None:
    key, body = new_user("key"), b'{"title": "x"}'
    sent = dict(client.headers) | {"Content-Type": "application/json", "Content-Length": str(len(body))}
    responses = [
        send_raw(api, request_head("POST /api/chats HTTP/1.1", sent | {"Idempotency-Key": value}), body)
        for value in (key, f" \t{key} \t")
    ]
    assert [(response.status_code, response.text) for response in responses] == [(201, responses[0].text)] * 2
    assert [response.headers.get(REPLAYED) for response in responses] == [None, "true"]


@pytest.mark.parametrize("key", ["a", "a" * 255, "!#$%&'()*+,-./:;<=>?@[]^_`{|}~"])
def test_key_may_be_quoted(client: httpx.Client, key: str) -> None:
    first = client.post(CHATS, json={"title": "x"}, headers=idempotency_header(key))
    assert is_replay(client.post(CHATS, json={"title": "x"}, headers=idempotency_header(f'"{key}"')), first)


def test_repeat_must_have_an_identical_body(client: httpx.Client) -> None:
    messages, header = new_chat(client), idempotency_header()

    def send(body: str, content_type: str = "application/json", path: str = messages) -> httpx.Response:
        return client.post(path, content=body, headers=header | {"Content-Type": content_type})

    first = send('{"content": "x"}')
    assert is_replay(send('{"content": "x"}', "application/json; charset=utf-8"), first)
    for body in ('{"content":"x"}', '{"content": "x", "type": "text"}', "{", ""):
        expect_error(send(body), 422)
    expect_error(send('{"content": "x"}', path=new_chat(client)), 422)
    expect_error(send('{"content": "x"}', "text/plain"), 415)
    assert contents(client, messages) == ["x"]


def test_key_is_valid_in_all_sessions_of_its_user(
    anonymous_client: httpx.Client, postgres: Postgres, shared_database: str
) -> None:
    user, header = new_user(), idempotency_header()
    with psycopg.connect(postgres.url(shared_database), autocommit=True) as dba:
        tokens = [add_session(dba, user), add_session(dba, user), token(user), token(new_user())]
    first, *others = [
        anonymous_client.post(CHATS, json={"title": "x"}, headers=header | {"Authorization": f"Bearer {session_token}"})
        for session_token in tokens
    ]
    assert {response.status_code for response in (first, *others)} == {201}
    assert [is_replay(other, first) for other in others] == [True, True, False]


REQUESTS: list[tuple[str, dict[str, Any], int]] = [
    ("chats", {"title": "Plans"}, 201),
    ("chats", {"title": ""}, 400),
    ("messages", {"content": "one"}, 201),
    ("messages", {"content": "two"}, 201),
    ("messages", {"content": "one", "type": "code"}, 201),
    ("messages", {"content": " "}, 400),
    ("elsewhere", {"content": "one"}, 404),
]
STEP = st.tuples(st.sampled_from((0, 1)), st.sampled_from(("", "a", "b")), st.sampled_from(REQUESTS))


@settings(max_examples=30)
@given(steps=st.lists(STEP, max_size=15))
def test_any_sequence_of_requests_with_keys_is_executed_once(
    api: Api, steps: list[tuple[int, str, tuple[str, dict[str, Any], int]]]
) -> None:
    users = [new_user(), new_user()]
    with unlimited_client(api, users[0]) as one, unlimited_client(api, users[1]) as other:
        other.get(CHATS)
        messages = new_chat(one)
        assert one.post(messages.replace("messages", "members"), json={"userId": users[1]}).status_code == 201
        paths = {"chats": CHATS, "messages": messages, "elsewhere": f"{CHATS}/{NO_SUCH_ID}/messages"}
        first: dict[tuple[int, str], tuple[str, dict[str, Any], httpx.Response]] = {}
        sent_contents: list[str] = []
        for user, key, (where, body, status) in steps:
            headers = idempotency_header(key) if key else {}
            response = (one, other)[user].post(paths[where], json=body, headers=headers)
            if (user, key) in first:
                first_where, first_body, first_response = first[user, key]
                if (first_where, first_body) == (where, body):
                    assert is_replay(response, first_response)
                else:
                    expect_error(response, 422)
                continue
            assert response.status_code == status
            assert REPLAYED not in response.headers
            if status == 201:
                sent_contents += [body["content"]] if where == "messages" else []
                if key:
                    first[user, key] = where, body, response
        assert contents(one, messages) == sent_contents[::-1]


def test_removed_member_cannot_replay_an_idempotent_authorization(route_examples: RouteExamples) -> None:
    header = idempotency_header()
    form = {"socket_id": "1.2", "channel_name": route_examples.fill("private-chat-<chat_id>")}

    def authorize() -> httpx.Response:
        return route_examples.member.post("/api/pusher/auth", data=form, headers=header)

    first = authorize()
    assert is_replay(authorize(), first)
    assert route_examples.owner.delete(route_examples.fill("/api/chats/<chat_id>/members/<user_id>")).status_code == 204
    expect_error(authorize(), 403)
    route_examples.owner.post(
        route_examples.fill("/api/chats/<chat_id>/members"), json={"userId": route_examples.ids["member"]}
    )
    assert is_replay(authorize(), first)


def test_repeated_upload_is_stored_once(api: Api, client: httpx.Client) -> None:
    header, content = idempotency_header(), images.encode(images.draw_noise(9, 9, 300), "PNG")
    first = upload(client, content, header)
    assert first.status_code == 200
    stored = api.images / first.json()["imageUrl"].rpartition("/")[2]
    stored.unlink()
    assert is_replay(upload(client, content, header), first)
    assert not stored.exists()
    expect_error(upload(client, images.build_png(8, 8), header), 422)
    expect_error(upload(client, b"no image", header), 400)
    assert client.get("/api/profile").json()["user"]["imageUrl"] == first.json()["imageUrl"]
    assert not is_replay(upload(client, content, idempotency_header()), first)
    assert stored.exists()


def test_rejected_upload_does_not_use_up_its_key(client: httpx.Client) -> None:
    header = idempotency_header()
    expect_error(upload(client, b"no image", header), 400)
    assert upload(client, images.build_png(5, 5), header).status_code == 200
