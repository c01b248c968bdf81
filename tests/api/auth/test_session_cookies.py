"""Session cookies: their names, chunks and duplicates, and that a change with them requires an allowed origin."""

from collections.abc import Callable
from urllib.parse import quote

import httpx
import pytest

from api.auth.cookies import SESSION_COOKIES
from api.auth.tokens import MAX_TOKENS
from api.routes import ROUTES, Route
from tests.api.support import expect_error, expect_unauthorized, get_user_id
from tests.api_process import Api, running
from tests.database import NO_SUCH_ID
from tests.tokens import new_user, token

COOKIE = "next-auth.session-token"
ALLOWED = ("https://app.test", "http://localhost:3000")
CHANGES = [route for route in ROUTES if not route.allows_cookie]


def split_into_cookies(value: str, name: str = COOKIE, size: int = 10) -> list[str]:
    """Split a token into the cookies that NextAuth.js would set, which has 3,933 bytes in each."""
    return [f"{name}.{n // size}={value[n : n + size]}" for n in range(0, len(value), size)]


def is_accepted(anonymous_client: httpx.Client, user: str, *cookies: str) -> bool:
    """Return whether these cookies authenticate this user; otherwise check that they authenticate no user."""
    headers = {"Cookie": "; ".join(cookies)}
    if anonymous_client.get("/api/profile", headers=headers).is_success:
        return get_user_id(anonymous_client, **headers) == user
    expect_unauthorized(anonymous_client.get("/api/profile", headers=headers))
    return False


@pytest.mark.parametrize("name", SESSION_COOKIES)
def test_token_may_be_in_any_session_cookie_whole_or_in_chunks(anonymous_client: httpx.Client, name: str) -> None:
    user = new_user()
    value = token(user)
    assert is_accepted(anonymous_client, user, "a=b", f"{name}={value}", "c=d")
    chunks = split_into_cookies(value, name)
    assert len(chunks) > 11  # .10 comes after .9
    assert is_accepted(anonymous_client, user, *sorted(chunks))
    assert is_accepted(anonymous_client, user, *reversed(chunks))
    assert is_accepted(anonymous_client, user, f'{name}="{value}"')
    assert is_accepted(anonymous_client, user, f"{name}={quote(value, safe='').replace('.', '%2E')}")


@pytest.mark.parametrize(
    "name", ["session-token", "Next-Auth.Session-Token", "__Host-next-auth.session-token", f"x{COOKIE}", f"{COOKIE}.x"]
)
def test_other_cookies_are_ignored(anonymous_client: httpx.Client, name: str) -> None:
    assert not is_accepted(anonymous_client, "", f"{name}={token()}")


def test_prefixed_cookie_has_precedence(anonymous_client: httpx.Client) -> None:
    user, other = new_user(), new_user()
    for secure in SESSION_COOKIES[:2]:
        assert secure.startswith("__Secure-")
        for plain in SESSION_COOKIES[2:]:
            assert is_accepted(anonymous_client, user, f"{plain}={token(other)}", f"{secure}={token(user)}")
            assert is_accepted(anonymous_client, other, f"{plain}={token(other)}", f"{secure}=stale")


def test_only_prefixed_cookies_count_with_an_https_url(new_api: Callable[..., Api], shared_database: str) -> None:
    api = new_api(shared_database, PUBLIC_URL="https://chat.example.org", RATE_LIMIT_REQUESTS="1000")
    with running(api), api.client("") as anonymous:
        user = new_user()
        for name in SESSION_COOKIES:
            assert is_accepted(anonymous, user, f"{name}={token(user)}") == name.startswith("__Secure-")
            assert is_accepted(anonymous, user, *split_into_cookies(token(user), name)) == name.startswith("__Secure-")
            bearer = {"Authorization": f"Bearer {token(user)}", "Cookie": f"{name}={token()}"}
            assert get_user_id(anonymous, **bearer) == user
        schemes = anonymous.get("/openapi.json").json()["components"]["securitySchemes"]
        assert list(schemes) == ["token", *SESSION_COOKIES[:2]]


def test_all_chunks_are_required(anonymous_client: httpx.Client) -> None:
    user = new_user()
    chunks = split_into_cookies(token(user))
    assert is_accepted(anonymous_client, user, *chunks)
    assert is_accepted(anonymous_client, user, *chunks, f"{COOKIE}.{len(chunks) + 1}=stale", f"{COOKIE}.0=stale")
    for number in range(len(chunks)):
        assert not is_accepted(anonymous_client, user, *chunks[:number], *chunks[number + 1 :])


def test_stale_cookies_beside_a_valid_one_are_ignored(anonymous_client: httpx.Client) -> None:
    user = new_user()
    value, stale = token(user), token(exp=1)
    assert is_accepted(anonymous_client, user, f"{COOKIE}={stale}", f"{COOKIE}={value}")
    assert is_accepted(anonymous_client, user, f"{COOKIE}={stale}", *split_into_cookies(value))
    assert is_accepted(anonymous_client, user, f"{COOKIE}={value}", *split_into_cookies(stale))
    assert is_accepted(
        anonymous_client,
        user,
        f"{SESSION_COOKIES[0]}={stale}",
        f"{SESSION_COOKIES[1]}=",
        f"{SESSION_COOKIES[3]}={value}",
    )


