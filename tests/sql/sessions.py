"""Several sessions of PostgreSQL at once, each statement of which commits."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg

from tests.database import Connection

WRITERS = 8


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection that commits each call."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def in_parallel(url: str, work: Callable[[Connection, int], None], times: int) -> None:
    """Does the work so many times on WRITERS connections at once; raises what it raised."""

    def one(n: int) -> None:
        with connected(url) as connection:
            work(connection, n)

    with ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(one, range(times)))


def is_waiting(observer: Connection, waiting: Connection) -> bool:
    """Whether a session waits for a lock."""
    row = observer.execute("select cardinality(pg_blocking_pids(%s)) > 0", [waiting.info.backend_pid]).fetchone()
    return row == (True,)
