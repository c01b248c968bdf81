"""Several sessions of PostgreSQL at once, each statement of which commits."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg

from tests.database import Connection

WRITERS = 8


@contextmanager
def connect_autocommit(url: str) -> Iterator[Connection]:
    """Connect; each statement commits."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def run_in_parallel(url: str, work: Callable[[Connection, int], None], times: int) -> None:
    """Call `work` with a connection and each number below `times`, on WRITERS connections at once; raise its errors."""

    def work_once(n: int) -> None:
        with connect_autocommit(url) as connection:
            work(connection, n)

    with ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(work_once, range(times)))


def is_waiting(observer: Connection, session: Connection) -> bool:
    """Return whether a session waits for a lock."""
    row = observer.execute("select cardinality(pg_blocking_pids(%s)) > 0", [session.info.backend_pid]).fetchone()
    return row == (True,)
