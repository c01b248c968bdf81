"""The servers that tests share: one PostgreSQL, one Valkey, one API, each started when a test first asks for it.

A test of SQL gets a connection whose work is rolled back. A test that must commit gets a database of its own, made
from a template, or users of its own in the shared one.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import hypothesis
import psycopg
import pytest
from pytest_postgresql.janitor import DatabaseJanitor

from api.dev.postgres import Postgres
from api.dev.valkey import Valkey
from tests.api.support import unlimited
from tests.support import Api, Connection, long_window, new_postgres, open_directory, rolled_back, running, yoyo

TEMPLATE = "parley_template"
LOGINS = {"app": "parley_api", "events": "parley_listener", "web": "parley_web"}
QUICK = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_connections": "200"}

# An example that takes long, or is made slowly, is no failure: the machine has other work.
hypothesis.settings.register_profile("parley", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("parley")


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    """Where the servers of this run have their files."""
    with open_directory() as path:
        yield path


@pytest.fixture(scope="session")
def postgres(directory: Path) -> Iterator[Postgres]:
    """A PostgreSQL that may lose data in a crash, with logins for the API, the listener and the web app."""
    # Autovacuum would hold the analysts' views back, and change plans by its statistics, at any moment.
    with new_postgres(directory / "postgres", **QUICK, autovacuum="off") as server:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute(f"create database {TEMPLATE}")
            for role in LOGINS:
                connection.execute(f"create role {role} login password '{role}'")
            connection.execute("alter role web set search_path = next_auth")
        yoyo(server.url(TEMPLATE), "apply", "--batch")
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            for role, granted in LOGINS.items():
                connection.execute(f"grant {granted} to {role}")
        yield server


@pytest.fixture(scope="session")
def valkey(directory: Path) -> Iterator[Valkey]:
    """A Valkey; tests keep apart by their addresses."""
    with Valkey(directory / "valkey") as server:
        yield server


@pytest.fixture(scope="session")
def new_database(postgres: Postgres) -> Iterator[Callable[[str], str]]:
    """Makes a migrated database of the given name and answers the name."""
    with ExitStack() as stack:

        def make(name: str) -> str:
            stack.enter_context(
                DatabaseJanitor(
                    user="postgres",
                    password=postgres.password,
                    host="127.0.0.1",
                    port=postgres.port,
                    dbname=name,
                    template_dbname=TEMPLATE,
                )
            )
            return name

        yield make


@pytest.fixture(scope="session")
def shared_database(new_database: Callable[[str], str]) -> str:
    """The database of the tests that roll back or keep to their own users."""
    return new_database("parley_shared")


@pytest.fixture
def app(postgres: Postgres, shared_database: str) -> Iterator[Connection]:
    """A connection as the API's role, in a transaction that is rolled back."""
    with rolled_back(postgres.url(shared_database, "app", "app")) as connection:
        yield connection


@pytest.fixture
def dba(postgres: Postgres, shared_database: str) -> Iterator[Connection]:
    """A connection as a superuser, in a transaction that is rolled back."""
    with rolled_back(postgres.url(shared_database)) as connection:
        yield connection


@pytest.fixture(scope="session")
def new_api(directory: Path, postgres: Postgres, valkey: Valkey) -> Callable[..., Api]:
    """Makes an API, not yet started, on a database; keywords are further environment variables."""

    def make(database: str, **options: str) -> Api:
        return Api(directory, postgres.url(database, "app", "app"), valkey.url(), **options)

    return make


@pytest.fixture(scope="session")
def api(new_api: Callable[..., Api], shared_database: str) -> Iterator[Api]:
    """The API that tests share; each client of it has an address, and so a budget, of its own, for hours."""
    options = {
        "RATE_LIMIT_WINDOW": long_window(),
        "PUSHER_KEY": "key",
        "PUSHER_SECRET": "secret",
        "ALLOWED_ORIGINS": "https://app.test, http://localhost:3000",
    }
    with running(new_api(shared_database, **options)) as server:
        yield server


@pytest.fixture(scope="module")
def nobody(api: Api) -> Iterator[httpx.Client]:
    """A client without a token, that no limit stops."""
    with unlimited(api, "") as client:
        yield client
