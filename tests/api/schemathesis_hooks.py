"""What the OpenAPI document can't tell Schemathesis."""

from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, HookContext

from tests import images

IMAGES = st.sampled_from([images.encoded(images.gradient(), file_format) for file_format in ("GIF", "JPEG", "PNG")])
for media_type in ("image/gif", "image/jpeg", "image/png"):
    schemathesis.openapi.media_type(media_type, IMAGES)  # of bytes that chance makes up none is an image


@schemathesis.hook
def filter_case(_: HookContext, case: Case[Any]) -> bool:
    """Without parameters that exclude each other: OpenAPI has no word for that."""
    query = {name: value for name, value in (case.query or {}).items() if value != ""}
    cursors = query.keys() & {"before", "after"}
    by_relevance = query.get("sort") == "relevance"
    return len(cursors | query.keys() & {"page"}) < 2 and not (by_relevance and (cursors or "search" not in query))


@schemathesis.hook
def before_add_examples(_: HookContext, examples: list[Case[Any]]) -> None:
    """The same, of examples: all of an operation's are in one request."""
    for case in examples:
        for name in {"page", "after"} & (case.query or {}).keys():
            del case.query[name]
