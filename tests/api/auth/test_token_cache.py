"""Verified tokens are remembered: until they expire, for where they were, and only so many."""

import json
from hashlib import sha256

import pytest
from sanic.compat import Header

from api.auth.tokens import CACHE_BYTES, COOKIES, Tokens
from api.http.errors import ApiError
from api.http.protocol import ParleyRequest
from tests.api.support import kept_tokens
from tests.support import SECRET, token

NOW = 1_800_000_000


class Clock:
    """A clock that tests move."""

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


def ask(tokens: Tokens, session_token: str, cookie: str = "") -> dict[str, object]:
    """The identity in a request with this token."""
    header = ("cookie", f"{cookie}={session_token}") if cookie else ("authorization", f"Bearer {session_token}")
    request = ParleyRequest(b"/api/chats", Header([header]), "1.1", "GET", None, None)  # type: ignore[arg-type]
    identity: dict[str, object] = json.loads(tokens.identity(request, cookie_will_do=True))
    return identity


def digests(*session_tokens: str) -> dict[str, object]:
    """The identity where no token is a JWT that counts."""
    return {"session_digests": [sha256(session_token.encode()).hexdigest() for session_token in session_tokens]}


def test_what_is_known_of_a_token_that_is_none_of_ours_is_its_digest(tokens: Tokens) -> None:
    assert ask(tokens, "b6b2ff1c-4f0e") == digests("b6b2ff1c-4f0e")
    assert len(tokens.verified) == 0


def test_a_token_is_remembered_until_it_expires_and_not_a_second_longer(tokens: Tokens, clock: Clock) -> None:
    value = token("ada", exp=NOW + 60)
    assert ask(tokens, value) == {"sub": "ada"}
    assert len(tokens.verified) == 1
    clock.now = NOW + 59.9
    assert ask(tokens, value) == {"sub": "ada"}
    assert len(tokens.verified) == 1
    clock.now = NOW + 60
    tokens.verified.expire()
    assert len(tokens.verified) == 0
    assert ask(tokens, value) == {"sub": "ada"}  # by the leeway, each time anew
    assert len(tokens.verified) == 0
    clock.now = NOW + 89
    assert ask(tokens, value) == {"sub": "ada"}
    clock.now = NOW + 90
    assert ask(tokens, value) == digests(value)


def test_what_is_remembered_is_not_verified_again(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    value = token("ada", exp=NOW + 60)
    ask(tokens, value)
    monkeypatch.setattr("api.auth.tokens.verified_claims", lambda *_, **__: pytest.fail("verified again"))
    assert ask(tokens, value) == {"sub": "ada"}


def test_a_token_that_was_not_valid_yet_is_not_held_against_it(tokens: Tokens, clock: Clock) -> None:
    value = token("ada", nbf=NOW + 60, exp=NOW + 120)
    assert ask(tokens, value) == digests(value)
    clock.now = NOW + 30
    assert ask(tokens, value) == {"sub": "ada"}


def test_a_remembered_token_counts_only_where_it_was(tokens: Tokens) -> None:
    value = next(
        made["token"]
        for made in kept_tokens()
        if made["cookie"] == "authjs.session-token" and "Auth.js," in made["kind"]
    )
    assert ask(tokens, value, "authjs.session-token")["sub"] == "zoe"
    assert ask(tokens, value, COOKIES[3]) == digests(value)
    assert ask(tokens, value)["sub"] == "zoe"
    assert ask(tokens, value, COOKIES[0]) == digests(value)


def test_no_token_is_in_the_memory_of_them(tokens: Tokens) -> None:
    value = token("ada", exp=NOW + 60)
    ask(tokens, value)
    assert value not in repr(dict(tokens.verified.items()))
    assert value.rpartition(".")[2] not in repr(dict(tokens.verified.items()))


def test_only_so_many_are_remembered(tokens: Tokens) -> None:
    name = "n" * 20_000
    for number in range(CACHE_BYTES // 20_000 + 50):
        ask(tokens, token(f"user-{number}", name=name, exp=NOW + 60))
    assert 0.9 * CACHE_BYTES < tokens.verified.currsize <= CACHE_BYTES
    assert len(tokens.verified) < CACHE_BYTES // 20_000


def test_what_never_expires_is_no_trouble(tokens: Tokens) -> None:
    for exp in (10**400, 1e300):
        assert ask(tokens, token("ada", exp=exp)) == {"sub": "ada"}


def test_without_a_token_there_is_no_identity(tokens: Tokens) -> None:
    for header, cookie in (("", ""), ("", COOKIES[0])):
        with pytest.raises(ApiError):
            ask(tokens, header, cookie)
