"""Commands of yoyo as in sql/README.md: `list`, `mark`, `unmark` and `break-lock`."""

from pathlib import Path

import psycopg
import pytest

from tests.database import Connection
from tests.servers import yoyo
from tests.sql.migration_files import add_migration, apply, numbered_migrations

ZOO = "create table public.zoo ();"


def list_statuses(url: str, directory: Path | None = None) -> dict[str, str]:
    """Return the status of each migration in `yoyo list`: A (applied) or U (not applied)."""
    lines = run(url, directory, "list").splitlines()[2:]
    return {line.split()[1]: line.split()[0] for line in lines}


def run(url: str, directory: Path | None, *arguments: str) -> str:
    """Run `yoyo`, with the sources in a directory if one is set; return its output."""
    return yoyo(url, *arguments, *(["--config", str(directory / "yoyo.ini")] if directory else []))


def table_exists(connection: Connection, table: str) -> bool:
    """Return whether a table exists."""
    return connection.execute("select to_regclass(%s) is not null", [table]).fetchone() == (True,)


def test_list_shows_which_migrations_are_applied(url: str) -> None:
    assert list_statuses(url) == dict.fromkeys([*numbered_migrations(), "repeatable"], "U")
    yoyo(url, "apply", "--batch")
    assert list_statuses(url) == dict.fromkeys(numbered_migrations(), "A") | {"repeatable": "U"}
    yoyo(url, "rollback", "--batch", "--revision", "0004_search")
    rolled_back = [name for name in numbered_migrations() if name >= "0004"]
    assert list_statuses(url) == dict.fromkeys(numbered_migrations(), "A") | dict.fromkeys(
        [*rolled_back, "repeatable"], "U"
    )


def test_marked_migration_is_not_applied_and_unmarked_one_is(url: str, own_sources: Path) -> None:
    apply(url, own_sources)
    add_migration(own_sources, ZOO)
    with psycopg.connect(url, autocommit=True) as connection:
        run(url, own_sources, "mark", "--batch", "--revision", "0999_zoo")
        assert list_statuses(url, own_sources)["0999_zoo"] == "A"
        apply(url, own_sources)
        assert not table_exists(connection, "public.zoo")
        run(url, own_sources, "unmark", "--batch", "--revision", "0999_zoo")
        assert list_statuses(url, own_sources)["0999_zoo"] == "U"
        apply(url, own_sources)
        assert table_exists(connection, "public.zoo")
        assert list_statuses(url, own_sources)["0999_zoo"] == "A"


def test_unmark_changes_no_object(url: str, own_sources: Path) -> None:
    add_migration(own_sources, ZOO)
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        run(url, own_sources, "unmark", "--batch", "--revision", "0999_zoo")
        assert table_exists(connection, "public.zoo")
        with pytest.raises(AssertionError, match=r'^0999_zoo: relation "zoo" already exists'):
            apply(url, own_sources)
        run(url, own_sources, "mark", "--batch", "--revision", "0999_zoo")
        apply(url, own_sources)


def test_repeatable_migrations_are_never_marked(url: str, own_sources: Path) -> None:
    apply(url, own_sources)
    add_migration(own_sources, ZOO)
    for _ in range(2):
        run(url, own_sources, "mark", "--batch")
    assert list_statuses(url, own_sources) == dict.fromkeys([*numbered_migrations(), "0999_zoo"], "A") | {
        "repeatable": "U"
    }


def test_break_lock_removes_the_lock_of_a_killed_yoyo(url: str) -> None:
    yoyo(url, "apply", "--batch")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("insert into yoyo_lock values (1, now(), 4711)")
        with pytest.raises(AssertionError, match="Process 4711 has locked this database"):
            yoyo(url, "apply", "--batch")
    yoyo(url, "break-lock")
    yoyo(url, "apply", "--batch")


def test_migration_can_be_applied_after_an_interrupted_non_transactional_rollback(url: str, own_sources: Path) -> None:
    add_migration(own_sources, f"-- transactional: false\n{ZOO}")
    rollback = own_sources / "sql" / "migrations" / "0999_zoo.rollback.sql"
    rollback.write_text("drop table public.zoo; select 1 / 0;")
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        with pytest.raises(AssertionError, match="division by zero"):
            run(url, own_sources, "rollback", "--batch", "--revision", "0999_zoo")
        assert list_statuses(url, own_sources)["0999_zoo"] == "U"
        apply(url, own_sources)
        assert table_exists(connection, "public.zoo")
