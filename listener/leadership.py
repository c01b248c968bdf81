"""Leadership: of all listeners, only the leader publishes events. The others are standbys.

The leader holds an advisory lock (listener.try_lead in sql/functions/publishing.sql) until its session ends. Only
locks of members of parley_listener count. PostgreSQL ends the session of a leader that hangs or is unreachable, and a
standby acquires the lock. A leader publishes only while it has the lease, and each response of the database renews the
lease.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from listener.database import IDLE_SESSION_TIMEOUT_SECONDS, ListenerDatabase
from listener.metrics import IS_LEADER

logger = logging.getLogger("parley.listener")

STANDBY_POLL_SECONDS = 1  # between two attempts to acquire the lock
# For this time after a response of the database, no standby can acquire the lock: the session has not timed out.
LEASE_SECONDS = IDLE_SESSION_TIMEOUT_SECONDS - 1


@contextlib.asynccontextmanager
async def acquire_leadership(database: ListenerDatabase, stop_event: asyncio.Event) -> AsyncIterator[None]:
    """Wait until this listener is the leader, or `stop_event` is set, and then run the block.

    The leadership ends with the session of `database`.
    """
    await wait_for_leadership(database, stop_event)
    try:
        yield
    finally:
        IS_LEADER.set(0)


async def wait_for_leadership(database: ListenerDatabase, stop_event: asyncio.Event) -> None:
    """Wait until this listener is the leader, or `stop_event` is set."""
    is_standby = False
    while not stop_event.is_set() and not await database.try_lead():
        if not is_standby:
            logger.info("This listener is a standby: another one is the leader")
            is_standby = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STANDBY_POLL_SECONDS):
                await stop_event.wait()
    if not stop_event.is_set():
        IS_LEADER.set(1)
        logger.info("This listener is the leader")


def has_lease(database: ListenerDatabase) -> bool:
    """Return whether no standby can have become the leader since the last response, so that the leader may publish."""
    return asyncio.get_running_loop().time() - database.responded_at <= LEASE_SECONDS
