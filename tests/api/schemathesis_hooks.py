"""What the OpenAPI document can't tell Schemathesis."""

import re
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, HookContext

from tests import images

NO_OFFSET = re.compile(r"T.*[+-](1[6-9]|2\d):\d\d$", re.IGNORECASE)
IMAGES = st.sampled_from([images.encoded(images.gradient(), file_format) for file_format in ("GIF", "JPEG", "PNG")])
for media_type in ("image/gif", "image/jpeg", "image/png"):
    schemathesis.openapi.media_type(media_type, IMAGES)  # of bytes that chance makes up none is an image


@schemathesis.hook
def filter_case(_: HookContext, case: Case[Any]) -> bool:
    """Without parameters that exclude each other, for which OpenAPI has no word, and without offsets that no clock has.

    A time may have an offset of more than 16 hours in RFC 3339, but not in PostgreSQL.
    """
    query = {name: value for name, value in (case.query or {}).items() if value != ""}
    cursors = query.keys() & {"before", "after"}
    by_relevance = query.get("sort") == "relevance"
    if any(NO_OFFSET.search(str(query.get(name))) for name in ("startDate", "endDate")):
        return False
    return len(cursors | query.keys() & {"page"}) < 2 and not (by_relevance and (cursors or "search" not in query))


@schemathesis.hook
def before_add_examples(_: HookContext, examples: list[Case[Any]]) -> None:
    """The same, of examples: all of an operation's are in one request."""
    for case in examples:
        for name in {"page", "after"} & (case.query or {}).keys():
            del case.query[name]
