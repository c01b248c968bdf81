"""Loads the parts of sql/ that are edited in place, where their text changed: every `yoyo apply` ends with this.

A part is loaded when its text or the list of applied migrations differs from what `parley.reloaded_parts` says. The
functions are one part: all are replaced, and those that no file defines any more are dropped. Grants come last and
whenever anything was loaded. It is one transaction. Functions and grants hold nobody up; the others need locks, and one
that is not to be had soon is given up and tried again, so that requests wait no longer than that.
"""

import hashlib
import logging
import random
import time
from pathlib import Path
from typing import Any

import psycopg2.errors
from yoyo import step

__transactional__ = False

SQL = Path(__file__).resolve().parents[1]
FUNCTIONS, LEFTOVERS, VIEWS = "functions", "leftovers.sql", "views"
TRIGGERS, POLICIES, GRANTS = "triggers.sql", "policies.sql", "grants.sql"
PARTS = (FUNCTIONS, LEFTOVERS, VIEWS, TRIGGERS, POLICIES, GRANTS)
LOCK_TIMEOUT_MS = 400  # below deadlock_timeout, so that this session yields before PostgreSQL must choose
TRIES = 50

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
    lock table parley.settings, next_auth.users, next_auth.accounts, next_auth.sessions, next_auth.verification_token,
        parley.members, parley.messages, parley.message_words, parley.message_blocks, parley.chats, parley.outbox,
        parley.outbox_queue, parley.deleted_users, parley.image_cleanup, parley.reloaded_parts, parley.rollup_state,
        parley.rollup_periods, parley.rollup_seen, parley.rollup_users, parley.rollup_chats, parley.rollup_retention,
        parley.rollup_responses, parley.rollup_chat_sizes, parley.rollup_settings, parley.pseudonym_key
    in access exclusive mode
"""


def text_of(part: str) -> str:
    """The SQL of a part: one file, or all files of a folder in the order of their names."""
    files = sorted(SQL.glob(part if part.endswith(".sql") else f"{part}/*.sql"))
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def changed_parts(cursor: Any) -> dict[str, str]:
    """The parts to load, each with its new digest."""
    cursor.execute("select migration_id, applied_at_utc::text from _yoyo_migration order by 1")
    migrations = repr([row for row in cursor.fetchall() if row[0] != "reload"])
    digests = {p: hashlib.sha256((migrations + text_of(p)).encode()).hexdigest() for p in PARTS}
    cursor.execute("select part, digest from parley.reloaded_parts")
    loaded = dict(cursor.fetchall())
    changed = {part: digest for part, digest in digests.items() if loaded.get(part) != digest}
    return changed | {GRANTS: digests[GRANTS]} if changed else {}


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
        if part in parts and text_of(part).strip():
            cursor.execute(text_of(part))
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
    """Brings the reloaded parts up to date in one transaction, tried until its locks were free."""
    with connection.cursor() as cursor:
        for tries_left in reversed(range(TRIES)):
            cursor.execute("begin")
            try:
                cursor.execute(f"set local lock_timeout = {LOCK_TIMEOUT_MS}")
                if parts := changed_parts(cursor):
                    load(cursor, parts)
                cursor.execute("commit")
                break
            except (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected):
                cursor.execute("rollback")
                if not tries_left:
                    raise
                time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 (jitter, no secret)
            except BaseException:
                cursor.execute("rollback")
                raise
    if parts:
        logging.getLogger("yoyo.migrations").info("Loaded %s", ", ".join(p for p in PARTS if p in parts))


step(apply)
