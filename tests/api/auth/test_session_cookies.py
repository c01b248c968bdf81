"""Session cookies: their names, chunks and doubles, and that a change needs an allowed origin with them."""

from collections.abc import Callable
from urllib.parse import quote

import httpx
import pytest

from api.auth.tokens import COOKIES, MAX_TOKENS
from api.routes import ROUTES, Route
from tests.api.support import refusal, unauthorized, user_of
from tests.support import NO_SUCH_ID, Api, new_user, running, token

COOKIE = "next-auth.session-token"
ALLOWED = ("https://app.test", "http://localhost:3000")
CHANGES = [route for route in ROUTES if not route.changes_nothing]


def chunked(value: str, name: str = COOKIE, size: int = 10) -> list[str]:
    """The cookies that a token is spread over, as NextAuth.js does it with 3,933 bytes each."""
    return [f"{name}.{n // size}={value[n : n + size]}" for n in range(0, len(value), size)]


def accepted(nobody: httpx.Client, user: str, *cookies: str) -> bool:
    """Whether these cookies make a request this user's, or else nobody's."""
    headers = {"Cookie": "; ".join(cookies)}
    if nobody.get("/api/profile", headers=headers).is_success:
        return user_of(nobody, **headers) == user
    unauthorized(nobody.get("/api/profile", headers=headers))
    return False


@pytest.mark.parametrize("name", COOKIES)
def test_a_token_may_be_in_any_session_cookie_whole_or_in_chunks(nobody: httpx.Client, name: str) -> None:
    user = new_user()
    value = token(user)
    assert accepted(nobody, user, "a=b", f"{name}={value}", "c=d")
    chunks = chunked(value, name)
    assert len(chunks) > 11  # .10 comes after .9
    assert accepted(nobody, user, *sorted(chunks))
    assert accepted(nobody, user, *reversed(chunks))
    assert accepted(nobody, user, f'{name}="{value}"')
    assert accepted(nobody, user, f"{name}={quote(value, safe='').replace('.', '%2E')}")


@pytest.mark.parametrize(
    "name", ["session-token", "Next-Auth.Session-Token", "__Host-next-auth.session-token", f"x{COOKIE}", f"{COOKIE}.x"]
)
def test_no_other_cookie_will_do(nobody: httpx.Client, name: str) -> None:
    assert not accepted(nobody, "", f"{name}={token()}")


def test_a_prefixed_cookie_comes_first(nobody: httpx.Client) -> None:
    user, other = new_user(), new_user()
    for secure in COOKIES[:2]:
        assert secure.startswith("__Secure-")
        for plain in COOKIES[2:]:
            assert accepted(nobody, user, f"{plain}={token(other)}", f"{secure}={token(user)}")
            assert accepted(nobody, other, f"{plain}={token(other)}", f"{secure}=stale")


def test_with_an_https_url_only_prefixed_cookies_count(new_api: Callable[..., Api], shared_database: str) -> None:
    api = new_api(shared_database, PUBLIC_URL="https://chat.example.org", RATE_LIMIT_REQUESTS="1000")
    with running(api), api.client("") as nobody:
        user = new_user()
        for name in COOKIES:
            assert accepted(nobody, user, f"{name}={token(user)}") == name.startswith("__Secure-")
            assert accepted(nobody, user, *chunked(token(user), name)) == name.startswith("__Secure-")
            bearer = {"Authorization": f"Bearer {token(user)}", "Cookie": f"{name}={token()}"}
            assert user_of(nobody, **bearer) == user
        schemes = nobody.get("/openapi.json").json()["components"]["securitySchemes"]
        assert list(schemes) == ["token", *COOKIES[:2]]


def test_chunks_must_all_be_there(nobody: httpx.Client) -> None:
    user = new_user()
    chunks = chunked(token(user))
    assert accepted(nobody, user, *chunks)
    assert accepted(nobody, user, *chunks, f"{COOKIE}.{len(chunks) + 1}=stale", f"{COOKIE}.0=stale")
    for number in range(len(chunks)):
        assert not accepted(nobody, user, *chunks[:number], *chunks[number + 1 :])


def test_stale_cookies_beside_a_good_one_do_no_harm(nobody: httpx.Client) -> None:
    user = new_user()
    value, stale = token(user), token(exp=1)
    assert accepted(nobody, user, f"{COOKIE}={stale}", f"{COOKIE}={value}")
    assert accepted(nobody, user, f"{COOKIE}={stale}", *chunked(value))
    assert accepted(nobody, user, f"{COOKIE}={value}", *chunked(stale))
    assert accepted(nobody, user, f"{COOKIES[0]}={stale}", f"{COOKIES[1]}=", f"{COOKIES[3]}={value}")


