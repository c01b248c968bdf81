"""Session tokens for scripts and tests, as the web app signs them."""

import time

import jwt


def sign_session_token(secret: str, seconds: int, **claims: str | None) -> str:
    """Return a JWT that is signed with HS256 and expires in `seconds`; claims that are None are omitted."""
    now = int(time.time())
    given = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({**given, "iat": now, "exp": now + seconds}, secret, algorithm="HS256")
