"""Sign-in of web apps: sessions that next-auth 4, @auth/core, jsonwebtoken and @auth/pg-adapter create.

The JWTs are also stored in tests/api/auth/session_tokens.json, for tests without npm; PARLEY_UPDATE_TOKENS=1 writes the
file.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from api.auth.cookies import SESSION_COOKIES
from api.dev.postgres import Postgres
from tests.api.support import SESSION_TOKENS_FILE, expect_error, expect_unauthorized, load_session_tokens, token_headers
from tests.e2e.npm import Npm, Program
from tests.tokens import OLD_SECRET, SECRET, new_user

PROGRAM = Path(__file__).with_name("web_app.mjs")
PACKAGES = {
    "@auth/core": "0.41.3",
    "@auth/pg-adapter": "1.11.3",
    "jsonwebtoken": "9.0.3",
    "next-auth": "4.24.15",
    "pg": "8.23.1",
}
HOUR = 3600  # seconds
SEVENTY_YEARS = 70 * 365 * 24 * HOUR  # the lifetime of the tokens in session_tokens.json
SITES = ("http://app.test", "https://app.test")
ORIGIN = {"Origin": "https://app.test"}


@pytest.fixture(scope="module")
def web_app(npm: Npm) -> Iterator[Program]:
    with Program(PROGRAM, npm.install(PACKAGES)) as program:
        yield program


@pytest.fixture
def web_app_with_database(web_app: Program, postgres: Postgres, shared_database: str) -> Program:
    """Connect the program to a database as the role of a web app."""
    web_app.do("openDatabase", postgres.url(shared_database, "web", "web"))
    return web_app


def fetch_profile(client: httpx.Client, **headers: str) -> dict[str, Any]:
    """Return the profile of the user that these headers authenticate."""
    response = client.get("/api/profile", headers=headers)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()["user"]
    return found


def create_session_tokens(
    web_app: Program, secret: str, user: str, seconds: int
) -> Iterator[tuple[str, str | None, str]]:
    """Yield a token of each kind: its kind, its cookie, and the token."""
    claims = {"sub": user, "name": "Zoë ☃", "email": f"{user}@example.org", "picture": "https://example.org/zoe.png"}
    yield "jsonwebtoken", None, web_app.do("jsonwebtoken", secret, claims, {"expiresIn": seconds})
    for cookie in SESSION_COOKIES:
        if "next-auth" in cookie:
            yield f"NextAuth.js 4, {cookie}", cookie, web_app.do("nextAuth", secret, claims, seconds)
        yield f"Auth.js, A256CBC-HS512, {cookie}", cookie, web_app.do("authjs", secret, claims, seconds, cookie)
        yield f"Auth.js, A256GCM, {cookie}", cookie, web_app.do("authjsGcm", secret, claims, seconds, cookie)


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_token_of_each_kind_is_accepted(web_app: Program, anonymous_client: httpx.Client, secret: str) -> None:
    user = new_user()
    accepted = 0
    for _, cookie, token in create_session_tokens(web_app, secret, user, HOUR):
        for headers in token_headers(token, cookie):
            found = fetch_profile(anonymous_client, **headers)
            assert (found["id"], found["name"], found["email"]) == (user, "Zoë ☃", f"{user}@example.org")
            accepted += 1
    assert accepted == 21


def test_stored_tokens_are_of_the_same_kinds(web_app: Program) -> None:
    created = [
        {"kind": kind, "cookie": cookie, "token": token}
        for kind, cookie, token in create_session_tokens(web_app, SECRET, "zoe", SEVENTY_YEARS)
    ]
    if os.environ.get("PARLEY_UPDATE_TOKENS"):
        SESSION_TOKENS_FILE.write_text(json.dumps(created, indent=1) + "\n")
    assert [(token["kind"], token["cookie"]) for token in load_session_tokens()] == [
        (token["kind"], token["cookie"]) for token in created
    ]


@pytest.mark.parametrize("command", ["nextAuthSignIn", "authjsSignIn"])
@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("size", [0, 8000])
def test_session_of_a_web_app_is_accepted(
    web_app: Program, anonymous_client: httpx.Client, command: str, site: str, size: int
) -> None:
    user = {"id": new_user(), "name": "Ada", "email": f"{new_user()}@example.org", "image": "https://example.org/a.png"}
    cookies = web_app.do(command, site, SECRET, user, {"groups": "x" * size})
    assert len(cookies) == (3 if size else 1)
    headers = {"Cookie": "; ".join(["theme=dark", *reversed(cookies)])}
    found = fetch_profile(anonymous_client, **headers)
    assert (found["id"], found["name"], found["email"], found["imageUrl"]) == tuple(user.values())
    chat = anonymous_client.post("/api/chats", json={"title": "Plans"}, headers=headers | ORIGIN)
    assert chat.status_code == 201
    expect_error(anonymous_client.post("/api/chats", json={"title": "Plans"}, headers=headers), 403)


def test_database_session_of_the_adapter_is_accepted_until_it_expires(
    web_app_with_database: Program, anonymous_client: httpx.Client
) -> None:
    address = f"{new_user()}@example.org"
    user = web_app_with_database.do(
        "adapter", "createUser", {"name": "Ada", "email": address, "emailVerified": None, "image": None}
    )
    tokens = [new_user("session") for _ in range(2)]
    for token, seconds in zip(tokens, (HOUR, 0), strict=True):
        web_app_with_database.do("addSession", token, user["id"], seconds)
    for headers in token_headers(tokens[0], "authjs.session-token"):
        assert fetch_profile(anonymous_client, **headers)["email"] == address
    for headers in token_headers(tokens[1], "authjs.session-token"):
        expect_unauthorized(anonymous_client.get("/api/profile", headers=headers))
    authorization = {"Authorization": f"Bearer {tokens[0]}"}
    web_app_with_database.do("adapter", "updateSession", {"sessionToken": tokens[0], "expires": "2020-01-01T00:00:00Z"})
    expect_unauthorized(anonymous_client.get("/api/profile", headers=authorization))
    web_app_with_database.do("adapter", "updateSession", {"sessionToken": tokens[0], "expires": "2100-01-01T00:00:00Z"})
    assert fetch_profile(anonymous_client, **authorization)["id"] == user["id"]
    web_app_with_database.do("adapter", "deleteSession", tokens[0])
    expect_unauthorized(anonymous_client.get("/api/profile", headers=authorization))


def test_all_methods_of_the_adapter_work(
    web_app_with_database: Program, anonymous_client: httpx.Client, postgres: Postgres, shared_database: str
) -> None:
    called = set()

    def call_adapter(method: str, argument: Any) -> Any:
        called.add(method)
        return web_app_with_database.do("adapter", method, argument)

    address, account = f"{new_user()}@example.org", new_user("account")
    user = call_adapter(
        "createUser", {"name": "Ada", "email": address, "emailVerified": "2026-01-01T00:00:00.000Z", "image": None}
    )
    assert call_adapter("getUser", user["id"])["email"] == call_adapter("getUserByEmail", address)["email"] == address
    assert call_adapter("updateUser", {"id": user["id"], "name": "Ada L."})["name"] == "Ada L."
    linked = call_adapter(
        "linkAccount",
        {
            "userId": user["id"], "provider": "github", "type": "oauth", "providerAccountId": account,
            "access_token": "a", "expires_at": 4_102_444_800, "refresh_token": "r", "id_token": "i", "scope": "s",
            "session_state": "x", "token_type": "bearer",
        },
    )  # fmt: skip
    assert (linked["userId"], linked["expires_at"]) == (user["id"], 4_102_444_800)
    account_key = {"provider": "github", "providerAccountId": account}
    assert call_adapter("getUserByAccount", account_key)["id"] == user["id"]
    token = new_user("session")
    web_app_with_database.do("addSession", token, user["id"], HOUR)
    called.add("createSession")
    assert call_adapter("getSessionAndUser", token)["user"]["name"] == "Ada L."
    call_adapter("updateSession", {"sessionToken": token, "expires": "2100-01-01T00:00:00Z"})
    assert fetch_profile(anonymous_client, Authorization=f"Bearer {token}")["name"] == "Ada L."
    link = {"identifier": address, "token": new_user("link"), "expires": "2100-01-01T00:00:00Z"}
    call_adapter("createVerificationToken", link)
    assert call_adapter("useVerificationToken", link)["identifier"] == address
    assert call_adapter("useVerificationToken", link) is None
    call_adapter("unlinkAccount", account_key)
    assert call_adapter("getUserByAccount", account_key) is None
    call_adapter("deleteSession", token)
    assert call_adapter("getSessionAndUser", token) is None
    call_adapter("deleteUser", user["id"])
    assert call_adapter("getUser", user["id"]) is None
    assert sorted(called) == sorted(
        web_app_with_database.do("openDatabase", postgres.url(shared_database, "web", "web"))
    )


def test_user_with_a_changed_address_can_sign_in_by_a_link(
    web_app_with_database: Program, anonymous_client: httpx.Client
) -> None:
    (cookie,) = web_app_with_database.do("emailSignIn", SITES[1], SECRET, f"{new_user()}@example.org")
    user = fetch_profile(anonymous_client, Cookie=cookie)["id"]
    for address in (f"Carol-{new_user()}@Example.ORG", f"ÜMİT.ΝΙΚΟΣ-{new_user()}@Example.org"):
        changed = anonymous_client.put("/api/profile", json={"email": address}, headers={"Cookie": cookie} | ORIGIN)
        assert changed.json()["user"]["email"] == address.lower()
        for typed in (address, address.lower()):
            (cookie,) = web_app_with_database.do("emailSignIn", SITES[1], SECRET, typed)
            assert fetch_profile(anonymous_client, Cookie=cookie)["id"] == user


def test_session_by_a_link_is_accepted_until_the_user_is_deleted(
    web_app_with_database: Program, anonymous_client: httpx.Client, postgres: Postgres, shared_database: str
) -> None:
    address = f"{new_user()}@example.org"
    (cookie,) = web_app_with_database.do("emailSignIn", SITES[1], SECRET, address)
    found = fetch_profile(anonymous_client, Cookie=cookie)
    assert found["email"] == address
    with psycopg.connect(postgres.url(shared_database)) as dba:
        verified = dba.execute('select "emailVerified" from next_auth.users where id = %s', [found["id"]]).fetchone()
    assert verified
    assert verified[0]
    token = web_app_with_database.do("jsonwebtoken", SECRET, {"sub": found["id"]}, {"expiresIn": HOUR})
    authorization = {"Authorization": f"Bearer {token}"}
    assert fetch_profile(anonymous_client, **authorization)["email"] == address
    web_app_with_database.do("adapter", "deleteUser", found["id"])
    for headers in ({"Cookie": cookie}, authorization):
        expect_unauthorized(anonymous_client.get("/api/profile", headers=headers))
