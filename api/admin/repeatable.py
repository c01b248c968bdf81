"""Repeatable migrations: the SQL that is edited in place, and applied again whenever its text changes.

The table `parley.repeatable_migrations` has the checksum of each one that the database has. A repeatable migration is
pending if its text differs from that, or if the list of applied migrations does: objects that a migration has dropped
and created anew have lost their functions, triggers, policies and grants. A rollback makes all of them pending, for the
checkout that applies its own next.
"""

import hashlib
from pathlib import Path
from typing import Any

FUNCTIONS, VIEWS, TRIGGERS, POLICIES, GRANTS = "functions", "views", "triggers.sql", "policies.sql", "grants.sql"
REPEATABLE = (FUNCTIONS, VIEWS, TRIGGERS, POLICIES, GRANTS)  # in the order in which they are applied

# Without rows, api.check_readiness() fails. With rows whose checksums are empty, it succeeds. Both make all pending.
DELETE_CHECKSUMS = "delete from parley.repeatable_migrations"
CLEAR_CHECKSUMS = "update parley.repeatable_migrations set checksum = ''"

# An older checkout neither drops a view nor removes a column from one. It fills letter_variants only if that is empty,
# and may not revoke the functions for large objects. PostgreSQL's own revocations are in pg_init_privs. Views that
# objects of a DBA depend on are kept.
UNDO_FOR_OLDER_CHECKOUT = """
    do $$
    declare
        dropped regclass;
        granted regprocedure;
    begin
        if to_regclass('parley.letter_variants') is not null then
            delete from parley.letter_variants;
        end if;
        for dropped in
            select oid from pg_catalog.pg_class where relkind = 'v' and relnamespace = to_regnamespace('analytics')
            order by oid desc
        loop
            begin
                execute format('drop view %s', dropped);
            exception when dependent_objects_still_exist then
                raise notice 'view % is kept, because other objects depend on it', dropped;
            end;
        end loop;
        for granted in
            select p.oid from pg_catalog.pg_proc p
            where p.pronamespace = 'pg_catalog'::regnamespace and p.proname ~ '^(lo_.*|loread|lowrite)$'
              and not pg_catalog.has_function_privilege('public', p.oid, 'execute')
              and not exists (
                select from pg_catalog.pg_init_privs i
                where i.classoid = 'pg_catalog.pg_proc'::regclass and i.objoid = p.oid)
              and pg_catalog.pg_has_role(p.proowner, 'usage')
        loop
            execute format('grant execute on function %s to public', granted);
        end loop;
    end $$
"""


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


def find_newer_migrations(cursor: Any, sql: Path) -> str:
    """Return the names of the applied migrations that the checkout lacks, separated by commas; "" if it has all."""
    cursor.execute("select migration_id from _yoyo_migration order by 1")
    applied = [migration for (migration,) in cursor.fetchall()]
    return ", ".join(name for name in applied if not (sql / "migrations" / f"{name}.sql").exists())


def invalidate_repeatables(cursor: Any, sql: Path) -> None:
    """Make all repeatable migrations pending in any checkout, because a migration is about to be rolled back.

    If any was applied with the present list of migrations, all belong to the version that is rolled back, and an older
    checkout cannot replace all of them: delete their checksums, and drop the views. Otherwise, the upgrade was
    interrupted before they were applied: those of the older version remain in use.
    """
    cursor.execute("select to_regclass('parley.repeatable_migrations') is not null")
    if cursor.fetchone() != (True,):
        return
    pending = find_pending_repeatables(cursor, sql)
    if pending.keys() >= {FUNCTIONS, VIEWS, TRIGGERS, POLICIES}:
        cursor.execute(CLEAR_CHECKSUMS)
    else:
        cursor.execute(DELETE_CHECKSUMS)
        cursor.execute(UNDO_FOR_OLDER_CHECKOUT)
