"""What tests.bench.stress measures: an API with one worker, its data, and the processes that send requests to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import psycopg

from api.dev.process import find_free_port
from api.dev.valkey import Valkey
from tests.api_process import Api, running, scrape
from tests.bench.clients import Load, Start, apart, request
from tests.bench.contenders import parley
from tests.bench.dataset import Data, loaded, user_id
from tests.bench.workloads import WORKLOADS, requests
from tests.database import call, new_chat
from tests.tokens import token

PROCESSES = 4  # of clients
READERS = 4
MIB = 1024 * 1024
PAGE, SEND, SEARCH = WORKLOADS


@dataclass(frozen=True)
class Site:
    """What is strained."""

    data: Data
    api: Api
    start: Start
    process: psutil.Process
    page: bytes  # a request for 3 MB

    @property
    def rss(self) -> float:
        """MiB of memory of the API's process."""
        return self.process.memory_info().rss / MIB

    @property
    def backend(self) -> float:
        """MiB of the largest of the API's connections in PostgreSQL, without what all share."""
        with psycopg.connect(self.data.postgres.url("parley")) as dba:
            pids = dba.execute("select pid from pg_stat_activity where usename = 'app'").fetchall()
        memory = [psutil.Process(pid).memory_info() for (pid,) in pids]
        return max(each.rss - getattr(each, "shared", 0) for each in memory) / MIB

    def connections(self, state: str) -> float:
        """To PostgreSQL."""
        port = int(self.api.environment["METRICS_PORT"])
        return scrape(port, "parley_database_connections", server="primary", state=state)

    def reads(self, seed: int, seconds: float) -> Load:
        return Load(self.api.port, requests(self.data, PAGE, seed), READERS, seconds)


@contextmanager
def site(scale: float) -> Iterator[Site]:
    """The API with one worker, and the data."""
    with apart(PROCESSES) as start, loaded(scale) as data, Valkey(data.directory / "valkey") as valkey:
        with psycopg.connect(data.postgres.url("parley"), autocommit=True) as dba:
            chat = new_chat(dba, user_id(0))
            for _ in range(100):
                call(dba, user_id(0), "send_message", chat, {"content": "x" * 32_768})
        api = parley(data, valkey, workers=1)
        api.environment["METRICS_PORT"] = str(find_free_port())
        page = request("GET", f"/api/chats/{chat}/messages?limit=100", token(user_id(0)))
        with running(api):
            assert api.child
            yield Site(data, api, start, psutil.Process(api.child.pid), page)
