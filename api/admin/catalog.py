"""The catalog of Parley's schemas: the statements that create each object, read from a database or from the snapshot.

The queries are in sql/catalog/, one file for each kind of object. sql/schema.snapshot.sql is the catalog of a fresh
database, for review and for `parley db check`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2] / "sql"
SQL = CHECKOUT if CHECKOUT.exists() else Path("sql")  # an installed package runs in the directory of yoyo.ini
SNAPSHOT = SQL / "schema.snapshot.sql"
HEADER = "-- sql/catalog of a fresh database in PostgreSQL "
# A statement that is its own key has no line for the key. Bodies may have empty lines.
SEPARATOR = r"\n\n(?=--- |alter |grant )"


@dataclass(frozen=True)
class Catalog:
    """Statements by key, in the order in which they create the schema."""

    major: int  # the version of PostgreSQL, which deparses views in its own way
    create: dict[str, str]
    drop: dict[str, str]  # empty in that of the snapshot

    @classmethod
    def from_database(cls, cursor: Any) -> "Catalog":
        """Read the catalog of a database. Sets the session's search_path. Raises the driver's errors."""
        cursor.execute("select current_setting('server_version_num')::int / 10000")
        (major,) = cursor.fetchone()
        rows = []
        for query in read_queries():
            cursor.execute(query)
            rows += cursor.fetchall()
        rows.sort(key=lambda row: row[:2])
        create = {key: f"{statement};" for _, key, statement, _ in rows}
        return cls(major, create, {key: f"{statement};" for _, key, _, statement in rows})

    @classmethod
    def from_snapshot(cls) -> "Catalog":
        """Read the catalog in the snapshot."""
        header, *parts = re.split(SEPARATOR, SNAPSHOT.read_text(encoding="utf-8").rstrip("\n"))
        create = {}
        for part in parts:
            key, statement = part[4:].split("\n", 1) if part.startswith("--- ") else (part.removesuffix(";"), part)
            create[key] = statement
        return cls(int(header.removeprefix(HEADER)), create, {})

    def format_snapshot(self) -> str:
        """Return the text of the snapshot."""
        parts = (
            statement if statement == f"{key};" else f"--- {key}\n{statement}" for key, statement in self.create.items()
        )
        return "\n\n".join([f"{HEADER}{self.major}", *parts]) + "\n"


def read_queries() -> list[str]:
    """Return the queries of sql/catalog/, each of which begins with objects.sql."""
    objects = SQL / "catalog" / "objects.sql"
    kinds = sorted(file for file in objects.parent.glob("*.sql") if file != objects)
    return [objects.read_text(encoding="utf-8") + file.read_text(encoding="utf-8") for file in kinds]
