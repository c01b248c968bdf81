"""What tests of migrations say often."""

import shutil
from pathlib import Path

from tests import ROOT
from tests.servers import yoyo

MIGRATIONS = ROOT / "sql" / "migrations"
EXAMPLES = ROOT / "tests" / "sql" / "example_migrations"


def numbered() -> list[str]:
    """The ids of the migrations in their order, without repeatable.py."""
    return sorted(file.stem for file in MIGRATIONS.glob("[0-9]*") if not file.stem.endswith(".rollback"))


def copy_sources(directory: Path) -> Path:
    """A copy of sql/ and yoyo.ini in this directory, which a test may change."""
    shutil.copytree(ROOT / "sql", directory / "sql")
    shutil.copy(ROOT / "yoyo.ini", directory)
    return directory


def apply(url: str, directory: Path) -> None:
    """`yoyo apply` with other sources."""
    yoyo(url, "apply", "--batch", "--config", str(directory / "yoyo.ini"))


def add_migration(directory: Path, text: str, name: str = "0999_zoo.sql") -> None:
    """Adds a migration in SQL that comes after all others."""
    after = f"-- depends: {numbered()[-1]}\n"
    (directory / "sql" / "migrations" / name).write_text(after + text)


def add_examples(directory: Path) -> None:
    """Add the example migrations, which come after all others."""
    shutil.copytree(EXAMPLES, directory / "sql" / "migrations", dirs_exist_ok=True)
