"""Database sessions, whose opaque tokens only the database can verify."""

from collections.abc import Iterator

import httpx
import psycopg
import pytest

from api.auth.cookies import SESSION_COOKIES
from api.dev.postgres import Postgres
from tests.api.support import expect_unauthorized, get_user_id, request_head, send_raw, token_headers
from tests.api_process import Api
from tests.database import add_session
from tests.images import draw_noise, encode
from tests.tokens import new_user, token


@pytest.fixture(scope="module")
def web_connection(postgres: Postgres, shared_database: str) -> Iterator[psycopg.Connection]:
    """A connection of a web app."""
    with psycopg.connect(postgres.url(shared_database, "web", "web"), autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("cookie", SESSION_COOKIES)
def test_session_authenticates_its_user_until_it_expires(
    web_connection: psycopg.Connection, anonymous_client: httpx.Client, cookie: str
) -> None:
    user = new_user()
    current, expired = add_session(web_connection, user), add_session(web_connection, user, "0")
    for headers in token_headers(current, cookie):
        assert get_user_id(anonymous_client, **headers) == user
    for headers in token_headers(expired, cookie):
        expect_unauthorized(anonymous_client.get("/api/profile", headers=headers))
    web_connection.execute('update sessions set expires = now() where "sessionToken" = %s', [current])
    for headers in token_headers(current, cookie):
        expect_unauthorized(anonymous_client.get("/api/profile", headers=headers))


@pytest.mark.parametrize("value", ["a b", "a.b.c", "a.b.c.d.e", "ünïcödé", "a%25b", "a/b+c==", "x" * 255])
def test_token_may_be_any_text(web_connection: psycopg.Connection, anonymous_client: httpx.Client, value: str) -> None:
    user = new_user()
    session_token = add_session(web_connection, user, session_token=f"{user}{value}")
    sent = session_token.replace("%", "%25").encode()
    response = anonymous_client.get("/api/profile", headers={b"Authorization": b"Bearer " + sent})
    assert response.status_code == 200
    assert response.json()["user"]["id"] == user
    expect_unauthorized(anonymous_client.get("/api/profile", headers={b"Authorization": b"Bearer " + sent[:-2]}))


def test_expired_jwt_beside_a_session_is_ignored(
    web_connection: psycopg.Connection, anonymous_client: httpx.Client
) -> None:
    user = new_user()
    cookies = [f"{SESSION_COOKIES[1]}={token(exp=1)}", f"{SESSION_COOKIES[3]}={add_session(web_connection, user)}"]
    for order in (cookies, cookies[::-1]):
        assert get_user_id(anonymous_client, Cookie="; ".join(order)) == user


def test_session_has_all_permissions_of_its_user(
    web_connection: psycopg.Connection, anonymous_client: httpx.Client
) -> None:
    user = new_user()
    headers = {"Authorization": f"Bearer {add_session(web_connection, user)}"}
    chat = anonymous_client.post("/api/chats", json={"title": "Plans"}, headers=headers)
    assert chat.status_code == 201
    response = anonymous_client.get("/api/chats", headers={"Authorization": f"Bearer {token(user)}"})
    assert response.json()["chats"][0]["id"] == chat.json()["id"]
    files = {"image": ("x.png", encode(draw_noise(8, 8, 1), "PNG"))}
    assert anonymous_client.post("/api/profile/image", files=files, headers=headers).status_code == 200


def test_deleted_user_is_rejected_with_any_token(
    web_connection: psycopg.Connection, anonymous_client: httpx.Client
) -> None:
    user = new_user()
    tokens = [add_session(web_connection, user), token(user), token(user, email=f"{user}@example.org")]
    for session_token in tokens:
        assert get_user_id(anonymous_client, Authorization=f"Bearer {session_token}") == user
    web_connection.execute("delete from users where id = %s", [user])
    for session_token in tokens:
        for headers in token_headers(session_token, SESSION_COOKIES[0]):
            expect_unauthorized(anonymous_client.get("/api/profile", headers=headers))
            expect_unauthorized(
                anonymous_client.post("/api/profile/image", headers=headers | {"Origin": "https://app.test"})
            )


@pytest.mark.parametrize("value", ["unknown", "a.b.c", token(exp=1)])
def test_upload_is_rejected_before_its_body_is_sent(api: Api, value: str) -> None:
    headers = api.headers("") | {
        "Authorization": f"Bearer {value}",
        "Content-Type": "multipart/form-data; boundary=x",
        "Content-Length": "5000000",
    }
    expect_unauthorized(send_raw(api, request_head("POST /api/profile/image HTTP/1.1", headers), b"--x\r\n"))