def test_stale_chunks_beside_valid_ones_are_ignored(anonymous_client: httpx.Client) -> None:
    """Browsers send cookies with a longer path first, and the server does not see which path a cookie has."""
    user = new_user()
    value = token(user)
    good, size = split_into_cookies(value, size=len(value) // 3 + 1), len(value) // 3 + 1
    assert len(good) == 3
    stale = split_into_cookies(token(exp=1), size=size)
    for cookies in (
        [*stale, *good], [*good, *stale], [*stale, *stale, *good], [*stale, *good, *stale],
        [good[0], stale[0], good[1], stale[1], good[2], stale[2]],
        *([bad, *good] for bad in stale), *([*good, bad] for bad in stale), *([*stale[:2], *good], [*stale[1:], *good]),
        [f"{COOKIE}.0=", *good], [*good, f"{COOKIE}.3=", f"{COOKIE}.4=stale"],
    ):  # fmt: skip
        assert is_accepted(anonymous_client, user, *cookies), cookies


def test_number_of_tokens_joined_from_chunks_is_limited(anonymous_client: httpx.Client) -> None:
    user = new_user()
    good, stale = split_into_cookies(token(user)), split_into_cookies("x" * len(token(user)))
    assert is_accepted(anonymous_client, user, *stale * (MAX_TOKENS - 1), *good)
    assert not is_accepted(anonymous_client, user, *stale * MAX_TOKENS, *good)


def test_number_of_tokens_that_are_tried_is_limited(anonymous_client: httpx.Client) -> None:
    user = new_user()
    stale = [f"{COOKIE}=stale"] * (MAX_TOKENS - 1)
    assert is_accepted(anonymous_client, user, *stale, f"{COOKIE}={token(user)}")
    assert not is_accepted(anonymous_client, user, *stale, f"{COOKIE}=stale", f"{COOKIE}={token(user)}")


def test_long_quoted_cookie_is_parsed_in_linear_time(anonymous_client: httpx.Client) -> None:
    # A parser with quadratic time takes half a minute, in which all other requests wait.
    headers = {"Cookie": 'a="' + "\\a" * 78_000 + '"'}
    expect_unauthorized(anonymous_client.get("/api/profile", headers=headers, timeout=5))


def test_cookies_may_come_in_several_headers(anonymous_client: httpx.Client) -> None:
    pairs = [(b"Cookie", b"a=b"), (b"Cookie", f"{COOKIE}={token()}".encode())]
    assert anonymous_client.get("/api/profile", headers=pairs).status_code == 200


@pytest.mark.parametrize("authorization", ["Bearer forged", "Basic YTpi", "Bearer", "x"])
def test_authorization_header_has_precedence_over_a_cookie(anonymous_client: httpx.Client, authorization: str) -> None:
    headers = {"Cookie": f"{COOKIE}={token()}"}
    assert anonymous_client.get("/api/profile", headers=headers).is_success
    expect_unauthorized(anonymous_client.get("/api/profile", headers=headers | {"Authorization": authorization}))


@pytest.mark.parametrize("origin", ALLOWED)
def test_page_of_an_allowed_origin_may_send_unsafe_requests(anonymous_client: httpx.Client, origin: str) -> None:
    headers = {"Cookie": f"{COOKIE}={token()}", "Origin": origin}
    assert anonymous_client.post("/api/chats", json={"title": "Plans"}, headers=headers).status_code == 201
    assert anonymous_client.get("/api/chats", headers=headers).json()["total"] == 1


@pytest.mark.parametrize(
    "origin",
    [
        None, "", "null", "*", "http://app.test", "https://app.test/", "https://app.test:8443", "https://app.test.evil.test",
        "https://evil.test", "https://evilapp.test", "https://sub.app.test", "HTTPS://APP.TEST", "app.test",
        "https://app.test, https://evil.test", "https://evil.test https://app.test", "http://localhost", "http://localhost:3001",
        "http://localhost:30000",
    ],
)  # fmt: skip
def test_pages_of_other_origins_may_not_send_unsafe_requests_with_a_cookie(
    anonymous_client: httpx.Client, origin: str | None
) -> None:
    cookie = {"Cookie": f"{COOKIE}={token()}"}
    headers = cookie if origin is None else cookie | {"Origin": origin}
    expect_error(anonymous_client.post("/api/chats", json={"title": "forged"}, headers=headers), 403)
    assert anonymous_client.get("/api/chats", headers=headers).json()["total"] == 0
    assert anonymous_client.post(
        "/api/chats", json={"title": "meant"}, headers=cookie | {"Origin": ALLOWED[0]}
    ).is_success


@pytest.mark.parametrize("route", CHANGES, ids=lambda route: f"{route.method} {route.path}")
def test_every_change_with_a_cookie_requires_an_allowed_origin(anonymous_client: httpx.Client, route: Route) -> None:
    path = route.path.replace("<user_id>", "x").replace("<chat_id>", NO_SUCH_ID).replace("<message_id>", NO_SUCH_ID)
    value = token()
    cookie = {"Cookie": f"{COOKIE}={value}"}
    expect_error(anonymous_client.request(route.method, path, headers=cookie), 403)
    for headers in (cookie | {"Origin": ALLOWED[0]}, {"Authorization": f"Bearer {value}"}):
        assert anonymous_client.request(route.method, path, headers=headers).status_code not in {401, 403}


def test_without_a_cookie_the_origin_is_ignored(anonymous_client: httpx.Client) -> None:
    for origin in ("https://evil.test", ALLOWED[0]):
        expect_unauthorized(anonymous_client.post("/api/chats", json={"title": "x"}, headers={"Origin": origin}))
        headers = {"Authorization": f"Bearer {token()}", "Origin": origin}
        assert anonymous_client.post("/api/chats", json={"title": "x"}, headers=headers).status_code == 201
