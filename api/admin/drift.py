"""`parley db check`: report where a database differs from the schema of this checkout, with the lines that fix it.

The check reads in one transaction and changes nothing. A finding is a difference to fix. A remark is a property
that a DBA has overridden, or a hint for tuning.
"""

import itertools
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ
from yoyo import read_migrations

from api.admin.catalog import SQL, Catalog
from api.admin.drift_findings import APPLY, Finding, find_drift
from api.admin.drift_remarks import find_remarks, read_index_usage
from api.admin.migrations import REPEATABLE_HASH, ConnectError, connect, set_timeouts
from api.admin.repeatable import find_newer_migrations, find_pending_repeatables

TIMEOUTS = {"lock_timeout": "5s", "statement_timeout": "1min"}


def main() -> int:
    """Check the database at DATABASE_URL, and return 0 without findings, 1 with some, 2 if it could not be checked."""
    try:
        connection = connect("DATABASE_URL")
        try:
            connection.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True, autocommit=False)
            set_timeouts(connection, TIMEOUTS)
            with connection.cursor() as cursor:
                findings, remarks = check(cursor)
        finally:
            connection.close()
    except (ConnectError, psycopg2.Error, OSError) as error:
        print(f"parley db check: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    for fix, group in itertools.groupby(findings, lambda finding: finding.fix):
        print(*(finding.description for finding in group), *(f"    {line}" for line in fix.splitlines()), sep="\n")
    for remark in remarks:
        print(f"remark: {remark}")
    print(f"findings: {len(findings)}, remarks: {len(remarks)}")
    return int(bool(findings))


def check(cursor: Any) -> tuple[list[Finding], list[str]]:
    """Return the findings, in the order in which to fix them, and the remarks.

    The schemas are only compared if no migration is pending.
    """
    if pending := list(find_pending(cursor)):
        return pending, ["the schema is compared when no migration is pending"]
    expected, live = Catalog.from_snapshot(), Catalog.from_database(cursor)
    usage = read_index_usage(cursor, expected)
    findings = [add_loss(cursor, finding) for finding in find_drift(expected, live, usage)]
    return findings, find_remarks(cursor, expected, live, usage)


def find_pending(cursor: Any) -> Iterator[Finding]:
    """Yield the pending migrations, or those that a newer checkout has applied."""
    applied = set()
    cursor.execute("select to_regclass('_yoyo_migration') is not null")
    if cursor.fetchone() == (True,):
        cursor.execute("select migration_id from _yoyo_migration")
        applied = {migration for (migration,) in cursor.fetchall()}
    known = [m.id for m in read_migrations(str(SQL / "migrations")) if m.hash != REPEATABLE_HASH]
    if pending := [migration for migration in known if migration not in applied]:
        yield Finding(f"pending: {', '.join(pending)}", APPLY)
    elif newer := find_newer_migrations(cursor, SQL):
        yield Finding(f"applied by a newer checkout, with which to check: {newer}", "")
    elif names := find_pending_repeatables(cursor, SQL):
        yield Finding(f"pending: {', '.join(names)}", APPLY)


def add_loss(cursor: Any, finding: Finding) -> Finding:
    """Return the finding; if its fix deletes rows or values, with their number in the description."""
    drop = re.search(r"^(?:drop table (.+)|alter table (.+) drop column (.+));$", finding.fix, re.MULTILINE)
    if not drop:
        return finding
    cursor.execute("set local row_security = off; savepoint counting")  # hidden rows are deleted too
    try:
        cursor.execute(f"select count({drop[3] or '*'}) from {drop[1] or drop[2]}")  # noqa: S608 (names are quoted)
        (count,) = cursor.fetchone()
        loss = f"{'values' if drop[3] else 'rows'}: {count}" if count else ""
    except psycopg2.Error as error:
        cursor.execute("rollback to counting")
        loss = f"not counted: {str(error).splitlines()[0]}"
    return replace(finding, description=f"{finding.description} ({loss})") if loss else finding
