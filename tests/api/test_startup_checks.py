"""Checks before the start: a database, storage or port that cannot be used is reported in one line without secrets."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from api.dev.postgres import Postgres
from api.dev.process import ChildProcess
from api.settings import Settings
from api.shared.settings import SettingsError
from api.startup_checks import check_database, check_metrics, check_storage, get_file_system
from tests import ROOT
from tests.api.support import HIDDEN
from tests.api_process import Api, running

pytestmark = pytest.mark.usefixtures("minimal_environment")

IN_MEMORY = "/dev/shm"  # noqa: S108 (no file is created by name)


def database_error(url: str) -> str:
    """Return the error of a check of this database, which must be one line."""
    os.environ["DATABASE_URL"] = url
    with pytest.raises(SettingsError) as caught:
        asyncio.run(check_database(Settings.load()))
    message = str(caught.value)
    assert message.startswith("DATABASE_URL: ")
    assert "\n" not in message
    assert HIDDEN not in message
    return message


@contextmanager
def login(postgres: Postgres, name: str, *options: str) -> Iterator[None]:
    """Create a login role for the duration of a block."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        dba.execute(f"create role {name} login password '{HIDDEN}' {' '.join(options)}")
        try:
            yield
        finally:
            dba.execute(f"drop role {name}")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{HIDDEN}@127.0.0.1:1/db",
        f"postgresql://u:{HIDDEN}@[::1]:1/db",
        f"postgresql://u:{HIDDEN}@/db?host=/no/such/directory",
    ],
)
def test_unavailable_database_is_reported(url: str) -> None:
    assert "no connection to PostgreSQL" in database_error(url)


def test_rejected_login_is_reported(postgres: Postgres, shared_database: str) -> None:
    for url in (postgres.url(shared_database, "app", HIDDEN), postgres.url("no_such_database", "app", "app")):
        assert "no connection to PostgreSQL" in database_error(url)


def test_database_without_parley_is_rejected(postgres: Postgres) -> None:
    assert "yoyo apply" in database_error(postgres.url("postgres"))


def test_role_without_the_grant_is_rejected(postgres: Postgres, shared_database: str) -> None:
    with login(postgres, "app_ungranted"):
        assert "grant it parley_api" in database_error(postgres.url(shared_database, "app_ungranted", HIDDEN))


@pytest.mark.parametrize("attribute", ["superuser", "bypassrls"])
def test_role_that_bypasses_row_level_security_is_rejected(
    postgres: Postgres, shared_database: str, attribute: str
) -> None:
    with login(postgres, "app_unbound", attribute, "in role parley_api"):
        message = database_error(postgres.url(shared_database, "app_unbound", HIDDEN))
    assert "row-level security does not bind the role app_unbound" in message


def test_owner_of_a_table_is_rejected(postgres: Postgres, new_database: Callable[[str], str]) -> None:
    database = new_database("parley_owned")
    connection = psycopg.connect(postgres.url(database), autocommit=True)
    with login(postgres, "app_owner", "in role parley_api"), connection as dba:
        dba.execute("alter table parley.settings owner to app_owner")
        message = database_error(postgres.url(database, "app_owner", HIDDEN))
        dba.execute("alter table parley.settings owner to postgres")
    assert "row-level security does not bind the role app_owner" in message


def test_database_without_the_functions_of_its_migrations_is_rejected(
    postgres: Postgres, new_database: Callable[[str], str]
) -> None:
    database = new_database("parley_rolled_back_start")
    with psycopg.connect(postgres.url(database), autocommit=True) as dba:
        dba.execute("delete from parley.repeatable_migrations")  # as a rollback does
    assert database_error(postgres.url(database, "app", "app")) == (
        "DATABASE_URL: the functions are not those of the applied migrations: run yoyo apply --batch"
    )


def test_unwritable_storage_directory_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/below")):
        monkeypatch.setenv("STORAGE_URL", f"file://{path}")
        with pytest.raises(SettingsError) as caught:
            check_storage(Settings.load())
        assert str(caught.value).startswith(f"STORAGE_URL: can't write to {path}: ")


def test_storage_directory_is_created(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    paths = {"file://./a b": "a b", f"file://{tmp_path}/c%20d/e": "c d/e", "": ".parley/images"}
    for url, path in paths.items():
        monkeypatch.setenv("STORAGE_URL", url)
        check_storage(Settings.load())
        assert (tmp_path / path).is_dir()


def test_each_worker_needs_its_own_metrics_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKERS", "2")
    for port, of_metrics, words in (
        (8000, 7999, "8000, which a worker needs, is PORT"),
        (8000, 65_535, "65536, which a worker needs, is no port"),
    ):
        monkeypatch.setenv("PORT", str(port))
        monkeypatch.setenv("METRICS_PORT", str(of_metrics))
        with pytest.raises(SettingsError, match=f"METRICS_PORT: .*{words}"):
            check_metrics(Settings.load())


def test_process_ends_with_one_line_that_names_all_errors(new_api: Callable[..., Api], shared_database: str) -> None:
    wrong = {"REDIS_URL": "", "NEXTAUTH_SECRET": HIDDEN, "PORT": "x"}
    environment = new_api(shared_database, **wrong).environment
    command = [sys.executable, "-m", "api"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("parley: ")
    assert done.stderr.count("\n") == 1
    assert HIDDEN not in done.stderr
    for name in wrong:
        assert f"{name}: " in done.stderr or f"{name} or AUTH_SECRET: " in done.stderr


def test_unusable_temporary_directory_is_named(
    new_api: Callable[..., Api], shared_database: str, tmp_path: Path
) -> None:
    api = new_api(shared_database, TMPDIR=str(tmp_path / "missing"))
    assert api.fail_to_start() == f"parley: TMPDIR: can't write to {tmp_path / 'missing'}"


@pytest.mark.skipif(not os.access(IN_MEMORY, os.W_OK), reason="no directory is in memory")
def test_uploads_in_memory_are_logged(new_api: Callable[..., Api], shared_database: str) -> None:
    api = new_api(shared_database, TMPDIR=IN_MEMORY)
    api.spawn = ChildProcess  # the fork server has chosen its temporary directory already
    with running(api):
        assert f"Uploads in progress are kept in memory, in {IN_MEMORY}" in api.log.read_text()
    assert get_file_system(Path("/proc/self")) == "proc"
