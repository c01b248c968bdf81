"""Makes what migration 0009 added for what was there before it, while others work: an index, words, last messages."""

from typing import Any

from yoyo import step

__depends__ = {"0009_search"}
__transactional__ = False

PIECE = 2000

DROP_INDEX = "drop index concurrently if exists parley.messages_type"

# The messages of a rare type, wherever they are. What is left of one that was not finished goes first.
INDEX = (
    DROP_INDEX,
    "create index concurrently messages_type on parley.messages (chat_id, type, id)",
    "comment on index parley.messages_type is 'The messages of a type, in their order.'",
)

# Rows that are locked stay as they are read; what was written since 0009 has its words.
WORDS = """
    with piece as (
        select m.chat_id, m.id, m.type, m.content from parley.messages m
        where (m.chat_id, m.id) > (%(chat)s, %(id)s) order by m.chat_id, m.id limit %(piece)s
        for key share
    ), made as (
        insert into parley.message_words (chat_id, id, type, tsv)
        select p.chat_id, p.id, p.type, rules.search_vector(p.content) from piece p
        on conflict (chat_id, id) do nothing
    )
    select chat_id::text, id::text from piece order by chat_id desc, id desc limit 1
"""

LAST_MESSAGES = """
    with piece as (
        select c.id from parley.chats c where c.id > %(id)s order by c.id limit %(piece)s
        for no key update
    ), made as (
        update parley.chats c
        set last_message_id = (select m.id from parley.messages m where m.chat_id = c.id order by m.id desc limit 1)
        from piece p where c.id = p.id
    )
    select id::text, id::text from piece order by id desc limit 1
"""

FIRST = "00000000-0000-0000-0000-000000000000"


def fill_in(connection: Any) -> None:
    """Each piece is a transaction of its own, and may be done again."""
    with connection.cursor() as cursor:
        for statement in INDEX:
            cursor.execute(statement)
        for statement in (WORDS, LAST_MESSAGES):
            last: tuple[str, str] | None = (FIRST, FIRST)
            while last:
                cursor.execute(statement, {"chat": last[0], "id": last[1], "piece": PIECE})
                last = cursor.fetchone()


# The words and last messages are in what the rollback of 0009 takes away.
step(fill_in, DROP_INDEX)
