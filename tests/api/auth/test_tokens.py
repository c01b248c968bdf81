"""Signed session tokens: which are accepted, that all others get one same 401, and who a token makes known."""

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
from tests.api.support import refusal, unauthorized, unlimited
from tests.support import OLD_SECRET, SECRET, Api, new_user, token

OTHER_SECRET = "what somebody else signs with, for somebody else"


def try_token(client: httpx.Client, value: str | bytes, scheme: str = "Bearer") -> httpx.Response:
    credentials = scheme.encode() + b" " + (value if isinstance(value, bytes) else value.encode())
    return client.get("/api/chats", headers={b"Authorization": credentials.strip()})


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header: str, payload: str, secret: str = SECRET) -> str:
    """A token of just this header and payload, with a good HS256 signature whatever the header says."""
    text = f"{base64url(header.encode())}.{base64url(payload.encode(errors='surrogatepass'))}"
    return f"{text}.{base64url(hmac.digest(secret.encode(), text.encode(), hashlib.sha256))}"


def signed_claims(claims: dict[str, Any], **header: Any) -> str:
    return signed(json.dumps({"alg": "HS256", "typ": "JWT"} | header), json.dumps(claims))


def now() -> int:
    return int(time.time())


def good(**changes: Any) -> dict[str, Any]:
    """Good claims with changes."""
    return {"sub": new_user(), "exp": now() + 3600} | changes


ACCEPTED: dict[str, Callable[[], str]] = {
    "the usual": lambda: signed_claims(good()),
    "expired less than 30 s ago": lambda: signed_claims(good(exp=now() - 25)),
    "not valid for less than 30 s": lambda: signed_claims(good(nbf=now() + 25, iat=now() + 25)),
    "exp with a fraction": lambda: signed_claims(good(exp=now() + 60.5)),
    "a sub of 255 characters": lambda: signed_claims(good(sub=f"{new_user():☃<255}")),
    "meant for an audience": lambda: signed_claims(good(aud="somebody else")),
    "meant for audiences": lambda: signed_claims(good(aud=["a", "b"], iss="x", jti="y")),
    "no typ": lambda: signed_claims(good(), typ=None),
    "claims that nobody knows": lambda: signed_claims(good(role="admin", nested={"a": [1]})),
    "name, email and picture of wrong types": lambda: signed_claims(good(name=1, email=["a@b.c"], picture={})),
    "null for a name": lambda: signed_claims(good(name=None, email=None, picture=None)),
    "empty names": lambda: signed_claims(good(name="", email="", picture="")),
    "a name that looks like an escape": lambda: signed_claims(good(name="\\u0000 \\ud800")),
    "a long name": lambda: signed_claims(good(name="n" * 5000)),
    "a long picture": lambda: signed_claims(good(picture="https://x/" + "p" * 5000)),
    "a long e-mail address": lambda: signed_claims(good(email=hashlib.shake_256(b"x").hexdigest(2600) + "@b.c")),
    "a long but compressible e-mail address": lambda: signed_claims(good(email="x" * 5000 + "@b.c")),
}

