"""Packages from npm, the TypeScript client and its example, Chromium and PgBouncer, which several files share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from api.dev.postgres import Postgres
from tests.api_process import Api
from tests.e2e.chromium import Chromium
from tests.e2e.example_app import Example, build_example, running_example
from tests.e2e.npm import Npm
from tests.e2e.pgbouncer import SERVER_CONNECTIONS, NewBouncer, PgBouncer, pgbouncer_program, read_pgbouncer_ini
from tests.e2e.pusher_js import Servers, running_servers
from tests.e2e.web_client import install_client
from tests.servers import open_directory

PACKAGES = {"pusher-js": "8.6.0", "@soketi/soketi": "1.6.1"}
# soketi asks for a version that npm does not have.
OVERRIDES = {"uWebSockets.js": "npm:@trufflesuite/uws-js-unofficial@20.30.0-unofficial.0"}


@pytest.fixture(scope="session")
def npm(shared_directory: Path) -> Npm:
    """npm; skips the test where it is not installed, or where a package cannot be had."""
    return Npm(shared_directory)


@pytest.fixture(scope="session")
def modules(npm: Npm) -> Path:
    """A directory `node_modules` with pusher-js and soketi."""
    return npm.install(PACKAGES, OVERRIDES)


@pytest.fixture(scope="session")
def web_client(npm: Npm) -> Path:
    """A copy of the TypeScript client and its example, with their packages."""
    return install_client(npm)


@pytest.fixture(scope="session")
def example_build(web_client: Path) -> Path:
    """The same copy, with the client and the example built."""
    return build_example(web_client)


@pytest.fixture(scope="session")
def browser(npm: Npm) -> Iterator[Chromium]:
    """Chromium; skips the test where it is not installed."""
    with Chromium(npm) as opened:
        yield opened


@pytest.fixture(scope="module")
def module_example(
    browser: Chromium,
    example_build: Path,
    postgres: Postgres,
    new_database: Callable[[str], str],
    new_api: Callable[..., Api],
    request: pytest.FixtureRequest,
) -> Iterator[Example]:
    """The example app, with servers and a database of the module."""
    name = request.module.__name__.rpartition(".")[2]
    with open_directory() as directory:
        database = new_database(f"parley_{name}")
        with running_example(example_build, browser, directory, postgres, database, new_api) as example:
            yield example


@pytest.fixture
def example(module_example: Example) -> Iterator[Example]:
    """The example app; the tabs that a test opens are closed after it."""
    with module_example.stack:
        yield module_example


@pytest.fixture(scope="module")
def new_bouncer(directory: Path, postgres: Postgres) -> Iterator[NewBouncer]:
    """Start a PgBouncer with the README's configuration and fewer connections to PostgreSQL than an API has to it."""
    with pgbouncer_program() as executable, ExitStack() as stack:

        def start(name: str, **options: str) -> PgBouncer:
            options = {"default_pool_size": str(SERVER_CONNECTIONS)} | options
            path = directory / f"pgbouncer-{name}"
            return stack.enter_context(
                PgBouncer(path, executable, postgres, ["app", "events"], read_pgbouncer_ini(), **options)
            )

        yield start


@pytest.fixture(scope="module", params=["ours", "soketi"])
def module_servers(
    request: pytest.FixtureRequest,
    directory: Path,
    modules: Path,
    postgres: Postgres,
    new_database: Callable[[str], str],
    new_api: Callable[..., Api],
) -> Iterator[Servers]:
    """The local Pusher server or soketi, with an API, a listener and a database of the module."""
    name = request.module.__name__.rpartition(".")[2]
    path = directory / f"{name}-{request.param}"
    with running_servers(request.param, path, modules, postgres, new_database, new_api) as servers:
        yield servers


@pytest.fixture
def servers(module_servers: Servers) -> Iterator[Servers]:
    """The servers; what a test opens is closed after it."""
    with module_servers.stack:
        yield module_servers
