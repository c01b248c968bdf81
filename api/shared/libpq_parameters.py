"""libpq's connection parameters, as of PostgreSQL 18, and the use of each in a URL for asyncpg.

`psql` and `yoyo` use libpq. asyncpg reads some of its parameters, and sends all others to PostgreSQL as settings, which
rejects them. https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-PARAMKEYWORDS describes the parameters.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, auto
from typing import Self


class Use(Enum):
    """The use of a parameter."""

    PASSED = auto()  # to asyncpg, which reads it as libpq does
    MAPPED = auto()  # by api/shared/postgres_url.py to arguments of asyncpg
    DROPPED = auto()  # since asyncpg behaves as the accepted values require, or the parameter has no effect on security
    REJECTED = auto()  # since asyncpg does not support it, and the connection would be less restricted without it


@dataclass(frozen=True, slots=True)
class Parameter:
    """The use of a parameter; `values` are those that are accepted, by default all; `reason` is that of a rejection."""

    use: Use
    values: tuple[str, ...] = ()
    reason: str = "the driver does not support it"

    def find_error(self, value: str) -> str | None:
        """Return why a value is not accepted, without quoting it; None if it is accepted."""
        if self.use is Use.REJECTED:
            return f"is not accepted, since {self.reason}"
        if self.values and value not in self.values:
            return f"must be {' or '.join(self.values)}"
        return None

    @classmethod
    def rejected(cls, reason: str) -> Self:
        """Return a parameter that is rejected for this reason."""
        return cls(Use.REJECTED, reason=reason)


_PASSED, _MAPPED, _DROPPED = Parameter(Use.PASSED), Parameter(Use.MAPPED), Parameter(Use.DROPPED)
_REJECTED = Parameter(Use.REJECTED)
_TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_ATTRIBUTES = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

PARAMETERS = {
    "application_name": _MAPPED,  # setting
    "channel_binding": Parameter(Use.MAPPED, ("disable", "prefer", "require")),  # require: sslmode=verify-full
    "client_encoding": _DROPPED,  # Both processes always use UTF-8.
    "connect_timeout": _MAPPED,  # argument `timeout`
    "dbname": _PASSED,
    "fallback_application_name": _MAPPED,  # setting, without application_name
    "gssdelegation": Parameter(Use.DROPPED, ("0",)),
    "gssencmode": Parameter(Use.DROPPED, ("disable", "prefer")),
    "gsslib": Parameter(Use.PASSED, ("gssapi", "sspi")),
    "host": _MAPPED,  # argument
    "hostaddr": _MAPPED,  # argument `host`
    "keepalives": Parameter(Use.MAPPED, ("0", "1")),  # socket options
    "keepalives_count": _MAPPED,
    "keepalives_idle": _MAPPED,
    "keepalives_interval": _MAPPED,
    "krbsrvname": _PASSED,
    "load_balance_hosts": Parameter(Use.MAPPED, ("disable", "random")),  # order of hosts
    "max_protocol_version": Parameter(Use.DROPPED, ("3.0", "3.2", "latest")),  # asyncpg uses 3.0.
    "min_protocol_version": Parameter(Use.DROPPED, ("3.0",)),
    "oauth_client_id": _REJECTED,
    "oauth_client_secret": _REJECTED,
    "oauth_issuer": _REJECTED,
    "oauth_scope": _REJECTED,
    "options": _MAPPED,  # setting
    "passfile": _PASSED,
    "password": _PASSED,
    "port": _MAPPED,  # argument
    "replication": Parameter.rejected("Parley does not use replication connections"),
    "require_auth": Parameter.rejected("the driver authenticates by any method that the server requests"),
    "requirepeer": Parameter.rejected("the driver does not verify the server's user"),
    "scram_client_key": _REJECTED,
    "scram_server_key": _REJECTED,
    "service": _MAPPED,  # to the parameters in the service file
    "ssl_max_protocol_version": Parameter(Use.PASSED, _TLS_VERSIONS),
    "ssl_min_protocol_version": Parameter(Use.PASSED, _TLS_VERSIONS),
    "sslcert": _PASSED,
    "sslcertmode": Parameter(Use.DROPPED, ("allow",)),
    "sslcompression": _DROPPED,  # asyncpg never compresses.
    "sslcrl": _PASSED,
    "sslcrldir": Parameter.rejected("the driver reads revoked certificates from sslcrl only"),
    "sslkey": _PASSED,
    "sslkeylogfile": _REJECTED,
    "sslmode": Parameter(Use.PASSED, _SSL_MODES),
    "sslnegotiation": Parameter(Use.PASSED, ("postgres", "direct")),
    "sslpassword": _PASSED,
    "sslrootcert": _PASSED,  # `system` is mapped to the argument `ssl`.
    "sslsni": Parameter(Use.DROPPED, ("1",)),
    "target_session_attrs": Parameter(Use.PASSED, _ATTRIBUTES),
    "tcp_user_timeout": _MAPPED,  # socket option
    "user": _PASSED,
}


def find_errors(parameters: dict[str, str]) -> list[str]:
    """Return an error for each parameter that is unknown or not accepted. Errors quote no value."""
    errors = []
    for name, value in parameters.items():
        if parameter := PARAMETERS.get(name):
            error = parameter.find_error(value)
        else:
            similar = get_close_matches(name, PARAMETERS, n=1, cutoff=0.8)
            error = f"is not a parameter of libpq{f'; {similar[0]} is' if similar else ''}"
        errors += [f"{name} {error}"] if error else []
    return errors
