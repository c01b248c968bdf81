"""Connections to PostgreSQL for both processes: session settings, and names of prepared statements."""

import itertools
import secrets
from typing import Any

import asyncpg

CONNECT_TIMEOUT_SECONDS = 5
# Settings of each session in place of the defaults of the server, the database and the role, which could break Parley.
SESSION_SETTINGS = {
    # In a stricter level, statements that wait for a row, as each message does for its chat's, fail (SQLSTATE 40001).
    "default_transaction_isolation": "read committed",
}
# How poolers reject session settings: PgBouncer, and services like RDS Proxy.
SETTINGS_REJECTED_ERRORS = (asyncpg.ProtocolViolationError, asyncpg.FeatureNotSupportedError)
FIND_OWN_STATEMENT = """
    select exists (select from pg_catalog.pg_prepared_statements where pg_catalog.starts_with(name, $1))
"""


class Connection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that names its prepared statements uniquely.

    asyncpg numbers statements by process. Through a pooler that passes names on, a name could execute the statement of
    another process. A random prefix for each connection, also in forked processes, makes that impossible.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._prefix = f"parley_{secrets.token_hex(8)}_"
        self._ids = itertools.count(1)

    def _get_unique_id(self, prefix: str) -> str:
        """Return a name for a prepared statement, a portal or a savepoint (asyncpg calls this)."""
        return f"{self._prefix}{prefix}_{next(self._ids)}"

    def is_own_statement(self, text: str) -> bool:
        """Return whether an error message names a prepared statement of this connection."""
        return self._prefix in text

    async def is_direct(self) -> bool:
        """Return whether this is a connection to PostgreSQL: through a pooler, the process ids differ."""
        return bool(await self.fetchval("select pg_catalog.pg_backend_pid()") == self.get_server_pid())

    async def keeps_statement_names(self) -> bool:
        """Return whether prepared statements have the same names in PostgreSQL.

        A pooler that supports prepared statements in transaction mode renames them. Without a statement cache, asyncpg
        prepares no named statement, and the result is False.
        """
        return bool(await self.fetchval(FIND_OWN_STATEMENT, self._prefix))


async def connect(
    url: str,
    *,
    server_settings: dict[str, str] | None = None,
    timeout: float = CONNECT_TIMEOUT_SECONDS,  # noqa: ASYNC109 (asyncpg's parameter)
    connection_class: type[Connection] = Connection,
    **options: Any,
) -> Any:
    """Open a connection, with asyncpg's `options`. Raises asyncpg's errors.

    If a pooler rejects SESSION_SETTINGS, connect without them: api.check_readiness() verifies their effect.
    """
    options |= {"timeout": timeout, "connection_class": connection_class}
    settings = server_settings or {}
    try:
        return await asyncpg.connect(url, server_settings=SESSION_SETTINGS | settings, **options)
    except SETTINGS_REJECTED_ERRORS:
        return await asyncpg.connect(url, server_settings=settings, **options)
