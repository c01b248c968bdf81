"""yoyo's backend for this project: the scheme of `environment:/DATABASE_URL` in yoyo.ini, registered in pyproject.toml.

One variable names the database to all programs, a migration and its mark are one transaction, and reload.py, which
loads what is edited in place, is always to be applied and never marked.

No migration holds requests up for long: who waits for a lock makes all wait who come later. In a transaction, a lock
that is not to be had soon is given up, with all that was done, and the migration is tried again. Outside of one nothing
can be tried again, and what is done there (an index made concurrently, rows piece by piece) holds up none as it waits.
"""

import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

import psycopg2
from psycopg2.errors import DeadlockDetected, LockNotAvailable, QueryCanceled
from yoyo.backends.core.postgresql import PostgresqlBackend
from yoyo.migrations import get_migration_hash

RELOAD = get_migration_hash("reload")

# The lock's is below deadlock_timeout, so that this session yields before PostgreSQL would look for whom to end. The
# statement's is for what runs away: a table of a hundred million rows is rewritten in less, its index made in less.
IN_TRANSACTION = {"lock_timeout": "400ms", "statement_timeout": "15min"}
OUTSIDE = {"lock_timeout": "30s", "statement_timeout": "4h"}
TRIES = 50

# What a DBA gave this session or its role stays; what the server or the database has is meant for requests.
SET_UNLESS_GIVEN = """
    select set_config(name, %s, false) from pg_catalog.pg_settings
    where name = %s and source not in ('client', 'user', 'database user')
"""


class ConnectError(Exception):
    """There is no connection; the message is one line, and has no password."""


def connect(variable: str) -> Any:
    """A connection in autocommit to the database at the URL in this environment variable. Raises ConnectError."""
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


def limit(connection: Any, limits: dict[str, str]) -> None:
    """Sets these time-outs for the session, except where a DBA gave their own."""
    with connection.cursor() as cursor:
        for name, value in limits.items():
            cursor.execute(SET_UNLESS_GIVEN, (value, name))


class EnvironmentBackend(PostgresqlBackend):  # type: ignore[misc]
    """PostgreSQL at the URL in the environment variable that the URI's path names."""

    def connect(self, dburi: Any) -> Any:
        """Connects, or ends the program with one line that names what is wrong."""
        try:
            connection = connect(dburi.database)
        except ConnectError as error:
            sys.exit(str(error))
        limit(connection, IN_TRANSACTION)
        return connection

    def get_applied_migration_hashes(self) -> list[str]:
        """What is applied and need not be again."""
        return [known for known in super().get_applied_migration_hashes() if known != RELOAD]

    def mark_one(self, migration: Any, log: bool = True) -> None:
        """Marks a migration as applied, and reload.py never."""
        if migration.hash != RELOAD:
            super().mark_one(migration, log)

    def apply_one(self, migration: Any, force: bool = False, mark: bool = True) -> None:
        """Applies and marks at once: yoyo's own way, killed in between, could go neither on nor back."""

        def steps() -> None:
            migration.process_steps(self, "apply", force=force)
            self.log_migration(migration, "apply")
            if mark:
                self.mark_one(migration, log=False)

        self._run(migration, steps)

    def rollback_one(self, migration: Any, force: bool = False) -> None:
        """Unmarks and rolls back at once; without a transaction, what was killed in between can be applied again."""

        def steps() -> None:
            self.unmark_one(migration, log=False)
            migration.process_steps(self, "rollback", force=force)
            self.log_migration(migration, "rollback")

        self._run(migration, steps)

    def _run(self, migration: Any, steps: Callable[[], None]) -> None:
        """Runs the steps as the migration is to be run, or ends the program with what PostgreSQL said."""
        migration.load()
        try:
            if migration.use_transactions:
                self._run_in_transaction(steps)
            else:
                limit(self.connection, OUTSIDE)
                steps()
                limit(self.connection, IN_TRANSACTION)
        except (LockNotAvailable, QueryCanceled) as error:
            stays = "nothing was changed" if migration.use_transactions else "what was done before stays"
            sys.exit(f"{migration.id}: {error.diag.message_primary}; {stays}")
        except psycopg2.Error as error:
            sys.exit(f"{migration.id}: {error}".strip())

    def _run_in_transaction(self, steps: Callable[[], None]) -> None:
        """Runs the steps in one transaction, again until their locks were free."""
        for tries_left in reversed(range(TRIES)):
            try:
                with self.transaction():
                    steps()
                break
            except (LockNotAvailable, DeadlockDetected):
                if not tries_left:
                    raise
                time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 (jitter, no secret)
