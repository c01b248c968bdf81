"""Time-outs of migrations: their values, and locks and statements that exceed them."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from yoyo import get_backend, read_migrations

from api.admin import migrations
from tests.database import Connection, call
from tests.servers import yoyo
from tests.sql.migration_files import add_migration, apply
from tests.tokens import new_user
from tests.waiting import wait_until

STORE_TIMEOUTS = (
    "create table public.zoo as select current_setting('lock_timeout') a, current_setting('statement_timeout') b;"
)
ADD_COLUMN = "alter table parley.settings add column zoo int;"


def read_timeouts(connection: Connection) -> tuple[str, ...]:
    """Return lock_timeout and statement_timeout as STORE_TIMEOUTS found them."""
    row = connection.execute("select * from public.zoo").fetchone()
    assert row
    return tuple(row)


def has_waiter(connection: Connection) -> bool:
    """Return whether a session waits for a lock on parley.settings."""
    query = "select from pg_locks where not granted and relation = 'parley.settings'::regclass"
    return connection.execute(query).rowcount > 0


@pytest.mark.parametrize(
    ("directive", "expected"), [("", ("400ms", "15min")), ("-- transactional: false\n", ("30s", "4h"))]
)
def test_migration_has_timeouts(url: str, own_sources: Path, directive: str, expected: tuple[str, str]) -> None:
    add_migration(own_sources, directive + STORE_TIMEOUTS)
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        assert read_timeouts(connection) == expected


def test_migration_after_a_non_transactional_one_has_its_own_timeouts(url: str, own_sources: Path) -> None:
    add_migration(own_sources, "-- transactional: false\nselect 1;", "0998_giraffe.sql")
    add_migration(own_sources, f"-- depends: 0998_giraffe\n{STORE_TIMEOUTS}")
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        assert read_timeouts(connection) == ("400ms", "15min")


def test_rollback_has_timeouts(url: str, own_sources: Path) -> None:
    add_migration(own_sources, "select 1;")
    (own_sources / "sql" / "migrations" / "0999_zoo.rollback.sql").write_text(STORE_TIMEOUTS)
    apply(url, own_sources)
    yoyo(url, "rollback", "--batch", "--revision", "0999_zoo", "--config", str(own_sources / "yoyo.ini"))
    with psycopg.connect(url, autocommit=True) as connection:
        assert read_timeouts(connection) == ("400ms", "15min")


@pytest.mark.parametrize("directive", ["", "-- transactional: false\n"])
def test_timeouts_of_the_session_take_precedence(
    url: str, own_sources: Path, directive: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c lock_timeout=70ms -c statement_timeout=2h")
    add_migration(own_sources, directive + STORE_TIMEOUTS)
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        assert read_timeouts(connection) == ("70ms", "2h")


def test_timeouts_of_the_role_take_precedence_and_those_of_the_database_do_not(url: str, own_sources: Path) -> None:
    apply(url, own_sources)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("alter database parley_migrations set statement_timeout = '10s'")
        connection.execute("alter role postgres in database parley_migrations set lock_timeout = '300ms'")
        add_migration(own_sources, STORE_TIMEOUTS)
        apply(url, own_sources)
        assert read_timeouts(connection) == ("300ms", "15min")


def test_migration_that_waits_for_a_lock_blocks_no_request_and_is_retried(url: str, own_sources: Path) -> None:
    apply(url, own_sources)
    add_migration(own_sources, ADD_COLUMN)
    user = new_user()
    with (
        psycopg.connect(url, autocommit=True) as holder,
        psycopg.connect(url, autocommit=True, options="-c statement_timeout=1s") as request,
        psycopg.connect(url, autocommit=True) as observer,
        ThreadPoolExecutor(1) as thread,
    ):
        call(request, user, "get_settings")
        with holder.transaction():
            holder.execute("lock table parley.settings in access share mode")
            applied: Future[None] = thread.submit(apply, url, own_sources)
            for _ in range(3):
                wait_until(lambda: has_waiter(observer))
                call(request, user, "get_settings")
                wait_until(lambda: not has_waiter(observer))
            assert not applied.done()
        applied.result(60)
        assert "zoo" in {column.name for column in request.execute("select * from parley.settings").description or ()}


def test_lock_timeout_ends_a_non_transactional_migration(
    url: str, own_sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(url, own_sources)
    add_migration(own_sources, f"-- transactional: false\n{ADD_COLUMN}")
    monkeypatch.setenv("PGOPTIONS", "-c lock_timeout=50ms")
    with psycopg.connect(url) as holder:
        holder.execute("lock table parley.settings in access share mode")
        with pytest.raises(AssertionError) as caught:
            apply(url, own_sources)
    message = str(caught.value)
    assert message.startswith("0999_zoo: canceling statement due to lock timeout; earlier steps are committed\n")
    assert "Traceback" not in message


def test_lock_timeout_ends_a_migration_after_the_last_retry(
    url: str, own_sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(url, own_sources)
    add_migration(own_sources, ADD_COLUMN)
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setattr(migrations, "MAX_ATTEMPTS", 2)
    with psycopg.connect(url) as holder, get_backend("environment:/DATABASE_URL") as backend:
        holder.execute("lock table parley.settings in access share mode")
        pending = backend.to_apply(read_migrations(str(own_sources / "sql" / "migrations")))
        with pytest.raises(
            SystemExit, match=r"^0999_zoo: canceling statement due to lock timeout; nothing was changed$"
        ):
            backend.apply_migrations(pending)


def test_statement_timeout_is_reported_in_one_line(
    url: str, own_sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(url, own_sources)
    add_migration(own_sources, "create table public.zoo ();\nselect pg_sleep(60);")
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=500ms")
    with pytest.raises(AssertionError) as caught:
        apply(url, own_sources)
    message = str(caught.value)
    assert message.startswith("0999_zoo: canceling statement due to statement timeout; nothing was changed\n")
    assert "Traceback" not in message
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("select to_regclass('public.zoo')").fetchone() == (None,)


def test_migration_is_retried_after_a_deadlock(url: str, own_sources: Path) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create sequence public.tries")
        add_migration(
            own_sources, "do $$ begin if nextval('public.tries') < 3 then raise sqlstate '40P01'; end if; end $$;"
        )
        apply(url, own_sources)
        assert connection.execute("select last_value from public.tries").fetchone() == (3,)
