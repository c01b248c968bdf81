"""Signed session tokens: which are accepted, that all others get the same 401, and which users they create."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any
from urllib.parse import quote

import httpx
import jwt
import psycopg
import pytest

from api.dev.postgres import Postgres
from api.routes import ROUTES
from tests.api.support import expect_error, expect_unauthorized, unlimited_client
from tests.api_process import Api
from tests.tokens import OLD_SECRET, SECRET, new_user, token

OTHER_SECRET = "what somebody else signs with, for somebody else"


def send_token(client: httpx.Client, value: str | bytes, scheme: str = "Bearer") -> httpx.Response:
    credentials = scheme.encode() + b" " + (value if isinstance(value, bytes) else value.encode())
    return client.get("/api/chats", headers={b"Authorization": credentials.strip()})


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header: str, payload: str, secret: str = SECRET) -> str:
    """Return a token with exactly this header and payload, and a valid HS256 signature regardless of the header."""
    text = f"{base64url(header.encode())}.{base64url(payload.encode(errors='surrogatepass'))}"
    return f"{text}.{base64url(hmac.digest(secret.encode(), text.encode(), hashlib.sha256))}"


def signed_claims(claims: dict[str, Any], **header: Any) -> str:
    return signed(json.dumps({"alg": "HS256", "typ": "JWT"} | header), json.dumps(claims))


def now() -> int:
    return int(time.time())


def valid_claims(**changes: Any) -> dict[str, Any]:
    """Return valid claims with changes."""
    return {"sub": new_user(), "exp": now() + 3600} | changes


VALID: dict[str, Callable[[], str]] = {
    "the usual": lambda: signed_claims(valid_claims()),
    "expired less than 30 s ago": lambda: signed_claims(valid_claims(exp=now() - 25)),
    "not valid for less than 30 s": lambda: signed_claims(valid_claims(nbf=now() + 25)),
    "issued by a clock that is 5 minutes ahead": lambda: signed_claims(valid_claims(iat=now() + 300)),
    "issued by a clock that is a day ahead": lambda: signed_claims(valid_claims(iat=now() + 86_400.5)),
    "exp with a fraction": lambda: signed_claims(valid_claims(exp=now() + 60.5)),
    "a sub of 255 characters": lambda: signed_claims(valid_claims(sub=f"{new_user():☃<255}")),
    "meant for an audience": lambda: signed_claims(valid_claims(aud="somebody else")),
    "meant for audiences": lambda: signed_claims(valid_claims(aud=["a", "b"], iss="x", jti="y")),
    "no typ": lambda: signed_claims(valid_claims(), typ=None),
    "unknown claims": lambda: signed_claims(valid_claims(role="admin", nested={"a": [1]})),
    "name, email and picture of wrong types": lambda: signed_claims(valid_claims(name=1, email=["a@b.c"], picture={})),
    "null for a name": lambda: signed_claims(valid_claims(name=None, email=None, picture=None)),
    "empty names": lambda: signed_claims(valid_claims(name="", email="", picture="")),
    "a name that looks like an escape": lambda: signed_claims(valid_claims(name="\\u0000 \\ud800")),
    "a long name": lambda: signed_claims(valid_claims(name="n" * 5000)),
    "a long picture": lambda: signed_claims(valid_claims(picture="https://x/" + "p" * 5000)),
    "a long e-mail address": lambda: signed_claims(
        valid_claims(email=hashlib.shake_256(b"x").hexdigest(2600) + "@b.c")
    ),
    "a long but compressible e-mail address": lambda: signed_claims(valid_claims(email="x" * 5000 + "@b.c")),
}

INVALID: dict[str, Callable[[], str | bytes]] = {
    "nothing": lambda: "",
    "garbage": lambda: "garbage",
    "dots": lambda: "..",
    "many dots": lambda: "a.b.c.d.e",
    "no ASCII": lambda: "☃.☃.☃",
    "no UTF-8": lambda: b"\xff\xfe.\xff.\xff",
    "percent signs": lambda: "%%%.%zz.%ff%00",
    "another secret": lambda: signed(json.dumps({"alg": "HS256"}), json.dumps(valid_claims()), OTHER_SECRET),
    "alg none, unsigned": lambda: signed_claims(valid_claims(), alg="none").rpartition(".")[0] + ".",
    "alg none, signed": lambda: signed_claims(valid_claims(), alg="none"),
    "alg None": lambda: signed_claims(valid_claims(), alg="None"),
    "alg missing": lambda: signed('{"typ": "JWT"}', json.dumps(valid_claims())),
    "alg null": lambda: signed_claims(valid_claims(), alg=None),
    "alg a list": lambda: signed_claims(valid_claims(), alg=["HS256"]),
    "alg an object": lambda: signed_claims(valid_claims(), alg={}),
    "HS512": lambda: jwt.encode(valid_claims(), SECRET * 2, algorithm="HS512"),
    "HS384 with the secret": lambda: jwt.encode(valid_claims(), SECRET + SECRET, algorithm="HS384"),
    "RS256": lambda: signed_claims(valid_claims(), alg="RS256"),
    "dir": lambda: signed_claims(valid_claims(), alg="dir", enc="A256GCM"),
    "critical header": lambda: signed_claims(valid_claims(), crit=["x"], x=1),
    "detached payload": lambda: signed_claims(valid_claims(), b64=False, crit=["b64"]),
    "kid a number": lambda: signed_claims(valid_claims(), kid=1),
    "signature cut off": lambda: signed_claims(valid_claims()).rpartition(".")[0] + ".",
    "signature shortened": lambda: signed_claims(valid_claims())[:-2],
    "payload of another": lambda: ".".join(
        part for n, part in enumerate((token() + "." + token()).split(".")) if n in (0, 1, 5)
    ),
    "expired more than 30 s ago": lambda: signed_claims(valid_claims(exp=now() - 35)),
    "not yet valid": lambda: signed_claims(valid_claims(nbf=now() + 60)),
    "iat a word": lambda: signed_claims(valid_claims(iat="now")),
    "iat null": lambda: signed_claims(valid_claims(iat=None)),
    "iat true": lambda: signed_claims(valid_claims(iat=True)),
    "no exp": lambda: signed_claims({"sub": new_user()}),
    "exp null": lambda: signed_claims(valid_claims(exp=None)),
    "exp a word": lambda: signed_claims(valid_claims(exp="tomorrow")),
    "exp infinite": lambda: signed_claims(valid_claims(exp=float("inf"))),
    "exp not a number": lambda: signed_claims(valid_claims(exp=float("nan"))),
    "exp minus infinite": lambda: signed_claims(valid_claims(exp=float("-inf"))),
    "exp a list": lambda: signed_claims(valid_claims(exp=[now() + 60])),
    "nbf infinite": lambda: signed_claims(valid_claims(nbf=float("inf"))),
    "no sub": lambda: signed_claims({"exp": now() + 60}),
    "sub null": lambda: signed_claims(valid_claims(sub=None)),
    "sub a number": lambda: signed_claims(valid_claims(sub=1)),
    "sub a list": lambda: signed_claims(valid_claims(sub=["alice"])),
    "sub empty": lambda: signed_claims(valid_claims(sub="")),
    "sub blank": lambda: signed_claims(valid_claims(sub=" \t")),
    "sub of 256 characters": lambda: signed_claims(valid_claims(sub="x" * 256)),
    "sub of 5,000 characters": lambda: signed_claims(valid_claims(sub="x" * 5000)),
    "NUL in the sub": lambda: signed_claims(valid_claims(sub="a\0b")),
    "NUL in the name": lambda: signed_claims(valid_claims(name="a\0b")),
    "a lone surrogate in the sub": lambda: signed_claims(valid_claims(sub="a\ud800")),
    "a lone surrogate in the e-mail address": lambda: signed_claims(valid_claims(email="a\udfff@b.c")),
    "payload no JSON": lambda: signed('{"alg": "HS256"}', "claims"),
    "payload a list": lambda: signed('{"alg": "HS256"}', "[]"),
    "payload null": lambda: signed('{"alg": "HS256"}', "null"),
    "payload empty": lambda: signed('{"alg": "HS256"}', ""),
    "payload no UTF-8": lambda: signed('{"alg": "HS256"}', '{"sub": "\udfff"}'),
    "payload nested deep": lambda: signed('{"alg": "HS256"}', "[" * 1500 + "]" * 1500),
    "header no JSON": lambda: signed("HS256", json.dumps(valid_claims())),
    "header a list": lambda: signed('["HS256"]', json.dumps(valid_claims())),
    "header nested deep": lambda: base64url(b"[" * 4000) + ".e30.e30",
    "4 kB of noise": lambda: base64url(hashlib.shake_256(b"noise").digest(3000)),
    "4 kB of dots": lambda: "." * 4000,
    "100 kB of noise": lambda: base64url(hashlib.shake_256(b"noise").digest(75_000)),
    "100 kB of percent signs": lambda: "%41" * 33_000,
    "sub of 10 kB": lambda: signed_claims(valid_claims(sub="x" * 10_000)),
    "a public key's signature": lambda: signed(
        json.dumps({"alg": "HS256"}),
        json.dumps(valid_claims()),
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
    ),
    "signed twice": lambda: signed('{"alg": "HS256", "cty": "JWT"}', signed_claims(valid_claims())),
}


@pytest.mark.parametrize("kind", VALID)
def test_valid_tokens_are_accepted(anonymous_client: httpx.Client, kind: str) -> None:
    value = VALID[kind]()
    assert send_token(anonymous_client, value).status_code == 200
    assert send_token(anonymous_client, value).status_code == 200


@pytest.mark.parametrize("kind", INVALID)
def test_every_invalid_token_gets_the_same_response(anonymous_client: httpx.Client, kind: str) -> None:
    expect_unauthorized(send_token(anonymous_client, INVALID[kind]()))


def test_missing_token_gets_the_same_response(anonymous_client: httpx.Client) -> None:
    expect_unauthorized(anonymous_client.get("/api/chats"))


@pytest.mark.parametrize("scheme", ["Basic", "Token", "Bear", "Bearer:", "", "JWT", "Digest"])
def test_another_scheme_is_rejected(anonymous_client: httpx.Client, scheme: str) -> None:
    expect_unauthorized(send_token(anonymous_client, token(), scheme))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEARER", "Bearer "])
def test_scheme_is_case_insensitive(anonymous_client: httpx.Client, scheme: str) -> None:
    assert send_token(anonymous_client, token(), scheme).status_code == 200


def test_url_encoded_token_is_decoded(anonymous_client: httpx.Client) -> None:
    assert send_token(anonymous_client, quote(token(), safe="").replace(".", "%2E")).status_code == 200


def test_token_longer_than_a_head_is_rejected(anonymous_client: httpx.Client) -> None:
    for length in (160 * 1024, 200_000):
        expect_error(send_token(anonymous_client, "x" * length), 413)


def test_token_may_have_32_kib(anonymous_client: httpx.Client) -> None:
    longest = max(
        (signed_claims(valid_claims(name="n" * n)) for n in range(24_300, 24_500)),
        key=lambda t: (len(t) <= 32_768, len(t)),
    )
    assert 32_760 < len(longest) <= 32_768
    assert send_token(anonymous_client, longest).status_code == 200
    expect_unauthorized(send_token(anonymous_client, signed_claims(valid_claims(name="n" * 24_500))))


def test_secrets_rotate(anonymous_client: httpx.Client) -> None:
    for secret in (SECRET, OLD_SECRET):
        assert send_token(anonymous_client, token(secret=secret)).status_code == 200
    for secret in (f"{SECRET}, {OLD_SECRET}", SECRET[:-1] + "?", f" {OLD_SECRET}"):
        expect_unauthorized(send_token(anonymous_client, token(secret=secret)))


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES if route.method == "GET"}))
def test_any_route_may_be_the_first_request_of_a_user(
    api: Api, postgres: Postgres, shared_database: str, path: str
) -> None:
    user = new_user()
    with unlimited_client(api, user) as client:
        response = client.get(path.replace("<", "").replace(">", ""))
    assert response.status_code == 404 if "<" in path else 200
    with psycopg.connect(postgres.url(shared_database)) as dba:
        created = dba.execute("select count(*) from next_auth.users where id = %s", [user]).fetchone()
        # A failed request is rolled back, with the creation of its user; the next request creates the user.
        assert created == (1 if response.is_success else 0,)


def test_first_request_of_a_user_may_write(api: Api) -> None:
    with unlimited_client(api) as client:
        chat = client.post("/api/chats", json={"title": "First"})
        assert chat.status_code == 201
        assert client.get("/api/chats").json()["chats"][0]["id"] == chat.json()["id"]


def test_new_user_is_created_from_the_claims(api: Api) -> None:
    user = new_user()
    claims = {"name": "Ada ☃", "email": f"{user}@Example.org", "picture": "https://example.org/ada.png"}
    with unlimited_client(api, "") as client:
        client.headers["Authorization"] = f"Bearer {token(user, **claims)}"
        chat = client.post("/api/chats", json={"title": "x"}).json()["id"]
        member = client.get(f"/api/chats/{chat}/members").json()["members"][0]
    assert (member["userId"], member["name"], member["image"]) == (user, claims["name"], claims["picture"])


def test_simultaneous_first_requests_of_one_user_all_succeed(api: Api) -> None:
    for _ in range(5):
        with unlimited_client(api, new_user()) as client, ThreadPoolExecutor(4) as pool:
            titles = [f"Chat {n}" for n in range(4)]
            statuses = pool.map(lambda title: client.post("/api/chats", json={"title": title}).status_code, titles)
            assert list(statuses) == [201] * 4
            assert client.get("/api/chats").json()["total"] == 4


def test_two_identities_with_one_address_are_two_users(api: Api) -> None:
    email = f"{new_user()}@example.org"
    for user, address in zip((new_user(), new_user()), (email, email.upper()), strict=True):
        with unlimited_client(api, "", Authorization=f"Bearer {token(user, email=address)}") as client:
            assert client.post("/api/chats", json={"title": "x"}).status_code == 201
            assert client.get("/api/chats").json()["total"] == 1


def test_users_are_distinguished_by_the_exact_sub(api: Api) -> None:
    names = new_user()
    for user in (names, names.upper(), f" {names}", f"{names}\u200b"):
        with unlimited_client(api, user) as client:
            assert client.get("/api/chats").json()["total"] == 0
            client.post("/api/chats", json={"title": "x"})


def test_invalid_tokens_are_not_logged(api: Api, anonymous_client: httpx.Client) -> None:
    before = api.log.stat().st_size
    for response in map(send_token, repeat(anonymous_client), ("garbage", token(secret=OTHER_SECRET), "a.b.c")):
        expect_unauthorized(response)
    assert send_token(anonymous_client, token()).status_code == 200
    assert api.log.stat().st_size == before
