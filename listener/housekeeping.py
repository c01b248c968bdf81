"""Housekeeping: updates the counts in the analysts' views, and removes old and deleted data in batches.

Every listener does it, the standby too: a batch skips the rows that another listener has locked.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic

from listener.metrics import CHORES
from listener.outbox import AWAY, Outbox
from listener.settings import Settings

logger = logging.getLogger("parley.listener")

INTERVAL_SECONDS = 60  # between two rounds
CHORE_SECONDS = 30  # of a chore in a round; the next round continues it
REMOVAL_BATCH = 1000  # rows removed in one transaction
ROLL_UP_BATCH = 5000  # messages counted in one transaction
PAUSE_SECONDS = 0.05  # after each transaction, for other work


async def keep_house(settings: Settings) -> None:
    """Do all chores in each round, until the task is cancelled. The next round repeats a chore that failed."""
    while True:
        for chore in CHORES_IN_ORDER:
            name = chore.__name__.replace("_", " ")
            try:
                async with Outbox.connect(settings) as outbox:
                    await chore(outbox, settings)
                CHORES.labels(name, "done").inc()
            except AWAY as error:
                CHORES.labels(name, "failed").inc()
                logger.warning("Can't %s, which is tried again: %r", name, error)
        await asyncio.sleep(INTERVAL_SECONDS)


async def repeat(batch: Callable[[], Awaitable[int]], full: int = 1) -> None:
    """Run batches for at most CHORE_SECONDS, until one returns less than `full`: then nothing is left."""
    end = monotonic() + CHORE_SECONDS
    done = full
    while done >= full and monotonic() < end:
        done = await batch()
        await asyncio.sleep(PAUSE_SECONDS)


async def remove_memberships(outbox: Outbox, _: Settings) -> None:
    """Remove deleted users from their chats."""
    await repeat(lambda: outbox.remove_memberships(REMOVAL_BATCH))


async def remove_closed_chats(outbox: Outbox, _: Settings) -> None:
    """Remove deleted chats and their messages."""
    await repeat(lambda: outbox.remove_closed_chats(REMOVAL_BATCH))


async def count_messages(outbox: Outbox, _: Settings) -> None:
    """Count the messages that were sent since the last round."""
    await repeat(lambda: outbox.roll_up(ROLL_UP_BATCH))


async def count_chats_and_settings(outbox: Outbox, _: Settings) -> None:
    """Count chats and settings, once an hour."""
    await outbox.roll_up_chats_and_settings()


async def remove_old_events(outbox: Outbox, settings: Settings) -> None:
    """Remove events that were published long ago."""
    await repeat(lambda: outbox.remove_old(settings.outbox_retention_days, REMOVAL_BATCH), REMOVAL_BATCH)


async def remove_old_answers(outbox: Outbox, _: Settings) -> None:
    """Remove stored responses whose idempotency keys have expired."""
    await repeat(lambda: outbox.remove_answers(REMOVAL_BATCH), REMOVAL_BATCH)


CHORES_IN_ORDER = (
    remove_memberships,
    count_messages,
    count_chats_and_settings,
    remove_old_events,
    remove_old_answers,
    remove_closed_chats,
)
