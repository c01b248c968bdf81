"""The commands of yoyo on our backend, as sql/README.md has them; `apply` and `rollback` are in test_migrations.py."""

from pathlib import Path

import psycopg
import pytest

from tests.database import Connection
from tests.servers import yoyo
from tests.sql.support import add_migration, apply, numbered

ZOO = "create table public.zoo ();"


def statuses(url: str, directory: Path | None = None) -> dict[str, str]:
    """What `yoyo list` says of each migration: A or U."""
    lines = run(url, directory, "list").splitlines()[2:]
    return {line.split()[1]: line.split()[0] for line in lines}


def run(url: str, directory: Path | None, *arguments: str) -> str:
    """What `yoyo` prints, with other sources if need be."""
    return yoyo(url, *arguments, *(["--config", str(directory / "yoyo.ini")] if directory else []))


def there(connection: Connection, table: str) -> bool:
    """Whether there is such a table."""
    return connection.execute("select to_regclass(%s) is not null", [table]).fetchone() == (True,)


def test_list_tells_what_is_applied(url: str) -> None:
    assert statuses(url) == dict.fromkeys([*numbered(), "repeatable"], "U")
    yoyo(url, "apply", "--batch")
    assert statuses(url) == dict.fromkeys(numbered(), "A") | {"repeatable": "U"}
    yoyo(url, "rollback", "--batch", "--revision", "0004_search")
    of_search = [name for name in numbered() if name >= "0004"]
    assert statuses(url) == dict.fromkeys(numbered(), "A") | dict.fromkeys([*of_search, "repeatable"], "U")


def test_a_marked_migration_is_not_applied_and_an_unmarked_one_is(url: str, own_sources: Path) -> None:
    apply(url, own_sources)
    add_migration(own_sources, ZOO)
    with psycopg.connect(url, autocommit=True) as connection:
        run(url, own_sources, "mark", "--batch", "--revision", "0999_zoo")
        assert statuses(url, own_sources)["0999_zoo"] == "A"
        apply(url, own_sources)
        assert not there(connection, "public.zoo")
        run(url, own_sources, "unmark", "--batch", "--revision", "0999_zoo")
        assert statuses(url, own_sources)["0999_zoo"] == "U"
        apply(url, own_sources)
        assert there(connection, "public.zoo")
        assert statuses(url, own_sources)["0999_zoo"] == "A"


def test_unmarking_changes_no_object(url: str, own_sources: Path) -> None:
    add_migration(own_sources, ZOO)
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        run(url, own_sources, "unmark", "--batch", "--revision", "0999_zoo")
        assert there(connection, "public.zoo")
        with pytest.raises(AssertionError, match=r'^0999_zoo: relation "zoo" already exists'):
            apply(url, own_sources)
        run(url, own_sources, "mark", "--batch", "--revision", "0999_zoo")
        apply(url, own_sources)


def test_repeatable_migrations_are_never_marked(url: str, own_sources: Path) -> None:
    apply(url, own_sources)
    add_migration(own_sources, ZOO)
    for _ in range(2):
        run(url, own_sources, "mark", "--batch")
    assert statuses(url, own_sources) == dict.fromkeys([*numbered(), "0999_zoo"], "A") | {"repeatable": "U"}


def test_break_lock_lets_others_in_after_a_yoyo_that_was_killed(url: str) -> None:
    yoyo(url, "apply", "--batch")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("insert into yoyo_lock values (1, now(), 4711)")
        with pytest.raises(AssertionError, match="Process 4711 has locked this database"):
            yoyo(url, "apply", "--batch")
    yoyo(url, "break-lock")
    yoyo(url, "apply", "--batch")


def test_a_rollback_outside_of_a_transaction_that_ends_half_way_can_be_applied_again(
    url: str, own_sources: Path
) -> None:
    add_migration(own_sources, f"-- transactional: false\n{ZOO}")
    rollback = own_sources / "sql" / "migrations" / "0999_zoo.rollback.sql"
    rollback.write_text("drop table public.zoo; select 1 / 0;")
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        with pytest.raises(AssertionError, match="division by zero"):
            run(url, own_sources, "rollback", "--batch", "--revision", "0999_zoo")
        assert statuses(url, own_sources)["0999_zoo"] == "U"
        apply(url, own_sources)
        assert there(connection, "public.zoo")
