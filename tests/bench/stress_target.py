"""The target of tests.bench.stress: an API with one worker, its data, and processes that send requests to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import psycopg

from api.dev.process import find_free_port
from api.dev.valkey import Valkey
from tests.api_process import Api, running, scrape
from tests.bench.contenders import new_parley
from tests.bench.dataset import Dataset, load_dataset, user_id
from tests.bench.load_generator import Load, StartLoad, build_request, load_processes
from tests.bench.workloads import WORKLOADS, build_requests
from tests.database import call, new_chat
from tests.tokens import token

PROCESSES = 4  # that send requests
READERS = 4  # connections
MIB = 1024 * 1024
PAGE, SEND, SEARCH = WORKLOADS


@dataclass(frozen=True)
class Target:
    """A running API under load."""

    data: Dataset
    api: Api
    start_load: StartLoad
    process: psutil.Process
    page: bytes  # a request whose response has 3 MB

    @property
    def rss(self) -> float:
        """The memory of the API's process, in MiB."""
        return self.process.memory_info().rss / MIB

    @property
    def largest_backend(self) -> float:
        """The memory of the largest backend that serves the API, without shared memory, in MiB."""
        with psycopg.connect(self.data.postgres.url("parley")) as dba:
            pids = dba.execute("select pid from pg_stat_activity where usename = 'app'").fetchall()
        memory = [psutil.Process(pid).memory_info() for (pid,) in pids]
        return max(each.rss - getattr(each, "shared", 0) for each in memory) / MIB

    def connections(self, state: str) -> float:
        """Return the number of the API's connections to PostgreSQL in a state."""
        port = int(self.api.environment["METRICS_PORT"])
        return scrape(port, "parley_database_connections", server="primary", state=state)

    def reads(self, seed: int, seconds: float) -> Load:
        """Return a load of reads."""
        return Load(self.api.port, build_requests(self.data, PAGE, seed), READERS, seconds)


@contextmanager
def running_target(scale: float) -> Iterator[Target]:
    """Start an API with one worker, and load its data."""
    with (
        load_processes(PROCESSES) as start_load,
        load_dataset(scale) as data,
        Valkey(data.directory / "valkey") as valkey,
    ):
        with psycopg.connect(data.postgres.url("parley"), autocommit=True) as dba:
            chat = new_chat(dba, user_id(0))
            for _ in range(100):
                call(dba, user_id(0), "send_message", chat, {"content": "x" * 32_768})
        api = new_parley(data, valkey, workers=1)
        api.environment["METRICS_PORT"] = str(find_free_port())
        page = build_request("GET", f"/api/chats/{chat}/messages?limit=100", token(user_id(0)))
        with running(api):
            assert api.child
            yield Target(data, api, start_load, psutil.Process(api.child.pid), page)
