"""Session cookies of NextAuth.js and Auth.js: their names, chunks and duplicates."""

from collections.abc import Iterator
from itertools import chain, count, takewhile

from sanic import Request

SECURE_PREFIX = "__Secure-"  # browsers store a cookie with this prefix only if an https page sets it
SESSION_COOKIES = tuple(
    f"{prefix}{name}.session-token" for prefix in (SECURE_PREFIX, "") for name in ("authjs", "next-auth")
)


def get_session_cookies(public_url: str) -> tuple[str, ...]:
    """Return the names of session cookies, in order of precedence.

    A page on a sibling domain, or one on plain http, can set a cookie without the prefix, and so sign a user in as
    another user. Therefore prefixed cookies have precedence, and are the only ones if clients use https.
    """
    is_https = public_url.startswith("https://")
    return tuple(name for name in SESSION_COOKIES if name.startswith(SECURE_PREFIX) or not is_https)


def read_session_cookies(request: Request, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the name and value of each session cookie.

    A value that is too long for one cookie is in chunks, NAME.0, NAME.1 and so on. A name is repeated if pages of
    several paths or domains set it. The cookies of one page are in the same order for each chunk, so the nth value is
    joined from the nth cookie of each chunk, or from its last one.
    """
    cookies = parse_cookies(request)
    for name in names:
        chunks = list(takewhile(bool, (cookies.get(f"{name}.{number}", []) for number in count())))
        rows = range(max(map(len, chunks), default=0))
        joined = ("".join(values[min(row, len(values) - 1)] for values in chunks) for row in rows)
        for value in chain(cookies.get(name, []), joined):
            yield name, value


def parse_cookies(request: Request) -> dict[str, list[str]]:
    """Return the non-empty values of each cookie. Sanic's own parser takes quadratic time for a quoted value."""
    cookies: dict[str, list[str]] = {}
    for pair in ";".join(request.headers.getall("cookie", [])).split(";"):
        name, _, value = pair.partition("=")
        if value := value.strip().removeprefix('"').removesuffix('"'):
            cookies.setdefault(name.strip(), []).append(value)
    return cookies
