"""From a request's session token to the identity that `session.begin` takes.

Each kind of token is one more way through `identity`.
"""

import json
from urllib.parse import unquote

import jwt
from sanic import Request

from api.errors import unauthorized

LEEWAY_SECONDS = 30
CLAIMS = ("sub", "name", "email", "picture")


class Tokens:
    """Verifies session tokens with any of the secrets."""

    def __init__(self, secrets: list[str]) -> None:
        self._secrets = secrets

    def identity(self, request: Request) -> str:
        """The caller's identity as JSON, {"sub", "name"?, "email"?, "picture"?}; raises 401."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise unauthorized()
        token = unquote(token.strip())
        for secret in self._secrets:
            try:
                return identity_of(verify(token, secret))
            except (jwt.PyJWTError, ValueError):  # ValueError: text that is no Unicode, a nesting too deep
                continue
        raise unauthorized()


def verify(token: str, secret: str) -> dict[str, object]:
    """The claims of a JWT signed with HS256; raises jwt.PyJWTError or ValueError."""
    return jwt.decode(
        token,
        secret,
        algorithms=["HS256"],
        leeway=LEEWAY_SECONDS,
        options={"require": ["sub", "exp"], "verify_aud": False},
    )


def identity_of(claims: dict[str, object]) -> str:
    """The claims that tell who it is, in JSON that PostgreSQL takes; raises ValueError for text that it does not."""
    known = {claim: text for claim in CLAIMS if isinstance(text := claims.get(claim), str)}
    if any("\0" in text for text in known.values()):
        raise ValueError("NUL in a claim")
    identity = json.dumps(known, ensure_ascii=False)
    identity.encode()
    return identity
