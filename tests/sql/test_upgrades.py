"""Upgrades from older versions, interrupted at each migration, and returns to these versions.

Each test goes from an older version to this one, back, and again, and uses the functions of the applied version.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import psycopg
import pytest
from yoyo import get_backend, read_migrations

from api.admin import migrations
from api.dev.postgres import Postgres
from tests import ROOT
from tests.database import Connection
from tests.sql.migration_files import MIGRATIONS, is_transactional, numbered_migrations
from tests.sql.schema_dump import dump
from tests.sql.version_clients import Writer, use_all
from tests.sql.versions import OLDER_VERSIONS, THIS, Version, check_out, create_database
from tests.waiting import wait_until

UPGRADES = [(commit, name) for commit, last in OLDER_VERSIONS.items() for name in numbered_migrations() if name > last]
# Each migration ends by recording itself in this table, so that it can be interrupted when all its steps are done.
BLOCK_RECORD = "lock table _yoyo_migration in share mode"
WAITING = """
    select l.* from pg_locks l join pg_stat_activity a using (pid)
    where not l.granted and a.datname = current_database()
"""
KILL_WAITING = f"select pg_terminate_backend(w.pid, 10000) from ({WAITING}) w"
INVALID_INDEXES = "select from pg_index where not indisvalid"
OVERLOADED_FUNCTIONS = """
    select proname from pg_proc f where pronamespace = to_regnamespace('parley') and not exists (
        select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = f.oid and d.deptype = 'e')
    group by proname having count(*) > 1
"""
# A session that writes to every table, for which a concurrent index waits.
WRITE_ALL = """
    do $$ begin
        execute (select 'lock table ' || string_agg(oid::regclass::text, ', ') || ' in row exclusive mode' from pg_class
            where relnamespace in ('parley'::regnamespace, 'next_auth'::regnamespace) and relkind in ('r', 'p'));
    end $$
