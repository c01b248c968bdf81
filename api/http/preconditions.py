"""Conditional requests: If-Match and If-None-Match (RFC 9110, section 13).

For routes of the API the database evaluates them, in sql/functions/preconditions.sql. For images and pages, which the
database does not serve, If-None-Match is evaluated here.
"""

import re

from api.http.request import ParleyRequest

# A list of entity tags by RFC 9110, followed by a comma; as in sql/functions/preconditions.sql.
ETAGS = re.compile(r'(?:[ \t]*+(?:(?:W/)?+"[^\0- "\x7f]*+")?+[ \t]*+,)*+')


def read_preconditions(request: ParleyRequest) -> tuple[str | None, str | None]:
    """Return If-Match and If-None-Match, the arguments $3 and $4 of a route's statement."""
    return read_etags(request, "if-match"), read_etags(request, "if-none-match")


def read_etags(request: ParleyRequest, name: str) -> str | None:
    """Return a header that lists entity tags, or None if it is absent.

    An empty header lists no entity tag, which is not the same as no condition; it is returned as an empty entity tag,
    which matches nothing.
    """
    value = request.combine_fields(name)
    return '""' if value == "" else value


def matches_etag(request: ParleyRequest, etag: str) -> bool:
    """Return whether If-None-Match lists this entity tag, by weak comparison."""
    return is_listed(etag, request.combine_fields("if-none-match") or "")


def is_listed(etag: str, field_value: str) -> bool:
    """Return whether a list of entity tags contains this one. A malformed list contains none.

    The tag must not contain a comma. Since commas separate the elements of a well-formed list, the tag with its quotes
    can then only occur as an element.
    """
    return field_value == "*" or (etag in field_value and ETAGS.fullmatch(f"{field_value},") is not None)
