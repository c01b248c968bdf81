"""How yoyo finds the database: the scheme of `environment:/DATABASE_URL` in yoyo.ini, so that one variable serves all.

Registered in pyproject.toml as a yoyo backend.
"""

import os
import sys
from typing import Any

import psycopg2
from yoyo.backends.core.postgresql import PostgresqlBackend


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
