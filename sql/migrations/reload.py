"""Loads the parts of sql/ that are edited in place, where their text changed: every `yoyo apply` ends with this.

The functions are one part: all are replaced, and those that no file defines any more are dropped. Grants come last and
whenever anything was loaded. It is one transaction, so nobody sees half of it; functions and grants hold nobody up, the
others need locks.
"""

import logging
from pathlib import Path
from typing import Any

from yoyo import step

from api.admin.repeatable import FUNCTIONS, GRANTS, LEFTOVERS, PARTS, POLICIES, TRIGGERS, changed_parts, text_of

SQL = Path(__file__).resolve().parents[1]

OUR_FUNCTIONS = """
    select oid, xmin::text, oid::regprocedure::text from pg_catalog.pg_proc
    where pronamespace in ('api'::regnamespace, 'session'::regnamespace, 'parley'::regnamespace,
        'listener'::regnamespace)
      and not exists (
          select from pg_catalog.pg_depend d
          where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = pg_proc.oid and d.deptype = 'e')
"""

# Triggers and policies need these locks, all of them at once; in the order in which most requests take them.
LOCK_TABLES = """
    lock table parley.settings, parley.idempotency_keys, next_auth.users, next_auth.accounts, next_auth.sessions,
        next_auth.verification_token, parley.members, parley.messages, parley.message_words, parley.letter_variants,
        parley.message_blocks, parley.chats, parley.outbox, parley.outbox_queue, parley.outbox_state,
        parley.deleted_users, parley.image_cleanup, parley.reloaded_parts, parley.rollup_state, parley.rollup_periods,
        parley.rollup_seen, parley.rollup_users, parley.rollup_chats, parley.rollup_retention,
        parley.rollup_responses, parley.rollup_chat_sizes, parley.rollup_settings, parley.pseudonym_key,
        parley.limits
    in access exclusive mode
"""


def load(cursor: Any, parts: dict[str, str]) -> None:
    """Loads the given parts and remembers their digests."""
    cursor.execute(OUR_FUNCTIONS)
    old_functions = cursor.fetchall()
    cursor.execute("set local check_function_bodies = off")  # files may call each other in any order
    if {LEFTOVERS, TRIGGERS, POLICIES} & parts.keys():
        cursor.execute(LOCK_TABLES)
    for part in PARTS:
        if part == GRANTS and FUNCTIONS in parts:  # after policies and triggers let go of them, before grants touch all
            drop_those_left(cursor, old_functions)
        if part in parts and text_of(SQL, part).strip():
            cursor.execute(text_of(SQL, part))
    for part, digest in parts.items():
        cursor.execute(
            "insert into parley.reloaded_parts (part, digest) values (%s, %s) on conflict (part)"
            " do update set digest = excluded.digest, loaded_at = default",
            (part, digest),
        )


def drop_those_left(cursor: Any, old_functions: list[tuple[int, str, str]]) -> None:
    """Drops functions that no file defines any more: those that were not replaced just now."""
    cursor.execute(OUR_FUNCTIONS)
    for oid, xmin, signature in cursor.fetchall():
        if (oid, xmin, signature) in old_functions:
            cursor.execute(f"drop function {signature}")


def apply(connection: Any) -> None:
    """Brings the reloaded parts up to date."""
    with connection.cursor() as cursor:
        if parts := changed_parts(cursor, SQL):
            load(cursor, parts)
            logging.getLogger("yoyo.migrations").info("Loaded %s", ", ".join(p for p in PARTS if p in parts))


step(apply)
