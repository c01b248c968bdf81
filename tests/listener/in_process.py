"""A relay in the process of the test."""

import asyncio
from collections.abc import Callable

from listener.database import ListenerDatabase
from listener.relay import Relay
from tests.listener.conftest import Harness
from tests.waiting import wait_until


async def run_relay(harness: Harness, relay: Relay, condition: Callable[[], bool]) -> None:
    """Run a relay until a condition holds."""
    stopping = asyncio.Event()
    async with ListenerDatabase.connect(harness.settings()) as database:
        task = asyncio.create_task(relay.run(database, stopping))
        await asyncio.to_thread(wait_until, condition)
        stopping.set()
        relay.wake_up()
        await task
