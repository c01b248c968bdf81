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
def map_case(_: HookContext, case: Case[Any]) -> Case[Any]:
    """A request that the API is to take, without what it can't have."""
    if case.meta is not None and case.meta.generation.mode.is_positive:
        leave_out(case)
    return case


@schemathesis.hook
def before_add_examples(_: HookContext, examples: list[Case[Any]]) -> None:
    """The same, of examples: all of an operation's are in one request."""
    for case in examples:
        leave_out(case)


def leave_out(case: Case[Any]) -> None:
    """Takes away parameters that exclude each other, for which OpenAPI has no word, and times that no clock shows.

    Their offsets are in RFC 3339, but not in PostgreSQL.
    """
    query = {name: str(value) for name, value in (case.query or {}).items() if value != ""}
    cursors = [name for name in ("before", "after") if name in query]
    excluded = {"page", *cursors[1:]} if cursors else set()
    if query.get("sort") == "relevance" and (cursors or "search" not in query):
        excluded |= {"sort"}
    excluded |= {name for name in ("startDate", "endDate") if NO_OFFSET.search(query.get(name, ""))}
    for name in excluded & query.keys():
        del case.query[name]
