"""Indexes of the outbox by chat, and by who is told of an end, made while others work."""

from typing import Any

from yoyo import step

__depends__ = {"0016_event_log"}
__transactional__ = False

DROP = (
    "drop index concurrently if exists parley.outbox_chat",
    "drop index concurrently if exists parley.outbox_ends",
)

# What is left of one that was not finished goes first.
INDEXES = (
    *DROP,
    "create index concurrently outbox_chat on parley.outbox (chat_id, seq)",
    "comment on index parley.outbox_chat is 'A chat''s events in their order.'",
    """
    create index concurrently outbox_ends on parley.outbox using gin (recipients)
    where event in ('chat:deleted', 'member:removed')
    """,
    "comment on index parley.outbox_ends is 'For whom a chat has ended.'",
)


def create(connection: Any) -> None:
    """May be done again."""
    with connection.cursor() as cursor:
        for statement in INDEXES:
            cursor.execute(statement)


def drop(connection: Any) -> None:
    """Holds up nobody either."""
    with connection.cursor() as cursor:
        for statement in DROP:
            cursor.execute(statement)


step(create, drop)
