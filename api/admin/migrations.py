"""yoyo's backend for this project: the scheme of `environment:/DATABASE_URL` in yoyo.ini, registered in pyproject.toml.

It differs from yoyo's own in five ways. One environment variable names the database to all programs. A migration is
applied and marked as applied in one transaction. `repeatable.py`, which applies the repeatable migrations, is always
pending and never marked. A rollback prepares the database for an older checkout, which then loads its own functions.
And no migration blocks requests for long, although requests queue behind a session that waits for a lock:

- In a transaction, if a lock is not acquired soon, the migration is rolled back and retried.
- A migration outside of a transaction (a concurrent index, a backfill in batches) cannot be retried, but does not block
  requests while it waits.
"""

import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.errors import DeadlockDetected, LockNotAvailable, QueryCanceled
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlBackend
from yoyo.migrations import get_migration_hash

from api.admin.catalog import SQL
from api.admin.repeatable import find_newer_migrations, invalidate_repeatables

REPEATABLE_HASH = get_migration_hash("repeatable")

# lock_timeout is below deadlock_timeout (1s), so that this session yields before PostgreSQL would cancel a request.
# statement_timeout stops only runaway statements: rewriting or indexing a table of a hundred million rows takes less.
TIMEOUTS_IN_TRANSACTION = {"lock_timeout": "400ms", "statement_timeout": "15min"}
TIMEOUTS_OUTSIDE = {"lock_timeout": "30s", "statement_timeout": "4h"}
MAX_ATTEMPTS = 50

# A DBA's values for the session or the role have precedence. Those of the server or the database are for requests.
SET_DEFAULT_TIMEOUT = """
    select set_config(name, %s, false) from pg_catalog.pg_settings
    where name = %s and source not in ('client', 'user', 'database user')
"""
ROLLBACK_NOTICE = "run `yoyo apply --batch` next, in the checkout of the version to return to: it loads its functions"


class ConnectError(Exception):
    """No connection could be made. The message is one line without the password."""


def connect(variable: str) -> Any:
    """Connect, in autocommit, to the database at the URL in this environment variable. Raises ConnectError."""
    if not (url := os.environ.get(variable)):
        raise ConnectError(
            f"{variable} is not set: the URL of the database to migrate, postgresql://user:password@host/name"
        )
    try:
        connection = psycopg2.connect(url)
    except psycopg2.ProgrammingError:
        raise ConnectError(f"{variable} is malformed: it must be like postgresql://user:password@host/name") from None
    except psycopg2.OperationalError as error:
        raise ConnectError(f"{variable}: no connection to the database: {error}".strip()) from None
    connection.autocommit = True
    return connection


def set_timeouts(connection: Any, timeouts: dict[str, str]) -> None:
    """Set these timeouts for the session, except those that a DBA has set."""
    with connection.cursor() as cursor:
        for name, value in timeouts.items():
            cursor.execute(SET_DEFAULT_TIMEOUT, (value, name))


class EnvironmentBackend(PostgresqlBackend):  # type: ignore[misc]
    """PostgreSQL at the URL in the environment variable that the URI's path names."""

    def connect(self, dburi: Any) -> Any:
        """Connect, or exit with one line that names the problem."""
        try:
            connection = connect(dburi.database)
        except ConnectError as error:
            sys.exit(str(error))
        set_timeouts(connection, TIMEOUTS_IN_TRANSACTION)
        return connection

    def get_applied_migration_hashes(self) -> list[str]:
        """Return the applied migrations, without repeatable.py, which is always pending."""
        return [known for known in super().get_applied_migration_hashes() if known != REPEATABLE_HASH]

    def mark_one(self, migration: Any, log: bool = True) -> None:
        """Mark a migration as applied, except repeatable.py."""
        if migration.hash != REPEATABLE_HASH:
            super().mark_one(migration, log)

    def apply_one(self, migration: Any, force: bool = False, mark: bool = True) -> None:
        """Apply and mark in one transaction: killed between yoyo's two, it could neither continue nor roll back."""

        def steps() -> None:
            migration.process_steps(self, "apply", force=force)
            self.log_migration(migration, "apply")
            if mark:
                self.mark_one(migration, log=False)

        self._run(migration, steps)

    def apply_migrations(self, migrations: Any, force: bool = False) -> None:
        """Apply migrations, unless the database has those of a newer checkout, whose functions would be replaced."""
        self._reject_newer(migrations)
        super().apply_migrations(migrations, force)

    def rollback_migrations(self, migrations: Any, force: bool = False) -> None:
        """Roll back, and first what an interrupted migration outside a transaction may have left, such as an index."""
        self._reject_newer(migrations)
        sources = {str(Path(migration.path).parent) for migration in migrations} or {str(SQL / "migrations")}
        for migration in reversed(self.to_apply(read_migrations(*sources))):
            migration.load()
            if not migration.use_transactions:
                self.rollback_one(migration, force)
        super().rollback_migrations(migrations, force)
        if self.execute("select to_regclass('parley.repeatable_migrations') is not null").fetchone() == (True,):
            print(ROLLBACK_NOTICE, file=sys.stderr)

    def rollback_one(self, migration: Any, force: bool = False) -> None:
        """Unmark and roll back in one transaction. Without one, an interrupted rollback can be applied again."""

        def invalidate() -> None:
            if self.is_applied(migration):
                invalidate_repeatables(self.connection.cursor(), Path(migration.path).parents[1])

        def steps() -> None:
            self.unmark_one(migration, log=False)
            migration.process_steps(self, "rollback", force=force)
            self.log_migration(migration, "rollback")

        self._run(migration, steps, invalidate)

    def _reject_newer(self, migrations: Any) -> None:
        """Exit if the database has migrations that the checkout of these migrations does not have."""
        for sql in {Path(migration.path).parents[1] for migration in migrations}:
            if newer := find_newer_migrations(self.connection.cursor(), sql):
                sys.exit(f"the database has migrations of a newer checkout, in which to run yoyo: {newer}")

    def _run(self, migration: Any, steps: Callable[[], None], prepare: Callable[[], None] = lambda: None) -> None:
        """Run the steps inside or outside of a transaction, or exit with PostgreSQL's error.

        The preparation, which may lock views, is part of that transaction, or else has one of its own.
        """
        migration.load()
        try:
            if migration.use_transactions:
                self._run_in_transaction(prepare, steps)
            else:
                self._run_in_transaction(prepare)
                set_timeouts(self.connection, TIMEOUTS_OUTSIDE)
                steps()
                set_timeouts(self.connection, TIMEOUTS_IN_TRANSACTION)
        except (LockNotAvailable, QueryCanceled) as error:
            outcome = "nothing was changed" if migration.use_transactions else "earlier steps are committed"
            sys.exit(f"{migration.id}: {error.diag.message_primary}; {outcome}")
        except psycopg2.Error as error:
            sys.exit(f"{migration.id}: {error}".strip())

    def _run_in_transaction(self, *steps: Callable[[], None]) -> None:
        """Run the steps in one transaction, and retry while their locks are not free."""
        for attempts_left in reversed(range(MAX_ATTEMPTS)):
            try:
                with self.transaction():
                    for step in steps:
                        step()
                break
            except (LockNotAvailable, DeadlockDetected):
                if not attempts_left:
                    raise
                time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 (jitter, no secret)