REFUSED: dict[str, Callable[[], str | bytes]] = {
    "nothing": lambda: "",
    "garbage": lambda: "garbage",
    "dots": lambda: "..",
    "many dots": lambda: "a.b.c.d.e",
    "no ASCII": lambda: "☃.☃.☃",
    "no UTF-8": lambda: b"\xff\xfe.\xff.\xff",
    "percent signs": lambda: "%%%.%zz.%ff%00",
    "another secret": lambda: signed(json.dumps({"alg": "HS256"}), json.dumps(good()), OTHER_SECRET),
    "alg none, unsigned": lambda: signed_claims(good(), alg="none").rpartition(".")[0] + ".",
    "alg none, signed": lambda: signed_claims(good(), alg="none"),
    "alg None": lambda: signed_claims(good(), alg="None"),
    "alg missing": lambda: signed('{"typ": "JWT"}', json.dumps(good())),
    "alg null": lambda: signed_claims(good(), alg=None),
    "alg a list": lambda: signed_claims(good(), alg=["HS256"]),
    "alg an object": lambda: signed_claims(good(), alg={}),
    "HS512": lambda: jwt.encode(good(), SECRET * 2, algorithm="HS512"),
    "HS384 with the secret": lambda: jwt.encode(good(), SECRET + SECRET, algorithm="HS384"),
    "RS256": lambda: signed_claims(good(), alg="RS256"),
    "dir": lambda: signed_claims(good(), alg="dir", enc="A256GCM"),
    "critical header": lambda: signed_claims(good(), crit=["x"], x=1),
    "detached payload": lambda: signed_claims(good(), b64=False, crit=["b64"]),
    "kid a number": lambda: signed_claims(good(), kid=1),
    "signature cut off": lambda: signed_claims(good()).rpartition(".")[0] + ".",
    "signature shortened": lambda: signed_claims(good())[:-2],
    "payload of another": lambda: ".".join(
        part for n, part in enumerate((token() + "." + token()).split(".")) if n in (0, 1, 5)
    ),
    "expired more than 30 s ago": lambda: signed_claims(good(exp=now() - 35)),
    "not yet valid": lambda: signed_claims(good(nbf=now() + 60)),
    "issued in the future": lambda: signed_claims(good(iat=now() + 60)),
    "no exp": lambda: signed_claims({"sub": new_user()}),
    "exp null": lambda: signed_claims(good(exp=None)),
    "exp a word": lambda: signed_claims(good(exp="tomorrow")),
    "exp infinite": lambda: signed_claims(good(exp=float("inf"))),
    "exp not a number": lambda: signed_claims(good(exp=float("nan"))),
    "exp minus infinite": lambda: signed_claims(good(exp=float("-inf"))),
    "exp a list": lambda: signed_claims(good(exp=[now() + 60])),
    "nbf infinite": lambda: signed_claims(good(nbf=float("inf"))),
    "no sub": lambda: signed_claims({"exp": now() + 60}),
    "sub null": lambda: signed_claims(good(sub=None)),
    "sub a number": lambda: signed_claims(good(sub=1)),
    "sub a list": lambda: signed_claims(good(sub=["alice"])),
    "sub empty": lambda: signed_claims(good(sub="")),
    "sub blank": lambda: signed_claims(good(sub=" \t")),
    "sub of 256 characters": lambda: signed_claims(good(sub="x" * 256)),
    "sub of 5,000 characters": lambda: signed_claims(good(sub="x" * 5000)),
    "NUL in the sub": lambda: signed_claims(good(sub="a\0b")),
    "NUL in the name": lambda: signed_claims(good(name="a\0b")),
    "a lone surrogate in the sub": lambda: signed_claims(good(sub="a\ud800")),
    "a lone surrogate in the e-mail address": lambda: signed_claims(good(email="a\udfff@b.c")),
    "payload no JSON": lambda: signed('{"alg": "HS256"}', "claims"),
    "payload a list": lambda: signed('{"alg": "HS256"}', "[]"),
    "payload null": lambda: signed('{"alg": "HS256"}', "null"),
    "payload empty": lambda: signed('{"alg": "HS256"}', ""),
    "payload no UTF-8": lambda: signed('{"alg": "HS256"}', '{"sub": "\udfff"}'),
    "payload nested deep": lambda: signed('{"alg": "HS256"}', "[" * 1500 + "]" * 1500),
    "header no JSON": lambda: signed("HS256", json.dumps(good())),
    "header a list": lambda: signed('["HS256"]', json.dumps(good())),
    "header nested deep": lambda: base64url(b"[" * 4000) + ".e30.e30",
    "4 kB of noise": lambda: base64url(hashlib.shake_256(b"noise").digest(3000)),
    "4 kB of dots": lambda: "." * 4000,
    "100 kB of noise": lambda: base64url(hashlib.shake_256(b"noise").digest(75_000)),
    "100 kB of percent signs": lambda: "%41" * 33_000,
    "sub of 10 kB": lambda: signed_claims(good(sub="x" * 10_000)),
    "a public key's signature": lambda: signed(
        json.dumps({"alg": "HS256"}),
        json.dumps(good()),
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
    ),
    "signed twice": lambda: signed('{"alg": "HS256", "cty": "JWT"}', signed_claims(good())),
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_accepted(nobody: httpx.Client, kind: str) -> None:
    value = ACCEPTED[kind]()
    assert try_token(nobody, value).status_code == 200
    assert try_token(nobody, value).status_code == 200


@pytest.mark.parametrize("kind", REFUSED)
def test_every_other_token_gets_one_same_answer(nobody: httpx.Client, kind: str) -> None:
    unauthorized(try_token(nobody, REFUSED[kind]()))


def test_without_a_token_the_answer_is_the_same(nobody: httpx.Client) -> None:
    unauthorized(nobody.get("/api/chats"))


@pytest.mark.parametrize("scheme", ["Basic", "Token", "Bear", "Bearer:", "", "JWT", "Digest"])
def test_another_scheme_is_refused(nobody: httpx.Client, scheme: str) -> None:
    unauthorized(try_token(nobody, token(), scheme))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEARER", "Bearer "])
def test_the_scheme_has_no_case(nobody: httpx.Client, scheme: str) -> None:
    assert try_token(nobody, token(), scheme).status_code == 200


def test_a_url_encoded_token_is_decoded(nobody: httpx.Client) -> None:
    assert try_token(nobody, quote(token(), safe="").replace(".", "%2E")).status_code == 200


def test_what_is_longer_than_a_header_may_be_is_refused(nobody: httpx.Client) -> None:
    for length in (160 * 1024, 200_000):
        refusal(try_token(nobody, "x" * length), 413)


def test_a_token_may_have_32_kib(nobody: httpx.Client) -> None:
    longest = max(
        (signed_claims(good(name="n" * n)) for n in range(24_300, 24_500)), key=lambda t: (len(t) <= 32_768, len(t))
    )
    assert 32_760 < len(longest) <= 32_768
    assert try_token(nobody, longest).status_code == 200
    unauthorized(try_token(nobody, signed_claims(good(name="n" * 24_500))))


def test_secrets_rotate(nobody: httpx.Client) -> None:
    for secret in (SECRET, OLD_SECRET):
        assert try_token(nobody, token(secret=secret)).status_code == 200
    for secret in (f"{SECRET}, {OLD_SECRET}", SECRET[:-1] + "?", f" {OLD_SECRET}"):
        unauthorized(try_token(nobody, token(secret=secret)))


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES if route.method == "GET"}))
def test_the_first_request_of_a_user_works_whatever_it_is(
    api: Api, postgres: Postgres, shared_database: str, path: str
) -> None:
    user = new_user()
    with unlimited(api, user) as client:
        response = client.get(path.replace("<", "").replace(">", ""))
    assert response.status_code == 404 if "<" in path else 200
    with psycopg.connect(postgres.url(shared_database)) as dba:
        known = dba.execute("select count(*) from next_auth.users where id = %s", [user]).fetchone()
        # What a refused request did is rolled back, the sign-in too: the next one makes it good.
        assert known == (1 if response.is_success else 0,)


