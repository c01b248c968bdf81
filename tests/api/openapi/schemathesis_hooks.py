"""Hooks that give Schemathesis what an OpenAPI document cannot express."""

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

INVALID_OFFSET = re.compile(r"T.*[+-](1[6-9]|2\d):\d\d$", re.IGNORECASE)
NUMBERS = itertools.count()
CHATS = json.loads(os.environ["CHATS"])  # path parameters of existing chats
OWNER, MEMBER = "alice", "bob"  # of these chats
IMAGES = st.sampled_from([images.encode(images.draw_gradient(), file_format) for file_format in ("GIF", "JPEG", "PNG")])
for media_type in ("image/gif", "image/jpeg", "image/png"):
    schemathesis.openapi.media_type(media_type, IMAGES)  # Random bytes are never a valid image.


@schemathesis.hook
def map_case(_: HookContext, case: Case[Any]) -> Case[Any]:
    """Make a positive case acceptable to the API, and let most of them use existing chats."""
    if case.meta is not None and case.meta.generation.mode.is_positive:
        use_existing_users(case)
        remove_conflicts(case)
        renew_key(case)
        if case.meta.phase.name is TestPhase.FUZZING:
            use_existing_chat(case)
    return case


def use_existing_users(case: Case[Any]) -> None:
    """Replace random user IDs, and cursors of members, by the IDs of users in the existing chats."""
    if isinstance(case.body, dict) and "userId" in case.body:
        case.body["userId"] = MEMBER
    if isinstance(case.body, dict) and isinstance(members := case.body.get("members"), list):
        case.body["members"] = [MEMBER] * len(members)
    if case.path.endswith("/members"):
        case.query.update(dict.fromkeys(case.query.keys() & {"before", "after"}, OWNER))


def use_existing_chat(case: Case[Any]) -> None:
    """Replace three in four random chats by an existing one and its message."""
    chance = crc32(repr((case.path_parameters, case.body)).encode())
    if chance % 4:
        chat = CHATS[chance // 4 % len(CHATS)]
        case.path_parameters.update({name: chat[name] for name in case.path_parameters.keys() & chat.keys()})
        if isinstance(case.body, dict) and "channel_name" in case.body:
            case.body["channel_name"] = f"private-chat-{chat['chatId']}"


@schemathesis.hook
def before_add_examples(_: HookContext, examples: list[Case[Any]]) -> None:
    """Make examples acceptable to the API: Schemathesis puts all parameters of an operation into one request."""
    for case in examples:
        remove_conflicts(case)
        renew_key(case)


def renew_key(case: Case[Any]) -> None:
    """Make the Idempotency-Key unique."""
    if key := case.headers and case.headers.get("Idempotency-Key"):
        quote, inside = ('"', key[1:-1]) if key.startswith('"') else ("", key)
        case.headers["Idempotency-Key"] = f"{quote}{next(NUMBERS)}{inside[:200]}{quote}"


def remove_conflicts(case: Case[Any]) -> None:
    """Remove parameters that exclude each other, and timestamps with offsets that PostgreSQL rejects.

    OpenAPI cannot express either. A random If-Match never has the ETag of a resource, so it becomes `*`, and requests
    that change something have no If-None-Match, since `*` would reject them.
    """
    query = {name: str(value) for name, value in (case.query or {}).items() if value != ""}
    cursors = [name for name in ("before", "after") if name in query]
    excluded = {"page", *cursors[1:]} if cursors else set()
    if "around" in query:  # a random ID is never that of a message
        excluded |= {"around"}
    if query.get("sort") == "relevance" and (cursors or "search" not in query):
        excluded |= {"sort"}
    excluded |= {name for name in ("startDate", "endDate") if INVALID_OFFSET.search(query.get(name, ""))}
    for name in excluded & query.keys():
        del case.query[name]
    if "If-Match" in case.headers:
        case.headers["If-Match"] = "*"
    if case.method != "GET":
        case.headers.pop("If-None-Match", None)
