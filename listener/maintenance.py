"""Maintenance: updates the rollups for the analysts' views, and purges old and deleted data, in batches.

Every listener runs it, standbys too: a batch skips rows that another listener has locked.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic

from listener.database import DATABASE_ERRORS, ListenerDatabase
from listener.metrics import MAINTENANCE
from listener.settings import Settings

logger = logging.getLogger("parley.listener")

INTERVAL_SECONDS = 60  # between two runs of all tasks
MAX_TASK_SECONDS = 30  # for a task in a run; the next run continues it
REMOVAL_BATCH = 1000  # rows removed in one transaction
ROLL_UP_BATCH = 5000  # messages counted in one transaction
PAUSE_SECONDS = 0.05  # after each transaction, to leave resources to other work


async def run_maintenance(settings: Settings) -> None:
    """Run all tasks at regular intervals, until cancelled. The next run retries a task that failed."""
    while True:
        for task in TASKS:
            name = task.__name__.replace("_", " ")
            try:
                async with ListenerDatabase.connect(settings) as database:
                    await task(database, settings)
                MAINTENANCE.labels(name, "done").inc()
            except DATABASE_ERRORS as error:
                MAINTENANCE.labels(name, "failed").inc()
                logger.warning("Maintenance will be retried: could not %s: %r", name, error)
        await asyncio.sleep(INTERVAL_SECONDS)


async def repeat(run_batch: Callable[[], Awaitable[int]], full_batch: int = 1) -> None:
    """Run batches for at most MAX_TASK_SECONDS, until one has fewer rows than `full_batch`, so that it is the last."""
    deadline = monotonic() + MAX_TASK_SECONDS
    rows = full_batch
    while rows >= full_batch and monotonic() < deadline:
        rows = await run_batch()
        await asyncio.sleep(PAUSE_SECONDS)


async def purge_memberships(database: ListenerDatabase, _: Settings) -> None:
    """Remove the memberships of deleted users."""
    await repeat(lambda: database.purge_memberships(REMOVAL_BATCH))


async def purge_deleted_chats(database: ListenerDatabase, _: Settings) -> None:
    """Remove deleted chats and their messages."""
    await repeat(lambda: database.purge_deleted_chats(REMOVAL_BATCH))


async def roll_up_messages(database: ListenerDatabase, _: Settings) -> None:
    """Count the messages that were sent since the last run, for the analysts' views."""
    await repeat(lambda: database.roll_up(ROLL_UP_BATCH))


async def roll_up_chats_and_settings(database: ListenerDatabase, _: Settings) -> None:
    """Count chats and settings for the analysts' views, once an hour."""
    await database.roll_up_chats_and_settings()


async def purge_events(database: ListenerDatabase, settings: Settings) -> None:
    """Remove published events that are older than OUTBOX_RETENTION_DAYS."""
    await repeat(lambda: database.purge_events(settings.outbox_retention_days, REMOVAL_BATCH), REMOVAL_BATCH)


async def purge_idempotency_keys(database: ListenerDatabase, _: Settings) -> None:
    """Remove expired idempotency keys and their stored responses."""
    await repeat(lambda: database.purge_idempotency_keys(REMOVAL_BATCH), REMOVAL_BATCH)


TASKS = (
    purge_memberships,
    roll_up_messages,
    roll_up_chats_and_settings,
    purge_events,
    purge_idempotency_keys,
    purge_deleted_chats,
)
