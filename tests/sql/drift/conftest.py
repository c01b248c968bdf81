"""A database in which tests cause drift, `parley db check` on it, and the execution of the lines that fix it."""

import itertools
import os
import subprocess
import sysconfig
from collections.abc import Callable, Iterator

import psycopg
import pytest

from api.admin import drift
from api.dev.postgres import Postgres
from tests import ROOT
from tests.database import Connection
from tests.sql.drift.support import Check, Checked, Fix


@pytest.fixture(scope="module")
def database(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> str:
    """The name of a database in which the tests of a file cause drift and fix it."""
    return new_database(f"parley_drift_{request.path.stem}")


@pytest.fixture(scope="module")
def dba_url(postgres: Postgres, database: str) -> str:
    """The URL of the database, for a DBA."""
    return postgres.url(database)


@pytest.fixture
def check(dba_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """A function that runs `parley db check` on the database."""
    monkeypatch.setenv("DATABASE_URL", dba_url)

    def run() -> Checked:
        status = drift.main()
        return Checked(status, capsys.readouterr().out)

    return run


@pytest.fixture
def dba(dba_url: str) -> Iterator[Connection]:
    """A DBA's connection to the database."""
    with psycopg.connect(dba_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def fix(postgres: Postgres, dba_url: str) -> Fix:
    """A function that runs the printed lines as a DBA would: SQL in psql, and lines after `$ ` in the shell."""
    folders = [str(postgres.get_program("psql").parent), sysconfig.get_path("scripts"), os.environ["PATH"]]
    environment = os.environ | {"DATABASE_URL": dba_url, "PATH": os.pathsep.join(folders)}
    psql = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", dba_url]

    def run(checked: Checked) -> None:
        for is_shell, lines in itertools.groupby(checked.fixes, lambda line: line.startswith("$ ")):
            text = "\n".join(line.removeprefix("$ ") for line in lines)
            done = subprocess.run(
                ["bash", "-e"] if is_shell else psql,
                input=text, cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr

    return run
