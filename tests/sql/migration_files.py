"""The files of migrations: copy them, add some to the copy, and apply those of a copy."""

import re
import shutil
from pathlib import Path

from tests import ROOT
from tests.servers import yoyo

MIGRATIONS = ROOT / "sql" / "migrations"
EXAMPLES = ROOT / "tests" / "sql" / "example_migrations"


def numbered_migrations() -> list[str]:
    """Return the ids of the migrations in their order, without repeatable.py."""
    return sorted(file.stem for file in MIGRATIONS.glob("[0-9]*") if not file.stem.endswith(".rollback"))


def is_transactional(file: Path) -> bool:
    """Return whether yoyo runs this migration, or this rollback, in a transaction."""
    migration = file.with_name(file.name.replace(".rollback.sql", ".sql"))
    return not re.search(r"^-- transactional: false$", migration.read_text(), flags=re.MULTILINE)


def copy_sources(directory: Path) -> Path:
    """Copy sql/ and yoyo.ini to this directory; return it."""
    shutil.copytree(ROOT / "sql", directory / "sql")
    shutil.copy(ROOT / "yoyo.ini", directory)
    return directory


def apply(url: str, directory: Path) -> None:
    """Run `yoyo apply` with the copy in this directory."""
    yoyo(url, "apply", "--batch", "--config", str(directory / "yoyo.ini"))


def add_migration(directory: Path, text: str, name: str = "0999_zoo.sql") -> None:
    """Add a migration in SQL, which depends on all others."""
    header = f"-- depends: {numbered_migrations()[-1]}\n"
    (directory / "sql" / "migrations" / name).write_text(header + text)


def add_examples(directory: Path) -> None:
    """Add the example migrations, which depend on all others."""
    shutil.copytree(EXAMPLES, directory / "sql" / "migrations", dirs_exist_ok=True)
