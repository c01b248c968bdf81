"""Housekeeping: counts for the analysts' views, and removes in batches what is old or deleted.

Every listener does it, also one that waits to take over: batches of two listeners pass over each other's rows.
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
CHORE_SECONDS = 30  # after which the next chore has its turn; the next round continues
REMOVAL_BATCH = 1000  # rows removed in one transaction
ROLL_UP_BATCH = 5000  # messages counted in one transaction
PAUSE_SECONDS = 0.05  # after each transaction, for others


async def keep_house(settings: Settings) -> None:
    """Do all chores in each round, until the task is cancelled. A chore that fails is done again in the next round."""
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


async def repeat(batch: Callable[[], Awaitable[bool]]) -> None:
    """Do batches while there is more to do, for CHORE_SECONDS at most."""
    end = monotonic() + CHORE_SECONDS
    is_more = True
    while is_more and monotonic() < end:
        is_more = await batch()
        await asyncio.sleep(PAUSE_SECONDS)


async def remove_memberships(outbox: Outbox, _: Settings) -> None:
    """Remove deleted users from their chats."""

    async def batch() -> bool:
        return await outbox.remove_memberships(REMOVAL_BATCH) > 0

    await repeat(batch)


async def remove_closed_chats(outbox: Outbox, _: Settings) -> None:
    """Remove the messages of deleted chats."""

    async def batch() -> bool:
        return await outbox.remove_closed_chats(REMOVAL_BATCH) > 0

    await repeat(batch)


async def count_messages(outbox: Outbox, _: Settings) -> None:
    """Count what was sent since the last round."""

    async def batch() -> bool:
        return await outbox.roll_up(ROLL_UP_BATCH)

    await repeat(batch)


async def count_chats_and_settings(outbox: Outbox, _: Settings) -> None:
    """Count chats and settings, once an hour."""
    await outbox.roll_up_chats_and_settings()


async def remove_old_events(outbox: Outbox, settings: Settings) -> None:
    """Remove events that were published long ago."""

    async def batch() -> bool:
        return await outbox.remove_old(settings.outbox_retention_days, REMOVAL_BATCH) == REMOVAL_BATCH

    await repeat(batch)


async def remove_old_answers(outbox: Outbox, _: Settings) -> None:
    """Remove answers to requests that are too old to be repeated."""

    async def batch() -> bool:
        return await outbox.remove_answers(REMOVAL_BATCH) == REMOVAL_BATCH

    await repeat(batch)


CHORES_IN_ORDER = (
    remove_memberships,
    count_messages,
    count_chats_and_settings,
    remove_old_events,
    remove_old_answers,
    remove_closed_chats,
)
