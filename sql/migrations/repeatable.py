"""Applies the pending repeatable migrations, in one transaction, at the end of every `yoyo apply`.

All functions are one repeatable migration: applying it replaces every function, and drops those that no file defines
any more. So are all views; those that have lost a column are created anew. Grants are applied last, and whenever any
other is. Functions and grants block no request; views, triggers and policies need locks.
"""

import logging
from pathlib import Path
from typing import Any

from psycopg2.errors import InvalidTableDefinition
from yoyo import step

from api.admin.repeatable import (
    FUNCTIONS,
    GRANTS,
    POLICIES,
    REPEATABLE,
    TRIGGERS,
    VIEWS,
    find_pending_repeatables,
    read_sql,
)

SQL = Path(__file__).resolve().parents[1]

# All functions but those of extensions. A replaced function keeps its oid; its xmin changes.
OUR_FUNCTIONS = """
    select oid, xmin::text, oid::regprocedure::text from pg_catalog.pg_proc
    where pronamespace in ('rules'::regnamespace, 'parley'::regnamespace, 'session'::regnamespace, 'api'::regnamespace,
        'listener'::regnamespace)
      and not exists (
          select from pg_catalog.pg_depend d
          where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = pg_proc.oid and d.deptype = 'e')
"""

# A replaced view keeps its oid; the xmin of its rule changes.
OUR_VIEWS = """
    select c.oid, r.xmin::text, c.oid::regclass::text from pg_catalog.pg_class c
    join pg_catalog.pg_rewrite r on r.ev_class = c.oid and r.rulename = '_RETURN'
    where c.relnamespace = 'analytics'::regnamespace and c.relkind = 'v'
"""

# Triggers and policies need these locks. They are acquired before anything else, in the order in which most requests
# lock the tables, so that few requests hold a lock that this waits for while they wait for another one.
LOCK_TABLES = """
    lock table parley.settings, parley.idempotency_keys, next_auth.users, next_auth.accounts, next_auth.sessions,
        next_auth.verification_token, parley.members, parley.messages, parley.message_words, parley.letter_variants,
        parley.message_blocks, parley.read_markers, parley.chats, parley.outbox, parley.outbox_queue,
        parley.outbox_state, parley.deleted_users, parley.chat_images, parley.image_cleanup,
        parley.repeatable_migrations, parley.rollup_state, parley.rollup_periods, parley.rollup_active_keys,
        parley.rollup_users, parley.rollup_chats, parley.rollup_retention, parley.rollup_responses,
        parley.rollup_chat_sizes, parley.rollup_settings, parley.pseudonym_key, parley.limits
    in access exclusive mode
"""

RECORD = """
    insert into parley.repeatable_migrations (name, checksum) values (%s, %s)
    on conflict (name) do update set checksum = excluded.checksum, applied_at = default
"""


def apply(connection: Any) -> None:
    """Apply the pending repeatable migrations, and record their checksums."""
    with connection.cursor() as cursor:
        pending = find_pending_repeatables(cursor, SQL)
        if not pending:
            return
        cursor.execute(OUR_FUNCTIONS)
        old_functions = cursor.fetchall()
        cursor.execute("set local check_function_bodies = off")  # functions may call each other in any order
        if {TRIGGERS, POLICIES} & pending.keys():
            cursor.execute(LOCK_TABLES)
        for name in REPEATABLE:
            if name == GRANTS and FUNCTIONS in pending:  # triggers and policies no longer depend on them by now
                drop_undefined(cursor, "function", OUR_FUNCTIONS, old_functions)
            if name == VIEWS and VIEWS in pending:
                replace_views(cursor)
            elif name in pending and read_sql(SQL, name).strip():
                cursor.execute(read_sql(SQL, name))
        for row in pending.items():
            cursor.execute(RECORD, row)
    logging.getLogger("yoyo.migrations").info("Applied %s", ", ".join(name for name in REPEATABLE if name in pending))


def drop_undefined(cursor: Any, kind: str, query: str, old_objects: list[tuple[int, str, str]]) -> None:
    """Drop what no file defines any more: the objects that have not been replaced in this transaction."""
    cursor.execute(query)
    for found in cursor.fetchall():
        if found in old_objects:
            cursor.execute(f"drop {kind} {found[2]}")


def replace_views(cursor: Any) -> None:
    """Replace the views, and drop those that no file defines any more. Fails if objects of a DBA depend on these."""
    cursor.execute(OUR_VIEWS)
    old_views = cursor.fetchall()
    cursor.execute("savepoint views")
    try:
        cursor.execute(read_sql(SQL, VIEWS))
    except InvalidTableDefinition:  # `create or replace view` can only add columns, at the end
        cursor.execute("rollback to views")
        cursor.execute(f"drop view {', '.join(name for _, _, name in old_views)}")
        cursor.execute(read_sql(SQL, VIEWS))
    drop_undefined(cursor, "view", OUR_VIEWS, old_views)


step(apply)