def test_a_first_request_can_write_at_once(api: Api) -> None:
    with unlimited(api) as client:
        chat = client.post("/api/chats", json={"title": "First"})
        assert chat.status_code == 201
        assert client.get("/api/chats").json()["chats"][0]["id"] == chat.json()["id"]


def test_the_claims_make_the_user_known(api: Api) -> None:
    user = new_user()
    claims = {"name": "Ada ☃", "email": f"{user}@Example.org", "picture": "https://example.org/ada.png"}
    with unlimited(api, "") as client:
        client.headers["Authorization"] = f"Bearer {token(user, **claims)}"
        chat = client.post("/api/chats", json={"title": "x"}).json()["id"]
        member = client.get(f"/api/chats/{chat}/members").json()["members"][0]
    assert (member["userId"], member["name"], member["image"]) == (user, claims["name"], claims["picture"])


def test_simultaneous_first_requests_of_one_user_all_succeed(api: Api) -> None:
    for _ in range(5):
        with unlimited(api, new_user()) as client, ThreadPoolExecutor(4) as pool:
            titles = [f"Chat {n}" for n in range(4)]
            statuses = pool.map(lambda title: client.post("/api/chats", json={"title": title}).status_code, titles)
            assert list(statuses) == [201] * 4
            assert client.get("/api/chats").json()["total"] == 4


def test_two_identities_with_one_address_both_get_in(api: Api) -> None:
    email = f"{new_user()}@example.org"
    for user, address in zip((new_user(), new_user()), (email, email.upper()), strict=True):
        with unlimited(api, "", Authorization=f"Bearer {token(user, email=address)}") as client:
            assert client.post("/api/chats", json={"title": "x"}).status_code == 201
            assert client.get("/api/chats").json()["total"] == 1


def test_a_user_is_the_sub_to_the_letter(api: Api) -> None:
    names = new_user()
    for user in (names, names.upper(), f" {names}", f"{names}\u200b"):
        with unlimited(api, user) as client:
            assert client.get("/api/chats").json()["total"] == 0
            client.post("/api/chats", json={"title": "x"})


def test_bad_tokens_leave_no_trace_in_the_log(api: Api, nobody: httpx.Client) -> None:
    before = api.log.stat().st_size
    for response in map(try_token, repeat(nobody), ("garbage", token(secret=OTHER_SECRET), "a.b.c")):
        unauthorized(response)
    assert try_token(nobody, token()).status_code == 200
    assert api.log.stat().st_size == before
