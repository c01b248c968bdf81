"""The cache of verified tokens: until they expire, only for their cookie, and with a maximum size."""

import json
from hashlib import sha256

import pytest
from sanic.compat import Header

from api.auth.cookies import SESSION_COOKIES
from api.auth.tokens import CACHE_BYTES, Tokens
from api.http.errors import ApiError
from api.http.request import ParleyRequest
from tests.api.support import load_session_tokens
from tests.tokens import SECRET, token

NOW = 1_800_000_000


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> Tokens:
    return Tokens([SECRET], clock=clock)


def authenticate(tokens: Tokens, session_token: str, cookie: str = "") -> dict[str, object]:
    """Return the identity of a request with this token."""
    header = ("cookie", f"{cookie}={session_token}") if cookie else ("authorization", f"Bearer {session_token}")
    request = ParleyRequest(b"/api/chats", Header([header]), "1.1", "GET", None, None)  # type: ignore[arg-type]
    identity: dict[str, object] = json.loads(tokens.authenticate(request, allow_cookie=True))
    return identity


def digests(*session_tokens: str) -> dict[str, object]:
    """Return the identity of a request without a valid JWT."""
    return {"session_digests": [sha256(session_token.encode()).hexdigest() for session_token in session_tokens]}


def test_unknown_token_is_passed_on_as_a_digest(tokens: Tokens) -> None:
    assert authenticate(tokens, "b6b2ff1c-4f0e") == digests("b6b2ff1c-4f0e")
    assert len(tokens.cache) == 0


def test_token_is_cached_until_it_expires(tokens: Tokens, clock: Clock) -> None:
    value = token("ada", exp=NOW + 60)
    assert authenticate(tokens, value) == {"sub": "ada"}
    assert len(tokens.cache) == 1
    clock.now = NOW + 59.9
    assert authenticate(tokens, value) == {"sub": "ada"}
    assert len(tokens.cache) == 1
    clock.now = NOW + 60
    tokens.cache.expire()
    assert len(tokens.cache) == 0
    assert authenticate(tokens, value) == {"sub": "ada"}  # accepted within the leeway, and verified each time
    assert len(tokens.cache) == 0
    clock.now = NOW + 89
    assert authenticate(tokens, value) == {"sub": "ada"}
    clock.now = NOW + 90
    assert authenticate(tokens, value) == digests(value)


def test_cached_token_is_not_verified_again(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    value = token("ada", exp=NOW + 60)
    authenticate(tokens, value)
    monkeypatch.setattr("api.auth.tokens.verify_claims", lambda *_, **__: pytest.fail("verified again"))
    assert authenticate(tokens, value) == {"sub": "ada"}


def test_invalid_result_is_not_cached(tokens: Tokens, clock: Clock) -> None:
    value = token("ada", nbf=NOW + 60, exp=NOW + 120)
    assert authenticate(tokens, value) == digests(value)
    clock.now = NOW + 30
    assert authenticate(tokens, value) == {"sub": "ada"}


def test_cached_token_is_valid_only_in_its_cookie(tokens: Tokens) -> None:
    value = next(
        made["token"]
        for made in load_session_tokens()
        if made["cookie"] == "authjs.session-token" and "Auth.js," in made["kind"]
    )
    assert authenticate(tokens, value, "authjs.session-token")["sub"] == "zoe"
    assert authenticate(tokens, value, SESSION_COOKIES[3]) == digests(value)
    assert authenticate(tokens, value)["sub"] == "zoe"
    assert authenticate(tokens, value, SESSION_COOKIES[0]) == digests(value)


def test_cache_does_not_contain_tokens(tokens: Tokens) -> None:
    value = token("ada", exp=NOW + 60)
    authenticate(tokens, value)
    assert value not in repr(dict(tokens.cache.items()))
    assert value.rpartition(".")[2] not in repr(dict(tokens.cache.items()))


def test_cache_has_a_maximum_size(tokens: Tokens) -> None:
    name = "n" * 20_000
    for number in range(CACHE_BYTES // 20_000 + 50):
        authenticate(tokens, token(f"user-{number}", name=name, exp=NOW + 60))
    assert 0.9 * CACHE_BYTES < tokens.cache.currsize <= CACHE_BYTES
    assert len(tokens.cache) < CACHE_BYTES // 20_000


def test_token_with_a_huge_expiry_is_accepted(tokens: Tokens) -> None:
    for exp in (10**400, 1e300):
        assert authenticate(tokens, token("ada", exp=exp)) == {"sub": "ada"}


def test_without_a_token_there_is_no_identity(tokens: Tokens) -> None:
    for header, cookie in (("", ""), ("", SESSION_COOKIES[0])):
        with pytest.raises(ApiError):
            authenticate(tokens, header, cookie)
