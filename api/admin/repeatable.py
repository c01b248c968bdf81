"""Repeatable migrations: the SQL that is edited in place, and applied again whenever its text changes.

The table `parley.repeatable_migrations` has the checksum of each one that the database has. A repeatable migration is
pending if its text differs from that, or if the list of applied migrations does: objects that a migration has dropped
and created anew have lost their functions, triggers, policies and grants.
"""

import hashlib
from pathlib import Path
from typing import Any

FUNCTIONS, VIEWS, TRIGGERS, POLICIES, GRANTS = "functions", "views", "triggers.sql", "policies.sql", "grants.sql"
REPEATABLE = (FUNCTIONS, VIEWS, TRIGGERS, POLICIES, GRANTS)  # in the order in which they are applied


def read_sql(sql: Path, name: str) -> str:
    """Return the SQL of a repeatable migration: one file, or all files of a folder in the order of their names."""
    files = sorted(sql.glob(name if name.endswith(".sql") else f"{name}/*.sql"))
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def find_pending_repeatables(cursor: Any, sql: Path) -> dict[str, str]:
    """Return the pending repeatable migrations with their checksums. If any is pending, so are the grants."""
    cursor.execute("select migration_id, applied_at_utc::text from _yoyo_migration order by 1")
    migrations = repr(cursor.fetchall())
    checksums = {name: hashlib.sha256((migrations + read_sql(sql, name)).encode()).hexdigest() for name in REPEATABLE}
    cursor.execute("select name, checksum from parley.repeatable_migrations")
    applied = dict(cursor.fetchall())
    pending = {name: checksum for name, checksum in checksums.items() if applied.get(name) != checksum}
    return pending | {GRANTS: checksums[GRANTS]} if pending else {}
