"""The servers of Parley as processes that are killed and restarted."""

import contextlib
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from api.dev.postgres import Postgres
from api.dev.pusher_process import PusherProcess
from api.dev.valkey import Valkey
from tests.api_process import Api
from tests.e2e.recording_proxy import RecordingProxy
from tests.e2e.soketi import Soketi
from tests.listener.process import LEADER_LOG, Listener
from tests.servers import migrate, new_postgres, open_directory

VICTIMS = ("postgres", "pusher", "listener", "api")  # in the order in which they are restarted
UNEXPECTED_LINE = re.compile(r'Traceback|Warning:|"level": "(critical|error)"|ead-lettered')


@dataclass
class Kill:
    """A kill: the time from which the victim may have been dead, and the time of its restart."""

    victim: str
    at: float
    until: float = float("inf")


class SupervisedListener(Listener):
    """A listener that is restarted as by a service manager, and whose logs are kept."""

    def __init__(self, directory: Path, database_url: str, pusher: PusherProcess, **options: str) -> None:
        super().__init__(directory, database_url, pusher, **options)
        self.logs: list[Path] = []

    def restart(self) -> None:
        """Restart it if it has ended, as it does if the database is down at its start; return at once."""
        if self.child is None or self.child.exit_code is not None:
            self.kill()
            self.log = self.log.with_name(f"listener-{len(self.logs)}.log")
            self.logs.append(self.log)
            self.spawn()

    def find_unexpected_lines(self) -> list[str]:
        """Return the lines of its logs that it must never write."""
        return [line for log in self.logs for line in log.read_text().splitlines() if UNEXPECTED_LINE.search(line)]


@dataclass
class Servers:
    """The servers that are killed; `kills` records each kill."""

    postgres: Postgres
    pusher: PusherProcess
    listener: SupervisedListener
    api: Api
    kills: list[Kill] = field(default_factory=list)

    def kill(self, victim: str) -> None:
        """Send SIGKILL; without effect if it has ended."""
        self.kills.append(Kill(victim, time.monotonic()))
        if victim == "postgres":
            self._kill_postgres()
        else:
            getattr(self, victim).kill()

    def _kill_postgres(self) -> None:
        # Kill all processes, as a power failure does: the remaining ones would complete their work.
        children = psutil.Process(self.postgres.child.pid).children() if self.postgres.child else []
        self.postgres.kill()
        for process in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def restart(self) -> None:
        """Restart killed servers; return when all but the listener are ready."""
        for victim in VICTIMS:
            server = getattr(self, victim)
            if victim == "listener":
                server.restart()
            elif server.child is None:
                server.start()
            for kill in self.kills:
                if kill.victim == victim:
                    kill.until = min(kill.until, time.monotonic())


@contextmanager
def running_servers(soketi: Path | None) -> Iterator[tuple[Servers, RecordingProxy]]:
    """Start all servers; PostgreSQL has its default settings, and thus fsync."""
    with ExitStack() as stack:
        directory = stack.enter_context(open_directory())
        valkey = stack.enter_context(Valkey(directory / "valkey"))
        postgres = stack.enter_context(new_postgres(directory / "postgres"))
        pusher = stack.enter_context(
            Soketi(directory / "pusher", soketi / "node_modules") if soketi else PusherProcess(directory / "pusher")
        )
        proxy = stack.enter_context(RecordingProxy(pusher))
        migrate(postgres)
        url = postgres.url("parley", "events", "events")
        listener = SupervisedListener(directory, url, pusher, PUSHER_PORT=str(proxy.port))
        api = Api(directory, postgres.url("parley", "app", "app"), valkey.url(), RATE_LIMIT_REQUESTS="1000000000")
        stack.callback(api.kill)
        stack.callback(listener.kill)
        servers = Servers(postgres, pusher, listener, api)
        servers.restart()
        listener.wait_for_log(LEADER_LOG)
        yield servers, proxy
