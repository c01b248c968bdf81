"""A Pusher server for the listener's tests, and for each test a database and a listener on both."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from api.dev.postgres import Postgres
from api.dev.pusher_process import PusherProcess
from listener.settings import Settings
from tests.database import Connection
from tests.fork_server import ForkServer
from tests.listener.process import Listener
from tests.tokens import new_user


@pytest.fixture(scope="session")
def pusher(directory: Path) -> Iterator[PusherProcess]:
    """A Pusher server."""
    with PusherProcess(directory / "pusher") as server:
        yield server


@dataclass
class Harness:
    """A database for one test, an autocommit connection to it as a superuser, and listeners for it."""

    directory: Path
    url: str
    dba_url: str
    dba: Connection
    pusher: PusherProcess
    fork_server: ForkServer

    def new_listener(self, pusher: PusherProcess | None = None, **options: str) -> Listener:
        """Return a listener, not yet started."""
        created = Listener(self.directory, self.url, pusher or self.pusher, **options)
        created.spawn_child = self.fork_server.spawn
        return created

    def settings(self, pusher: PusherProcess | None = None) -> Settings:
        """Return the settings of such a listener."""
        variables = {name.lower(): value for name, value in self.new_listener(pusher).environment.items()}
        return Settings.model_validate(
            {name: value for name, value in variables.items() if name in Settings.model_fields}
        )

    def count_queued(self) -> int:
        """Return the number of events in the queue, which are not acknowledged yet."""
        row = self.dba.execute("select count(*) from parley.outbox_queue").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def harness(
    directory: Path,
    postgres: Postgres,
    new_database: Callable[[str], str],
    pusher: PusherProcess,
    fork_server: ForkServer,
) -> Iterator[Harness]:
    name = new_database(f"parley_{new_user().replace('-', '_')}")
    with psycopg.connect(postgres.url(name), autocommit=True) as dba:
        yield Harness(directory, postgres.url(name, "events", "events"), postgres.url(name), dba, pusher, fork_server)
