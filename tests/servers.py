"""PostgreSQL for tests: servers, replicas and migrations."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from api.dev.account import find_account
from api.dev.postgres import Postgres
from api.dev.process import run
from tests import ROOT


@contextmanager
def open_directory() -> Iterator[Path]:
    """A temporary directory that other users may search, unlike those of pytest."""
    path = Path(tempfile.mkdtemp(prefix="parley-test-"))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def new_postgres(directory: Path, **settings: str) -> Postgres:
    """Make a PostgreSQL from the wheel, or from the programs in the directory PARLEY_TEST_POSTGRES."""
    if programs := os.environ.get("PARLEY_TEST_POSTGRES"):
        return Postgres(directory, settings=settings, bin_dir=Path(programs))
    return Postgres(directory, settings=settings)


def new_replica(directory: Path, primary: Postgres, **settings: str) -> Postgres:
    """Make a streaming replica of a running PostgreSQL, not yet started. Files in its directory are deleted."""
    replica = new_postgres(directory, **settings)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    (directory / "password").write_text(primary.password)
    command: list[str | Path] = [primary.get_program("pg_basebackup"), "-R", "--checkpoint=fast", "-D", replica.data]
    run(
        "pg_basebackup",
        [*command, "-d", primary.url("postgres")],
        seconds=60,
        log=replica.log,
    )
    if account := find_account():
        for path in (directory, *directory.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid)
    return replica


def yoyo(database_url: str, *arguments: str) -> str:
    """Run `yoyo …` on a database as a DBA does; return its output."""
    environment = os.environ | {"DATABASE_URL": database_url}
    command = [sys.executable, "-m", "yoyo", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def migrate(server: Postgres) -> None:
    """Create the migrated database `parley`, and the login roles `app` of the API and `events` of the listener."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as dba:
        dba.execute("create database parley")
        yoyo(server.url("parley"), "apply", "--batch")
        dba.execute("create role app login password 'app' in role parley_api")
        dba.execute("create role events login password 'events' in role parley_listener")
