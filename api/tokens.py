"""From a request's session token to the identity that `session.begin` takes.

Each kind of token is one more way through `identity`.
"""

import json
from itertools import product
from urllib.parse import unquote

import jwt
from sanic import Request

from api.errors import unauthorized

LEEWAY_SECONDS = 30
COOKIES = tuple(f"{prefix}{name}.session-token" for name in ("authjs", "next-auth") for prefix in ("__Secure-", ""))
CLAIMS = ("sub", "name", "email", "picture")


class Tokens:
    """Verifies session tokens with any of the secrets."""

    def __init__(self, secrets: list[str]) -> None:
        self._secrets = secrets

    def identity(self, request: Request, *, cookie_will_do: bool) -> str:
        """The caller's identity as JSON, {"sub", "name"?, "email"?, "picture"?}; raises 401.

        A browser sends cookies with what another site asks of it, so one must not do where something is changed.
        """
        tokens = session_tokens(request, cookie_will_do=cookie_will_do)
        for token, secret in product(tokens, self._secrets):
            try:
                return identity_of(verify(token, secret))
            except (jwt.PyJWTError, ValueError):  # ValueError: text that is no Unicode, a nesting too deep
                continue
        raise unauthorized()


def session_tokens(request: Request, *, cookie_will_do: bool) -> list[str]:
    """The token in the header Authorization, or without that those in the session cookies."""
    authorization = request.headers.get("authorization", "")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return [unquote(token.strip())]
    if authorization or not cookie_will_do:
        return []
    cookies: dict[str, list[str]] = dict(request.cookies)  # for their own get() looks for other names, too
    return [cookie for name in COOKIES for cookie in cookies.get(name, [])]


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
