"""What the OpenAPI document can't tell Schemathesis."""

import itertools
import json
import os
import re
from typing import Any
from zlib import crc32

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, HookContext
from schemathesis.generation.meta import TestPhase

from tests import images

NO_OFFSET = re.compile(r"T.*[+-](1[6-9]|2\d):\d\d$", re.IGNORECASE)
NUMBERS = itertools.count()
PLACES = json.loads(os.environ["PLACES"])
IMAGES = st.sampled_from([images.encode(images.draw_gradient(), file_format) for file_format in ("GIF", "JPEG", "PNG")])
for media_type in ("image/gif", "image/jpeg", "image/png"):
    schemathesis.openapi.media_type(media_type, IMAGES)  # of bytes that chance makes up none is an image


@schemathesis.hook
def map_case(_: HookContext, case: Case[Any]) -> Case[Any]:
    """A request that the API is to take, without what it can't have; most are about what there is."""
    if case.meta is not None and case.meta.generation.mode.is_positive:
        leave_out(case)
        renew_key(case)
        if case.meta.phase.name is TestPhase.FUZZING:
            go_somewhere(case)
    return case


def go_somewhere(case: Case[Any]) -> None:
    """Puts a chat that there is, and a message in it, in the place of three in four that chance makes up."""
    chance = crc32(repr((case.path_parameters, case.body)).encode())
    if chance % 4:
        place = PLACES[chance // 4 % len(PLACES)]
        case.path_parameters.update({name: place[name] for name in case.path_parameters.keys() & place.keys()})
        if isinstance(case.body, dict) and "channel_name" in case.body:
            case.body["channel_name"] = f"private-chat-{place['chatId']}"


@schemathesis.hook
def before_add_examples(_: HookContext, examples: list[Case[Any]]) -> None:
    """The same, of examples: all of an operation's are in one request."""
    for case in examples:
        leave_out(case)
        renew_key(case)


def renew_key(case: Case[Any]) -> None:
    """Makes an Idempotency-Key one that no other request has."""
    if key := case.headers and case.headers.get("Idempotency-Key"):
        quote, inside = ('"', key[1:-1]) if key.startswith('"') else ("", key)
        case.headers["Idempotency-Key"] = f"{quote}{next(NUMBERS)}{inside[:200]}{quote}"


def leave_out(case: Case[Any]) -> None:
    """Takes away parameters that exclude each other, for which OpenAPI has no word, and times that no clock shows.

    Their offsets are in RFC 3339, but not in PostgreSQL. No text that chance makes up is the ETag of what there is, so
    If-Match is `*`, and a change has no If-None-Match, which would refuse it if that were `*`.
    """
    query = {name: str(value) for name, value in (case.query or {}).items() if value != ""}
    cursors = [name for name in ("before", "after") if name in query]
    excluded = {"page", *cursors[1:]} if cursors else set()
    if query.get("sort") == "relevance" and (cursors or "search" not in query):
        excluded |= {"sort"}
    excluded |= {name for name in ("startDate", "endDate") if NO_OFFSET.search(query.get(name, ""))}
    for name in excluded & query.keys():
        del case.query[name]
    if "If-Match" in case.headers:
        case.headers["If-Match"] = "*"
    if case.method != "GET":
        case.headers.pop("If-None-Match", None)
