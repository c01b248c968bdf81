"""Session tokens of web apps, by header and by cookie: which are accepted, and that all others get one same 401."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

KEPT = Path(__file__).with_name("session_tokens.json")


def sent_as(token: str, cookie: str | None) -> Iterator[dict[str, str]]:
    """The headers that carry this token: a Bearer token, and a cookie where it is for one."""
    yield {"Authorization": f"Bearer {token}"}
    if cookie:
        yield {"Cookie": f"{cookie}={token}"}
