"""Database sessions, whose tokens are names that only the database knows."""

from collections.abc import Iterator

import httpx
import psycopg
import pytest

from api.auth.tokens import COOKIES
from api.dev.postgres import Postgres
from tests.api.support import exchange, head, sent_as, unauthorized, user_of
from tests.images import draw_noise, encode
from tests.support import Api, add_session, new_user, token


@pytest.fixture(scope="module")
def web(postgres: Postgres, shared_database: str) -> Iterator[psycopg.Connection]:
    """A connection as a web app has it."""
    with psycopg.connect(postgres.url(shared_database, "web", "web"), autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("cookie", COOKIES)
def test_a_session_is_its_users_until_it_expires(web: psycopg.Connection, nobody: httpx.Client, cookie: str) -> None:
    user = new_user()
    current, expired = add_session(web, user), add_session(web, user, "0")
    for headers in sent_as(current, cookie):
        assert user_of(nobody, **headers) == user
    for headers in sent_as(expired, cookie):
        unauthorized(nobody.get("/api/profile", headers=headers))
    web.execute('update sessions set expires = now() where "sessionToken" = %s', [current])
    for headers in sent_as(current, cookie):
        unauthorized(nobody.get("/api/profile", headers=headers))


@pytest.mark.parametrize("value", ["a b", "a.b.c", "a.b.c.d.e", "ünïcödé", "a%25b", "a/b+c==", "x" * 255])
def test_a_token_may_be_any_text(web: psycopg.Connection, nobody: httpx.Client, value: str) -> None:
    user = new_user()
    session_token = add_session(web, user, session_token=f"{user}{value}")
    sent = session_token.replace("%", "%25").encode()
    response = nobody.get("/api/profile", headers={b"Authorization": b"Bearer " + sent})
    assert response.status_code == 200
    assert response.json()["user"]["id"] == user
    unauthorized(nobody.get("/api/profile", headers={b"Authorization": b"Bearer " + sent[:-2]}))


def test_a_stale_jwt_beside_a_session_does_no_harm(web: psycopg.Connection, nobody: httpx.Client) -> None:
    user = new_user()
    cookies = [f"{COOKIES[1]}={token(exp=1)}", f"{COOKIES[3]}={add_session(web, user)}"]
    for order in (cookies, cookies[::-1]):
        assert user_of(nobody, Cookie="; ".join(order)) == user


def test_a_session_can_do_all_that_its_user_can(web: psycopg.Connection, nobody: httpx.Client) -> None:
    user = new_user()
    headers = {"Authorization": f"Bearer {add_session(web, user)}"}
    chat = nobody.post("/api/chats", json={"title": "Plans"}, headers=headers)
    assert chat.status_code == 201
    seen = nobody.get("/api/chats", headers={"Authorization": f"Bearer {token(user)}"})
    assert seen.json()["chats"][0]["id"] == chat.json()["id"]
    files = {"image": ("x.png", encode(draw_noise(8, 8, 1), "PNG"))}
    assert nobody.post("/api/profile/image", files=files, headers=headers).status_code == 200


def test_a_deleted_user_is_refused_whatever_they_have(web: psycopg.Connection, nobody: httpx.Client) -> None:
    user = new_user()
    tokens = [add_session(web, user), token(user), token(user, email=f"{user}@example.org")]
    for session_token in tokens:
        assert user_of(nobody, Authorization=f"Bearer {session_token}") == user
    web.execute("delete from users where id = %s", [user])
    for session_token in tokens:
        for headers in sent_as(session_token, COOKIES[0]):
            unauthorized(nobody.get("/api/profile", headers=headers))
            unauthorized(nobody.post("/api/profile/image", headers=headers | {"Origin": "https://app.test"}))


@pytest.mark.parametrize("value", ["unknown", "a.b.c", token(exp=1)])
def test_who_is_refused_need_not_send_an_image_first(api: Api, value: str) -> None:
    headers = api.headers("") | {
        "Authorization": f"Bearer {value}",
        "Content-Type": "multipart/form-data; boundary=x",
        "Content-Length": "5000000",
    }
    unauthorized(exchange(api, head("POST /api/profile/image HTTP/1.1", headers), b"--x\r\n"))
