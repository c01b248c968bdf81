"""An index of the chats that are being removed, made while others work: it would hold up every writer otherwise."""

from typing import Any

from yoyo import step

__depends__ = {"0011_retention"}
__transactional__ = False

DROP = "drop index concurrently if exists parley.chats_being_removed"

# What is left of one that was not finished goes first.
INDEX = (
    DROP,
    "create index concurrently chats_being_removed on parley.chats (id) where is_being_removed",
    "comment on index parley.chats_being_removed is 'Chats whose messages are on their way out.'",
)


def create(connection: Any) -> None:
    """May be done again."""
    with connection.cursor() as cursor:
        for statement in INDEX:
            cursor.execute(statement)


def drop(connection: Any) -> None:
    """Holds up nobody either."""
    with connection.cursor() as cursor:
        cursor.execute(DROP)


step(create, drop)
