"""Connections to PostgreSQL for both processes: session settings, and names of prepared statements."""

import itertools
import re
import secrets
import socket
import ssl
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import asyncpg

from api.shared.postgres_url import ConnectArguments

CONNECT_TIMEOUT_SECONDS = 5
# Settings of each session in place of the defaults of the server, the database and the role, which could break Parley.
SESSION_SETTINGS = {
    # In a stricter level, statements that wait for a row, as each message does for its chat's, fail (SQLSTATE 40001).
    "default_transaction_isolation": "read committed",
    # If it is off, string constants in functions have other meanings, and PostgreSQL rejects some of them.
    "standard_conforming_strings": "on",
}
# How poolers reject session settings: PgBouncer, and services like RDS Proxy.
SETTINGS_REJECTED_ERRORS = (asyncpg.ProtocolViolationError, asyncpg.FeatureNotSupportedError)
REJECTED_PARAMETER = re.compile(r'parameter(?: in options)?:? "?([A-Za-z_][\w.]*)')
NAME_MISMATCH = (62, 64)  # OpenSSL's codes for a host name and an IP address
FIND_OWN_STATEMENT = """
    select exists (select from pg_catalog.pg_prepared_statements where pg_catalog.starts_with(name, $1))
"""


def describe_connection_error(error: Exception) -> str:
    """Return the reason why there is no connection, without values of the URL."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in NAME_MISMATCH:
            return "the server's certificate names another host; use a host name of the certificate"
        return (
            f"the server's certificate is not valid ({error.verify_message}); sslrootcert names the file of its issuer"
        )
    if isinstance(error, asyncpg.PostgresError) and (match := REJECTED_PARAMETER.search(error.args[0])):
        return f"the server rejects the parameter {match[1]}"
    return type(error).__name__


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

    def set_socket_options(self, options: list[tuple[int, int, int]]) -> None:
        """Set options of the socket, unless it is a Unix socket."""
        connected = self._transport.get_extra_info("socket")
        if connected.family != socket.AF_UNIX:
            for option in options:
                connected.setsockopt(*option)

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
    server_settings: Mapping[str, str] = MappingProxyType({}),
    timeout: float = CONNECT_TIMEOUT_SECONDS,  # noqa: ASYNC109 (asyncpg's parameter)
    connection_class: type[Connection] = Connection,
    **options: Any,
) -> Any:
    """Open a connection to a URL, with asyncpg's `options`. The URL's parameters have precedence over the arguments.

    If a pooler rejects SESSION_SETTINGS, connect without them: api.check_readiness() verifies their effect. Raises
    asyncpg's errors.
    """
    try:
        target = ConnectArguments.parse(url)
    except ValueError as error:  # The service file has changed since the start.
        raise asyncpg.ClientConfigurationError(str(error)) from None
    arguments = {"timeout": timeout, "connection_class": connection_class, **options, **target.arguments}
    settings = {"application_name": "parley", **server_settings, **target.server_settings}
    try:
        connection = await asyncpg.connect(server_settings=settings | SESSION_SETTINGS, **arguments)
    except SETTINGS_REJECTED_ERRORS:
        connection = await asyncpg.connect(server_settings=settings, **arguments)
    connection.set_socket_options(target.socket_options)
    return connection
