"""What is in Parley's schemas: as sql/inventory.sql finds it in a database, and as sql/schema.snapshot.sql has it.

The snapshot is a fresh database's inventory, for reading in review and for `parley db check`.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2] / "sql"
SQL = CHECKOUT if CHECKOUT.exists() else Path("sql")  # once installed, it runs where yoyo does
SNAPSHOT = SQL / "schema.snapshot.sql"
QUERY = SQL / "inventory.sql"
HEAD = "-- sql/inventory.sql of a fresh database in PostgreSQL "
START = r"\n\n(?=--- |alter |grant )"  # a statement that is its own key begins so; a body may have empty lines


@dataclass(frozen=True)
class Inventory:
    """Statements by key, in the order in which they make the schema; what removes things is not in the snapshot."""

    major: int  # the version of PostgreSQL that wrote the bodies
    make: dict[str, str]
    remove: dict[str, str]

    @classmethod
    def of(cls, cursor: Any) -> "Inventory":
        """That of the database. Sets the session's search_path; raises the driver's errors."""
        cursor.execute("select current_setting('server_version_num')::int / 10000")
        (major,) = cursor.fetchone()
        cursor.execute(QUERY.read_text(encoding="utf-8"))
        rows = cursor.fetchall()
        return cls(major, {key: make for key, make, _ in rows}, {key: remove for key, _, remove in rows})

    @classmethod
    def read(cls) -> "Inventory":
        """That of the snapshot."""
        head, *parts = re.split(START, SNAPSHOT.read_text(encoding="utf-8").rstrip("\n"))
        make = {}
        for part in parts:
            key, statement = part[4:].split("\n", 1) if part.startswith("--- ") else (part.removesuffix(";"), part)
            make[key] = statement
        return cls(int(head.removeprefix(HEAD)), make, {})

    def text(self) -> str:
        """As the snapshot has it; a statement that is its own key needs none."""
        parts = (
            statement if statement == f"{key};" else f"--- {key}\n{statement}" for key, statement in self.make.items()
        )
        return "\n\n".join([f"{HEAD}{self.major}", *parts]) + "\n"
