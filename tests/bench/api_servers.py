"""An API on servers of its own, for benchmarks over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager

from api.dev.postgres import Postgres
from api.dev.valkey import Valkey
from tests.api_process import Api, running
from tests.servers import migrate, open_directory


@contextmanager
def running_api() -> Iterator[tuple[Api, Postgres]]:
    """Start an API without an effective rate limit; yield it with its PostgreSQL."""
    with (
        open_directory() as directory,
        Postgres(directory / "postgres") as postgres,
        Valkey(directory / "valkey") as redis,
    ):
        migrate(postgres)
        url = postgres.url("parley", "app", "app")
        with running(Api(directory, url, redis.url(), RATE_LIMIT_REQUESTS="1000000")) as api:
            yield api, postgres
