"""The headers that make a request conditional: If-Match, If-None-Match and Idempotency-Key.

The database receives them unchanged; sql/functions/preconditions.sql and idempotency.sql evaluate them. Where no
database is asked, If-None-Match is evaluated here.
"""

import re
from hashlib import sha256
from typing import IO

from api.http.protocol import ParleyRequest
from api.routes import Route

# A list of entity tags by RFC 9110, with a comma added behind it; as in sql/functions/preconditions.sql.
ETAGS = re.compile(r'(?:[ \t]*+(?:(?:W/)?+"[^\0- "\x7f]*+")?+[ \t]*+,)*+')


def matches_etag(request: ParleyRequest, etag: str) -> bool:
    """Return whether If-None-Match has this entity tag, by the weak comparison."""
    return is_listed(etag, whole_header(request, "if-none-match") or "")


def is_listed(etag: str, header: str) -> bool:
    """Return whether a list of entity tags has this one, which has no comma in it. A malformed list has none.

    In a well-formed list a comma is between two elements, so that the tag with its quotes can only be an element.
    """
    return header == "*" or (etag in header and ETAGS.fullmatch(f"{header},") is not None)


def conditions(request: ParleyRequest, route: Route, content: bytes) -> tuple[str | None, str | bytes | None]:
    """What a request makes its answer depend on: $3 and $4 of the route's statement."""
    if not route.can_be_repeated:
        return named_etags(request, "if-match"), named_etags(request, "if-none-match")
    key = whole_header(request, "idempotency-key")
    return key, None if key is None else fingerprint(request, content)


def whole_header(request: ParleyRequest, name: str) -> str | None:
    """A header, however many times it was sent; None where it was not."""
    headers = request.headers
    if name not in headers:
        return None
    # Sanic leaves on what may follow a value. Bytes, as PostgreSQL is to see them: no two headers, and no two that are
    # not ASCII, make one that may be.
    values = [value.rstrip(" \t") for value in headers.getall(name)]
    return ", ".join(values).encode(errors="surrogateescape").decode("latin-1")


def named_etags(request: ParleyRequest, name: str) -> str | None:
    """A header that lists ETags; one that is there and empty names none, which is other than no condition."""
    named = whole_header(request, name)
    return '""' if named == "" else named


def fingerprint(request: ParleyRequest, content: bytes) -> bytes:
    """What is the same in a repeat: the method, the path and the body, byte for byte.

    Of a form with an image it is the image alone: clients frame it anew each time.
    """
    return sha256(f"{request.method} {request.path}\n".encode() + content).digest()


def digest(file: IO[bytes]) -> bytes:
    """The SHA-256 of a file, which is read from its beginning once more."""
    file.seek(0)
    found = sha256(file.read()).digest()
    file.seek(0)
    return found