def test_stale_chunks_beside_good_ones_do_no_harm(nobody: httpx.Client) -> None:
    """Browsers send cookies with a longer path first, and the server does not see which path a cookie has."""
    user = new_user()
    value = token(user)
    good, size = chunked(value, size=len(value) // 3 + 1), len(value) // 3 + 1
    assert len(good) == 3
    stale = chunked(token(exp=1), size=size)
    for cookies in (
        [*stale, *good], [*good, *stale], [*stale, *stale, *good], [*stale, *good, *stale],
        [good[0], stale[0], good[1], stale[1], good[2], stale[2]],
        *([bad, *good] for bad in stale), *([*good, bad] for bad in stale), *([*stale[:2], *good], [*stale[1:], *good]),
        [f"{COOKIE}.0=", *good], [*good, f"{COOKIE}.3=", f"{COOKIE}.4=stale"],
    ):  # fmt: skip
        assert accepted(nobody, user, *cookies), cookies


def test_of_many_chunks_only_so_many_tokens_are_made(nobody: httpx.Client) -> None:
    user = new_user()
    good, stale = chunked(token(user)), chunked("x" * len(token(user)))
    assert accepted(nobody, user, *stale * (MAX_TOKENS - 1), *good)
    assert not accepted(nobody, user, *stale * MAX_TOKENS, *good)


def test_only_so_many_are_looked_at(nobody: httpx.Client) -> None:
    user = new_user()
    stale = [f"{COOKIE}=stale"] * (MAX_TOKENS - 1)
    assert accepted(nobody, user, *stale, f"{COOKIE}={token(user)}")
    assert not accepted(nobody, user, *stale, f"{COOKIE}=stale", f"{COOKIE}={token(user)}")


def test_a_long_quoted_cookie_takes_no_long_time(nobody: httpx.Client) -> None:
    # By the square of its length it took half a minute, and every other request waited.
    headers = {"Cookie": 'a="' + "\\a" * 78_000 + '"'}
    unauthorized(nobody.get("/api/profile", headers=headers, timeout=5))


def test_cookies_may_come_in_several_headers(nobody: httpx.Client) -> None:
    pairs = [(b"Cookie", b"a=b"), (b"Cookie", f"{COOKIE}={token()}".encode())]
    assert nobody.get("/api/profile", headers=pairs).status_code == 200


@pytest.mark.parametrize("authorization", ["Bearer forged", "Basic YTpi", "Bearer", "x"])
def test_a_header_goes_before_a_cookie(nobody: httpx.Client, authorization: str) -> None:
    headers = {"Cookie": f"{COOKIE}={token()}"}
    assert nobody.get("/api/profile", headers=headers).is_success
    unauthorized(nobody.get("/api/profile", headers=headers | {"Authorization": authorization}))


@pytest.mark.parametrize("origin", ALLOWED)
def test_a_page_of_an_allowed_origin_may_change_things(nobody: httpx.Client, origin: str) -> None:
    headers = {"Cookie": f"{COOKIE}={token()}", "Origin": origin}
    assert nobody.post("/api/chats", json={"title": "Plans"}, headers=headers).status_code == 201
    assert nobody.get("/api/chats", headers=headers).json()["total"] == 1


@pytest.mark.parametrize(
    "origin",
    [
        None, "", "null", "*", "http://app.test", "https://app.test/", "https://app.test:8443", "https://app.test.evil.test",
        "https://evil.test", "https://evilapp.test", "https://sub.app.test", "HTTPS://APP.TEST", "app.test",
        "https://app.test, https://evil.test", "https://evil.test https://app.test", "http://localhost", "http://localhost:3001",
        "http://localhost:30000",
    ],
)  # fmt: skip
def test_no_other_page_may_change_things_with_a_cookie(nobody: httpx.Client, origin: str | None) -> None:
    cookie = {"Cookie": f"{COOKIE}={token()}"}
    headers = cookie if origin is None else cookie | {"Origin": origin}
    refusal(nobody.post("/api/chats", json={"title": "forged"}, headers=headers), 403)
    assert nobody.get("/api/chats", headers=headers).json()["total"] == 0
    assert nobody.post("/api/chats", json={"title": "meant"}, headers=cookie | {"Origin": ALLOWED[0]}).is_success


@pytest.mark.parametrize("route", CHANGES, ids=lambda route: f"{route.method} {route.path}")
def test_every_change_needs_the_origin(nobody: httpx.Client, route: Route) -> None:
    path = route.path.replace("<user_id>", "x").replace("<chat_id>", NO_SUCH_ID).replace("<message_id>", NO_SUCH_ID)
    value = token()
    cookie = {"Cookie": f"{COOKIE}={value}"}
    refusal(nobody.request(route.method, path, headers=cookie), 403)
    for headers in (cookie | {"Origin": ALLOWED[0]}, {"Authorization": f"Bearer {value}"}):
        assert nobody.request(route.method, path, headers=headers).status_code not in {401, 403}


def test_without_a_cookie_an_origin_is_no_matter(nobody: httpx.Client) -> None:
    for origin in ("https://evil.test", ALLOWED[0]):
        unauthorized(nobody.post("/api/chats", json={"title": "x"}, headers={"Origin": origin}))
        headers = {"Authorization": f"Bearer {token()}", "Origin": origin}
        assert nobody.post("/api/chats", json={"title": "x"}, headers=headers).status_code == 201
