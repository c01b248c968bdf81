"""The servers that the tests of a worker share: one PostgreSQL, one Valkey, one API, each started on first use.

A test of SQL gets a connection whose work is rolled back. A test that must commit gets a database of its own, made
from a template, or users of its own in the shared one.
"""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import hypothesis
import psycopg
import pytest
from psycopg import sql

from api.dev import process
from api.dev.postgres import Postgres
from api.dev.valkey import Valkey
from tests.api.support import unlimited_client
from tests.api_process import Api, choose_long_window, running
from tests.database import Connection, connect_rolled_back
from tests.fork_server import ForkServer
from tests.servers import new_postgres, open_directory, yoyo

TEMPLATE = "parley_template"
SHARED_DIRECTORY = "PARLEY_TEST_SHARED_DIRECTORY"
MAX_WORKERS = 8  # more would start more servers than they save time
FIRST_WITH_SCRAM_ITERATIONS = 16  # of PostgreSQL's major versions
# The markers of all tests in a folder, and of those that request a fixture, if only by another one.
MARKERS = {
    "e2e": ["e2e"],
    "listener": ["e2e"],
    "new_api": ["e2e"],
    "own_sources": ["e2e"],
    "cluster": ["e2e"],
    "npm": ["e2e", "node"],
    "browser": ["browser"],
}
LOGINS = {"app": "parley_api", "events": "parley_listener", "web": "parley_web"}
QUICK = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_connections": "200"}

# An example that takes long, or is made slowly, is no failure: the machine has other work.
hypothesis.settings.register_profile("parley", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("parley")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run the tests of one file in this process, and those of more in a worker for each core."""
    files = {argument.partition("::")[0] for argument in config.args}
    is_one_file = len(files) == 1 and all(file.endswith(".py") for file in files)
    return 0 if is_one_file else min(os.cpu_count() or 1, MAX_WORKERS)


def pytest_configure(config: pytest.Config) -> None:
    """Make the directory that workers share, and let each choose from other ports.

    A server listens on a port a while after that was found free, when another worker may have found it too.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shared = TemporaryDirectory(prefix="parley-test-shared-")
        config.add_cleanup(shared.cleanup)
        os.environ[SHARED_DIRECTORY] = shared.name
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    size = len(process._ports) // workers  # of a range, since an API with two workers also listens on the next port
    process._ports[:] = random.sample(sorted(process._ports)[worker * size :][:size], size)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Set the markers. Run files with end-to-end tests first: they take longest, so no worker should end with one."""
    for item in items:
        fixtures: list[str] = getattr(item, "fixturenames", [])
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        for marker in {marker for name in (folder, *fixtures) for marker in MARKERS.get(name, ())}:
            item.add_marker(marker)
    first = {item.path for item in items if item.get_closest_marker("e2e")}
    items.sort(key=lambda item: item.path not in first)


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    """A directory for the files of the servers of this run."""
    with open_directory() as path:
        yield path


@pytest.fixture(scope="session")
def shared_directory() -> Path:
    """A directory that all workers of this run share."""
    return Path(os.environ[SHARED_DIRECTORY])


@pytest.fixture(scope="session")
def postgres(directory: Path) -> Iterator[Postgres]:
    """A PostgreSQL that may lose data in a crash, with logins for the API, the listener and the web app."""
    # Autovacuum would delay the analysts' views, and change plans by its statistics, at any moment.
    # One test prepares a transaction.
    with new_postgres(directory / "postgres", **QUICK, autovacuum="off", max_prepared_transactions="1") as server:
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute(f"create database {TEMPLATE}")
            if server.major >= FIRST_WITH_SCRAM_ITERATIONS:
                # By default a connection costs two milliseconds of hashing on each side.
                connection.execute("set scram_iterations = 1")
                connection.execute(f"alter role postgres password '{server.password}'")
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
    """A Valkey; tests are separated by their client addresses."""
    with Valkey(directory / "valkey") as server:
        yield server


@pytest.fixture(scope="session")
def new_database(postgres: Postgres) -> Callable[[str], str]:
    """Return a function that creates a migrated database of the given name, and returns the name.

    Databases are not dropped, because the server is deleted with all of them.
    """

    def create(name: str) -> str:
        names = [sql.Identifier(name), sql.Identifier(TEMPLATE)]
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("create database {} template {}").format(*names))
        return name

    return create


@pytest.fixture(scope="session")
def shared_database(new_database: Callable[[str], str]) -> str:
    """A database for tests that roll back or use only users of their own."""
    return new_database("parley_shared")


@pytest.fixture
def app(postgres: Postgres, shared_database: str) -> Iterator[Connection]:
    """A connection as the API's role, in a transaction that is rolled back."""
    with connect_rolled_back(postgres.url(shared_database, "app", "app")) as connection:
        yield connection


@pytest.fixture
def dba(postgres: Postgres, shared_database: str) -> Iterator[Connection]:
    """A connection as a superuser, in a transaction that is rolled back."""
    with connect_rolled_back(postgres.url(shared_database)) as connection:
        yield connection


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """A process that starts APIs and listeners in a fifth of the time."""
    with ForkServer() as server:
        yield server


@pytest.fixture(scope="session")
def new_api(directory: Path, postgres: Postgres, valkey: Valkey, fork_server: ForkServer) -> Callable[..., Api]:
    """Return a function that makes an API, not yet started, on a database; keywords are environment variables."""

    def make(database: str, **options: str) -> Api:
        api = Api(directory, postgres.url(database, "app", "app"), valkey.url(), **options)
        api.spawn = fork_server.spawn
        return api

    return make


@pytest.fixture(scope="session")
def api(directory: Path, postgres: Postgres, valkey: Valkey, shared_database: str) -> Iterator[Api]:
    """The API that tests share; each of its clients has its own address, and thus its own rate limit."""
    options = {
        "RATE_LIMIT_WINDOW": choose_long_window(),
        "PUSHER_KEY": "key",
        "PUSHER_SECRET": "secret",
        "ALLOWED_ORIGINS": "https://app.test, http://localhost:3000",
    }
    url = postgres.url(shared_database, "app", "app")
    with running(Api(directory, url, valkey.url(), **options)) as server:
        yield server


@pytest.fixture(scope="module")
def anonymous_client(api: Api) -> Iterator[httpx.Client]:
    """A client without a token and without an effective rate limit."""
    with unlimited_client(api, "") as client:
        yield client
