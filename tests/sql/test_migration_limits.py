"""How long a migration waits and works: on every one, whether it says so itself or not."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from yoyo import get_backend, read_migrations

from api.admin import migrations
from tests.database import Connection, call
from tests.servers import yoyo
from tests.sql.support import add_migration, apply
from tests.tokens import new_user
from tests.waiting import wait_until

LIMITS = "create table public.zoo as select current_setting('lock_timeout') a, current_setting('statement_timeout') b;"
ADD_COLUMN = "alter table parley.settings add column zoo int;"


def limits(connection: Connection) -> tuple[str, ...]:
    """The time-outs that LIMITS saw."""
    row = connection.execute("select * from public.zoo").fetchone()
    assert row
    return tuple(row)


def waiting(connection: Connection) -> bool:
    """Whether somebody waits for a lock on the settings."""
    query = "select from pg_locks where not granted and relation = 'parley.settings'::regclass"
    return connection.execute(query).rowcount > 0


@pytest.mark.parametrize(
    ("directive", "expected"), [("", ("400ms", "15min")), ("-- transactional: false\n", ("30s", "4h"))]
)
def test_every_migration_has_its_limits(url: str, own_sources: Path, directive: str, expected: tuple[str, str]) -> None:
    add_migration(own_sources, directive + LIMITS)
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        assert limits(connection) == expected


def test_the_migration_after_one_outside_of_a_transaction_has_its_own(url: str, own_sources: Path) -> None:
    add_migration(own_sources, "-- transactional: false\nselect 1;", "0998_giraffe.sql")
    add_migration(own_sources, f"-- depends: 0998_giraffe\n{LIMITS}")
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        assert limits(connection) == ("400ms", "15min")


def test_a_rollback_has_the_limits_too(url: str, own_sources: Path) -> None:
    add_migration(own_sources, "select 1;")
    (own_sources / "sql" / "migrations" / "0999_zoo.rollback.sql").write_text(LIMITS)
    apply(url, own_sources)
    yoyo(url, "rollback", "--batch", "--revision", "0999_zoo", "--config", str(own_sources / "yoyo.ini"))
    with psycopg.connect(url, autocommit=True) as connection:
        assert limits(connection) == ("400ms", "15min")


@pytest.mark.parametrize("directive", ["", "-- transactional: false\n"])
def test_what_a_dba_gives_the_session_wins(
    url: str, own_sources: Path, directive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c lock_timeout=70ms -c statement_timeout=2h")
    add_migration(own_sources, directive + LIMITS)
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        assert limits(connection) == ("70ms", "2h")


def test_what_a_dba_gives_the_role_wins_and_what_the_database_has_does_not(url: str, own_sources: Path) -> None:
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("alter database parley_migrations set statement_timeout = '10s'")
        connection.execute("alter role postgres in database parley_migrations set lock_timeout = '300ms'")
        add_migration(own_sources, LIMITS)
        apply(url, own_sources)
        assert limits(connection) == ("300ms", "15min")


def test_a_migration_that_waits_for_a_lock_fails_no_request_and_succeeds_in_the_end(
    url: str, own_sources: Path
) -> None:
    apply(url, own_sources)
    add_migration(own_sources, ADD_COLUMN)
    user = new_user()
    with (
        psycopg.connect(url, autocommit=True) as holder,
        psycopg.connect(url, autocommit=True, options="-c statement_timeout=1s") as request,
        psycopg.connect(url, autocommit=True) as watcher,
        ThreadPoolExecutor(1) as thread,
    ):
        call(request, user, "get_settings")
        with holder.transaction():
            holder.execute("lock table parley.settings in access share mode")
            applied: Future[None] = thread.submit(apply, url, own_sources)
            for _ in range(3):
                wait_until(lambda: waiting(watcher))
                call(request, user, "get_settings")
                wait_until(lambda: not waiting(watcher))
            assert not applied.done()
        applied.result(60)
        assert "zoo" in {column.name for column in request.execute("select * from parley.settings").description or ()}


def test_a_lock_that_is_never_free_ends_a_migration_outside_of_a_transaction(
    url: str, own_sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(url, own_sources)
    add_migration(own_sources, f"-- transactional: false\n{ADD_COLUMN}")
    monkeypatch.setenv("PGOPTIONS", "-c lock_timeout=50ms")
    with psycopg.connect(url) as holder:
        holder.execute("lock table parley.settings in access share mode")
        with pytest.raises(AssertionError) as caught:
            apply(url, own_sources)
    said = str(caught.value)
    assert said.startswith("0999_zoo: canceling statement due to lock timeout; what was done before stays\n")
    assert "Traceback" not in said


def test_a_lock_that_is_never_free_ends_a_migration_in_a_transaction(
    url: str, own_sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(url, own_sources)
    add_migration(own_sources, ADD_COLUMN)
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setattr(migrations, "TRIES", 2)
    with psycopg.connect(url) as holder, get_backend("environment:/DATABASE_URL") as backend:
        holder.execute("lock table parley.settings in access share mode")
        pending = backend.to_apply(read_migrations(str(own_sources / "sql" / "migrations")))
        with pytest.raises(
            SystemExit, match=r"^0999_zoo: canceling statement due to lock timeout; nothing was changed$"
        ):
            backend.apply_migrations(pending)


def test_a_statement_that_takes_too_long_is_ended_with_a_readable_line(
    url: str, own_sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(url, own_sources)
    add_migration(own_sources, "create table public.zoo ();\nselect pg_sleep(60);")
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=500ms")
    with pytest.raises(AssertionError) as caught:
        apply(url, own_sources)
    said = str(caught.value)
    assert said.startswith("0999_zoo: canceling statement due to statement timeout; nothing was changed\n")
    assert "Traceback" not in said
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("select to_regclass('public.zoo')").fetchone() == (None,)


def test_a_deadlock_is_tried_again(url: str, own_sources: Path) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create sequence public.tries")
        add_migration(
            own_sources, "do $$ begin if nextval('public.tries') < 3 then raise sqlstate '40P01'; end if; end $$;"
        )
        apply(url, own_sources)
        assert connection.execute("select last_value from public.tries").fetchone() == (3,)