"""


@dataclass(frozen=True)
class OlderDatabase:
    """A database that an older version has created and used, to copy; and its schema."""

    version: Version
    name: str
    schema: str


def declares_functions(migration: str) -> bool:
    """Return whether the rollback of a migration creates functions."""
    return " function parley." in (MIGRATIONS / f"{migration}.rollback.sql").read_text()


def is_index(migration: str) -> bool:
    """Return whether a migration creates an index concurrently."""
    return "index concurrently" in (MIGRATIONS / f"{migration}.sql").read_text()


@pytest.fixture(scope="module")
def older(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], OlderDatabase]:
    """Return a function that returns a database of the version of a commit."""

    @cache
    def create(commit: str) -> OlderDatabase:
        version = check_out(commit, tmp_path_factory.mktemp("checkout"))
        name = f"parley_{version.last_migration}"
        url = create_database(postgres, name)
        version.yoyo(url, "apply")
        version.assert_no_drift(url)
        schema = dump(postgres, url, "--no-comments")
        use_all(url)
        return OlderDatabase(version, name, schema)

    return create


@pytest.fixture(scope="module")
def newest_schema(postgres: Postgres) -> str:
    """The schema of a new database of this version."""
    url = create_database(postgres, "parley_newest")
    THIS.yoyo(url, "apply")
    return dump(postgres, url)


def pending_after(last: str) -> list[str]:
    """Return the migrations after this one."""
    return [name for name in numbered_migrations() if name > last]


def apply_before(url: str, migration: str) -> None:
    """Apply the migrations before this one, without the repeatable migrations."""
    THIS.yoyo(url, "apply", "--revision", [name for name in numbered_migrations() if name < migration][-1])


def interrupt_by_lock_timeout(
    url: str, migration: str, monkeypatch: pytest.MonkeyPatch, *, is_rollback: bool = False
) -> None:
    """Apply a migration, or roll it back, whose record another session blocks, until the lock times out."""
    with monkeypatch.context() as patch, psycopg.connect(url) as blocker:
        patch.setenv("DATABASE_URL", url)
        patch.setenv("PGOPTIONS", "-c lock_timeout=20ms")
        patch.setattr(migrations, "MAX_ATTEMPTS", 1)
        blocker.execute(BLOCK_RECORD)
        with get_backend("environment:/DATABASE_URL") as backend:
            selected = read_migrations(str(MIGRATIONS)).filter(lambda found: found.id == migration)
            command = backend.rollback_migrations if is_rollback else backend.apply_migrations
            pending = backend.to_rollback(selected) if is_rollback else backend.to_apply(selected)
            with pytest.raises(SystemExit, match=r"^\d{4}_\w+: canceling statement due to lock timeout"):
                command(pending)


def interrupt_by_kill(url: str, migration: str) -> None:
    """Apply a migration with a yoyo that is killed when it records the migration, and then its session."""
    command = [sys.executable, "-m", "yoyo", "apply", "--batch", "--revision", migration]
    with psycopg.connect(url, autocommit=True) as dba, psycopg.connect(url) as blocker:
        blocker.execute(BLOCK_RECORD)
        with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"DATABASE_URL": url}) as yoyo:
            wait_until(lambda: has_waiter(dba, "locktype = 'relation'"))
            yoyo.kill()
        assert dba.execute(KILL_WAITING).rowcount == 1
    THIS.run(url, "yoyo", "break-lock")


def has_waiter(connection: Connection, lock: str) -> bool:
    """Return whether a session waits for a lock that matches this condition on pg_locks."""
    return connection.execute(f"select from ({WAITING}) w where {lock}").rowcount > 0


def roll_back(url: str, old: OlderDatabase) -> None:
    """Roll back to the older version."""
    printed = THIS.yoyo(url, "rollback", "--revision", pending_after(old.version.last_migration)[0])
    assert migrations.ROLLBACK_NOTICE in printed


def return_to(postgres: Postgres, url: str, old: OlderDatabase) -> None:
    """Apply the functions of the older version after a rollback; compare its schema, and use it."""
    old.version.yoyo(url, "apply")
    old.version.assert_no_drift(url)
    assert dump(postgres, url, "--no-comments") == old.schema
    use_all(url)


def upgrade(postgres: Postgres, url: str, newest_schema: str) -> None:
    """Apply this version; compare its schema with that of a new database, and use it."""
    THIS.yoyo(url, "apply")
    THIS.assert_no_drift(url)
    assert dump(postgres, url) == newest_schema
    use_all(url)


@pytest.mark.parametrize(("commit", "migration"), UPGRADES, ids=lambda value: value[:7])
def test_interrupted_upgrade_can_be_rolled_back_and_repeated(
    postgres: Postgres, older: Callable[[str], OlderDatabase], newest_schema: str, commit: str, migration: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    old = older(commit)
    url = create_database(postgres, "parley_interrupted", old.name)
    apply_before(url, migration)
    if is_transactional(MIGRATIONS / f"{migration}.sql"):
        interrupt_by_lock_timeout(url, migration, monkeypatch)
    else:
        interrupt_by_kill(url, migration)
    use_all(url)  # with the functions of the older version
    roll_back(url, old)
    use_all(url)
    return_to(postgres, url, old)
    upgrade(postgres, url, newest_schema)


@pytest.mark.parametrize(
    ("commit", "migration"), [pair for pair in UPGRADES if is_index(pair[1])], ids=lambda value: value[:7]
)
def test_rollback_removes_the_invalid_index_of_a_killed_session(
    postgres: Postgres, older: Callable[[str], OlderDatabase], newest_schema: str, commit: str, migration: str
) -> None:
    old = older(commit)
    url = create_database(postgres, "parley_interrupted", old.name)
    apply_before(url, migration)
    with (
        psycopg.connect(url, autocommit=True) as dba,
        ThreadPoolExecutor(1) as thread,
        psycopg.connect(url) as writer,
    ):
        writer.execute(WRITE_ALL)
        applied = thread.submit(THIS.yoyo, url, "apply", "--revision", migration)
        wait_until(lambda: has_waiter(dba, "locktype = 'virtualxid'"))
        dba.execute(KILL_WAITING)
        with pytest.raises(AssertionError, match="terminat"):
            applied.result(60)
        assert dba.execute(INVALID_INDEXES).rowcount == 1
    THIS.run(url, "yoyo", "break-lock")
    use_all(url)
    roll_back(url, old)
    use_all(url)
    return_to(postgres, url, old)
    upgrade(postgres, url, newest_schema)


@pytest.mark.parametrize(
    ("commit", "migration"),
    [(commit, name) for commit in OLDER_VERSIONS for name in numbered_migrations() if declares_functions(name)],
    ids=lambda value: value[:7],
)
def test_rollback_leaves_no_function_that_makes_calls_ambiguous(
    postgres: Postgres, older: Callable[[str], OlderDatabase], commit: str, migration: str
) -> None:
    old = older(commit)
    url = create_database(postgres, "parley_rolled_back", old.name)
    THIS.yoyo(url, "apply", "--revision", migration)
    THIS.yoyo(url, "rollback", "--revision", migration)
    with psycopg.connect(url, autocommit=True) as dba:
        assert dba.execute(OVERLOADED_FUNCTIONS).fetchall() == []
    old.version.yoyo(url, "apply")
    use_all(url)


@pytest.mark.parametrize("commit", OLDER_VERSIONS, ids=lambda commit: commit[:7])
def test_interrupted_rollback_can_be_completed(
    postgres: Postgres, older: Callable[[str], OlderDatabase], newest_schema: str, commit: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    old = older(commit)
    url = create_database(postgres, "parley_interrupted", old.name)
    upgrade(postgres, url, newest_schema)
    for migration in reversed(pending_after(old.version.last_migration)):
        interrupt_by_lock_timeout(url, migration, monkeypatch, is_rollback=True)
        THIS.yoyo(url, "rollback", "--revision", migration)
    return_to(postgres, url, old)
    upgrade(postgres, url, newest_schema)


@pytest.mark.parametrize("commit", OLDER_VERSIONS, ids=lambda commit: commit[:7])
def test_upgrade_and_return_under_traffic(
    postgres: Postgres, older: Callable[[str], OlderDatabase], newest_schema: str, commit: str
) -> None:
    old = older(commit)
    url = create_database(postgres, "parley_traffic", old.name)
    for _ in ("upgrade", "upgrade again"):
        with Writer(url) as writer:
            upgrade(postgres, url, newest_schema)
            writer.wait_until_sent(20)
        assert writer.errors == []
        writer.assert_complete()
        with Writer(url) as writer:
            roll_back(url, old)
            return_to(postgres, url, old)
        # Between the two commands, the functions of the newer version lack columns. Acknowledged messages are complete.
        assert {type(error) for error in writer.errors} <= {psycopg.errors.UndefinedColumn}
        writer.assert_complete()
