"""Session tokens and user ids for tests."""

import time
from typing import Any
from uuid import uuid4

import jwt

SECRET = "what nobody but the tests of Parley signs with"
OLD_SECRET = "what those tests signed with until it was rotated"


def new_user(prefix: str = "user") -> str:
    """Return a user id that no other test has."""
    return f"{prefix}-{uuid4().hex[:12]}"


def claims(user: str = "", **changes: Any) -> dict[str, Any]:
    """Return the claims of a valid session token, with changes; those with the value None are left out."""
    changed = {"sub": user or new_user(), "exp": int(time.time()) + 3600} | changes
    return {name: value for name, value in changed.items() if value is not None}


def token(user: str = "", secret: str = SECRET, **changes: Any) -> str:
    """Return a signed session token with these claims."""
    return jwt.encode(claims(user, **changes), secret, algorithm="HS256")
