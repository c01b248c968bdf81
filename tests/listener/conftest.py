"""A Pusher server for the listener's tests, and for each test a database and a listener on both."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from api.dev.postgres import Postgres
from api.dev.pusher_process import Pusher
from listener.settings import Settings
from tests.database import Connection
from tests.fork_server import ForkServer
from tests.listener.support import Listener
from tests.tokens import new_user


@pytest.fixture(scope="session")
def pusher(directory: Path) -> Iterator[Pusher]:
    """A Pusher server."""
    with Pusher(directory / "pusher") as server:
        yield server


@dataclass
class Stage:
    """A database of the test's own, and a connection to it as a superuser that commits each statement."""

    directory: Path
    url: str
    dba_url: str
    dba: Connection
    pusher: Pusher
    fork_server: ForkServer

    def listener(self, pusher: Pusher | None = None, **options: str) -> Listener:
        """Make a listener, not yet started."""
        listener = Listener(self.directory, self.url, pusher or self.pusher, **options)
        listener.spawn_child = self.fork_server.spawn
        return listener

    def settings(self, pusher: Pusher | None = None) -> Settings:
        """The settings of such a listener."""
        names = {name.lower(): value for name, value in self.listener(pusher).environment.items()}
        return Settings.model_validate({name: value for name, value in names.items() if name in Settings.model_fields})

    def waiting(self) -> int:
        """How many events are not known to be published."""
        row = self.dba.execute("select count(*) from parley.outbox_queue").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def stage(
    directory: Path, postgres: Postgres, new_database: Callable[[str], str], pusher: Pusher, fork_server: ForkServer
) -> Iterator[Stage]:
    name = new_database(f"parley_{new_user().replace('-', '_')}")
    with psycopg.connect(postgres.url(name), autocommit=True) as dba:
        yield Stage(directory, postgres.url(name, "events", "events"), postgres.url(name), dba, pusher, fork_server)
