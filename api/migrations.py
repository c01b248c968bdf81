"""yoyo's backend for this project: the scheme of `environment:/DATABASE_URL` in yoyo.ini, registered in pyproject.toml.

One variable names the database to all programs, a migration and its mark are one transaction, and reload.py, which
loads what is edited in place, is always to be applied.
"""

import os
import sys
from typing import Any

import psycopg2
from yoyo.backends.core.postgresql import PostgresqlBackend
from yoyo.migrations import get_migration_hash

RELOAD = get_migration_hash("reload")


class EnvironmentBackend(PostgresqlBackend):  # type: ignore[misc]
    """PostgreSQL at the URL in the environment variable that the URI's path names."""

    def connect(self, dburi: Any) -> Any:
        """Connects, or ends the program with one line that names what is wrong."""
        variable = dburi.database
        if not (url := os.environ.get(variable)):
            sys.exit(f"{variable} is not set: the URL of the database to migrate, postgresql://user:password@host/name")
        try:
            connection = psycopg2.connect(url)
        except psycopg2.ProgrammingError:
            sys.exit(f"{variable} is malformed: it must be like postgresql://user:password@host/name")
        except psycopg2.OperationalError as error:
            sys.exit(f"{variable}: no connection to the database: {error}".strip())
        connection.autocommit = True
        return connection

    def get_applied_migration_hashes(self) -> list[str]:
        """What is applied and need not be again."""
        return [known for known in super().get_applied_migration_hashes() if known != RELOAD]

    def apply_one(self, migration: Any, force: bool = False, mark: bool = True) -> None:
        """Applies and marks at once: yoyo's own way, killed in between, could go neither on nor back."""
        migration.load()
        if migration.hash == RELOAD or not migration.use_transactions:
            super().apply_one(migration, force, mark and migration.hash != RELOAD)
            return
        with self.transaction():
            run_steps(self, migration, "apply", force)
            if mark:
                self.mark_one(migration, log=False)

    def rollback_one(self, migration: Any, force: bool = False) -> None:
        """Rolls back and unmarks at once."""
        migration.load()
        if not migration.use_transactions:
            super().rollback_one(migration, force)
            return
        with self.transaction():
            run_steps(self, migration, "rollback", force)
            self.unmark_one(migration, log=False)


def run_steps(backend: EnvironmentBackend, migration: Any, direction: str, force: bool) -> None:
    """A migration's steps and their line in yoyo's log, in the transaction under way."""
    migration.process_steps(backend, direction, force=force)
    backend.log_migration(migration, direction)
