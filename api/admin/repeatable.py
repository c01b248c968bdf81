"""The parts of sql/ that are edited in place: which there are, and which of them a database does not have as they are.

`parley.reloaded_parts` says what a database has. A part is to be loaded when its text or the list of applied migrations
differs from that.
"""

import hashlib
from pathlib import Path
from typing import Any

FUNCTIONS, LEFTOVERS, VIEWS = "functions", "leftovers.sql", "views"
TRIGGERS, POLICIES, GRANTS = "triggers.sql", "policies.sql", "grants.sql"
PARTS = (FUNCTIONS, LEFTOVERS, VIEWS, TRIGGERS, POLICIES, GRANTS)


def text_of(sql: Path, part: str) -> str:
    """The SQL of a part: one file, or all files of a folder in the order of their names."""
    files = sorted(sql.glob(part if part.endswith(".sql") else f"{part}/*.sql"))
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def changed_parts(cursor: Any, sql: Path) -> dict[str, str]:
    """The parts to load, each with its new digest; grants with whatever else is."""
    cursor.execute("select migration_id, applied_at_utc::text from _yoyo_migration order by 1")
    migrations = repr(cursor.fetchall())
    digests = {part: hashlib.sha256((migrations + text_of(sql, part)).encode()).hexdigest() for part in PARTS}
    cursor.execute("select part, digest from parley.reloaded_parts")
    loaded = dict(cursor.fetchall())
    changed = {part: digest for part, digest in digests.items() if loaded.get(part) != digest}
    return changed | {GRANTS: digests[GRANTS]} if changed else {}
