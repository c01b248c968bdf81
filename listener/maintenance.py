"""Maintenance: updates the counts in the analysts' views, and removes old and deleted data, in batches.

Every listener does it, the standby too: a batch skips the rows that another listener has locked.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic

from listener.metrics import MAINTENANCE
from listener.outbox import DATABASE_ERRORS, Outbox
from listener.settings import Settings

logger = logging.getLogger("parley.listener")

INTERVAL_SECONDS = 60  # between two runs of all tasks
TASK_SECONDS = 30  # of a task in a run; the next run continues it
REMOVAL_BATCH = 1000  # rows removed in one transaction
ROLL_UP_BATCH = 5000  # messages counted in one transaction
PAUSE_SECONDS = 0.05  # after each transaction, to leave resources to other work


async def run_maintenance(settings: Settings) -> None:
    """Run all tasks, at regular intervals, until cancelled. The next run repeats a task that failed."""
    while True:
        for task in TASKS:
            name = task.__name__.replace("_", " ")
            try:
                async with Outbox.connect(settings) as outbox:
                    await task(outbox, settings)
                MAINTENANCE.labels(name, "done").inc()
            except DATABASE_ERRORS as error:
                MAINTENANCE.labels(name, "failed").inc()
                logger.warning("Maintenance will be retried: could not %s: %r", name, error)
        await asyncio.sleep(INTERVAL_SECONDS)


async def repeat(batch: Callable[[], Awaitable[int]], full: int = 1) -> None:
    """Run batches for at most TASK_SECONDS, until one returns less than `full`: then nothing is left."""
    deadline = monotonic() + TASK_SECONDS
    rows = full
    while rows >= full and monotonic() < deadline:
        rows = await batch()
        await asyncio.sleep(PAUSE_SECONDS)


async def purge_memberships(outbox: Outbox, _: Settings) -> None:
    """Remove deleted users from their chats."""
    await repeat(lambda: outbox.purge_memberships(REMOVAL_BATCH))


async def purge_deleted_chats(outbox: Outbox, _: Settings) -> None:
    """Remove deleted chats and their messages."""
    await repeat(lambda: outbox.purge_deleted_chats(REMOVAL_BATCH))


async def count_messages(outbox: Outbox, _: Settings) -> None:
    """Count the messages that were sent since the last run."""
    await repeat(lambda: outbox.roll_up(ROLL_UP_BATCH))


async def count_chats_and_settings(outbox: Outbox, _: Settings) -> None:
    """Count chats and settings, once an hour."""
    await outbox.roll_up_chats_and_settings()


async def purge_events(outbox: Outbox, settings: Settings) -> None:
    """Remove events that were published long ago."""
    await repeat(lambda: outbox.purge_events(settings.outbox_retention_days, REMOVAL_BATCH), REMOVAL_BATCH)


async def purge_idempotency_keys(outbox: Outbox, _: Settings) -> None:
    """Remove expired idempotency keys and their stored responses."""
    await repeat(lambda: outbox.purge_idempotency_keys(REMOVAL_BATCH), REMOVAL_BATCH)


TASKS = (
    purge_memberships,
    count_messages,
    count_chats_and_settings,
    purge_events,
    purge_idempotency_keys,
    purge_deleted_chats,
)
