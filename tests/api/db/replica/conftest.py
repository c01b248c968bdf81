"""One cluster, and two APIs on it, for all tests of reads from a replica."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.dev.valkey import Valkey
from tests.api.db.replica.cluster import QUICK, Cluster, uses_replica
from tests.api_process import Api, running
from tests.servers import migrate, new_postgres, new_replica
from tests.waiting import wait_until


@pytest.fixture(scope="package")
def cluster(directory: Path) -> Iterator[Cluster]:
    with (
        new_postgres(directory / "primary", **QUICK) as primary,
        Valkey(directory / "valkey-recent-writes") as valkey,
    ):
        migrate(primary)
        with new_replica(directory / "replica", primary, **QUICK) as replica:
            yield Cluster(directory, primary, replica, valkey)


@pytest.fixture(scope="package")
def apis(cluster: Cluster) -> Iterator[tuple[Api, Api]]:
    with running(cluster.new_api()) as one, running(cluster.new_api()) as other:
        yield one, other


@pytest.fixture
def api(apis: tuple[Api, Api]) -> Api:
    """One of the two APIs, both of which use the replica now."""
    wait_until(lambda: all(map(uses_replica, apis)))
    return apis[0]


@pytest.fixture
def other_api(apis: tuple[Api, Api]) -> Api:
    """The other one."""
    return apis[1]
