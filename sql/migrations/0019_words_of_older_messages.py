"""Makes the words of older messages anew, as migration 0018 has them, while others work."""

from typing import Any

from yoyo import step

__depends__ = {"0018_search_of_long_texts"}
__transactional__ = False

BATCH = 100  # messages in a transaction, whose edits and deletions wait for it

# Messages are locked, and then their words, in the order in which an edit takes them. Thereby an edit that is under way
# is waited for, and its text is read.
WORDS = """
    with batch as materialized (
        select m.chat_id, m.id, m.content from parley.messages m
        where (m.chat_id, m.id) > (%(chat)s, %(id)s) order by m.chat_id, m.id limit %(batch)s
        for no key update
    ), made as (
        update parley.message_words w set tsv = d.tsv, words = d.words
        from batch b cross join lateral rules.search_document(b.content) d
        where w.chat_id = b.chat_id and w.id = b.id and (w.tsv, w.words) is distinct from (d.tsv, d.words)
    )
    select chat_id::text, id::text from batch order by chat_id desc, id desc limit 1
"""

COMMENT = "comment on column parley.message_words.tsv is 'Of rules.search_document() of the message''s content.'"
OLD_COMMENT = "comment on column parley.message_words.tsv is 'rules.search_vector() of the message''s content.'"

FIRST = "00000000-0000-0000-0000-000000000000"


def make_anew(connection: Any) -> None:
    """Each batch is a transaction of its own, and may be done again."""
    with connection.cursor() as cursor:
        last: tuple[str, str] | None = (FIRST, FIRST)
        while last:
            cursor.execute(WORDS, {"chat": last[0], "id": last[1], "batch": BATCH})
            last = cursor.fetchone()
        cursor.execute(COMMENT)


# Queries of before find what they look for in either.
step(make_anew, OLD_COMMENT)
