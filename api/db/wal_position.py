"""The identity of a server and its position in the write-ahead log (WAL), which show how current a replica is."""

import json
from dataclasses import dataclass
from typing import Self

import asyncpg

from api.db.pool import Connection

GET_WAL_POSITION = "select api.get_wal_position()"


class WrongServerError(asyncpg.InterfaceError):  # type: ignore[misc]
    """The server is not the replica of the primary, or not the one that is monitored; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class WalPosition:
    """The result of api.get_wal_position(): a server's identity, and how far it has written or replayed the WAL."""

    backend: int
    started: str
    is_replica: bool
    system: int | None
    timeline: str | None
    database: int
    epoch: str
    lsn: int

    @classmethod
    def parse(cls, value: bytes) -> Self:
        """Parse the JSON that api.get_wal_position() returns."""
        return cls(**json.loads(value))

    def check_primary(self, primary: "WalPosition") -> None:
        """Raise WrongServerError unless this is the position of a replica of that primary."""
        if primary.is_replica:
            raise WrongServerError("DATABASE_URL leads to a replica")
        if not self.is_replica:
            raise WrongServerError("the server is not a replica, or was promoted")
        if (self.system, self.database, self.epoch) != (primary.system, primary.database, primary.epoch):
            raise WrongServerError("the server is a replica of another database")
        if self.timeline != primary.timeline:
            raise WrongServerError("the replica is on another timeline than the primary")


async def fetch_wal_position(connection: Connection) -> WalPosition:
    """Fetch a server's position. Raises asyncpg's errors.

    Raises WrongServerError if the server has no Parley database, or a pooler hides which server it is.
    """
    try:
        position = WalPosition.parse((await connection.fetchrow(GET_WAL_POSITION))[0])
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedFunctionError):
        raise WrongServerError("the server is a replica of another database") from None
    if position.backend != connection.get_server_pid():
        raise WrongServerError("DATABASE_REPLICA_URL leads to a pooler")
    return position
