"""Packages from npm, the TypeScript client, and PgBouncer, that tests of several files share."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from api.dev.postgres import Postgres
from tests.e2e.npm import Npm
from tests.e2e.pgbouncer import SERVER_CONNECTIONS, NewBouncer, PgBouncer, pgbouncer_program, read_pgbouncer_ini
from tests.e2e.web_client import install_client

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
