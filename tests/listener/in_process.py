"""Runs a relay in the test's process."""

import asyncio
from collections.abc import Callable

from listener.database import ListenerDatabase
from listener.relay import Relay
from tests.listener.conftest import Stage
from tests.waiting import wait_until


async def listen_for(stage: Stage, relay: Relay, until: Callable[[], bool]) -> None:
    """Has a relay at work in this process, until a state has come."""
    stopping = asyncio.Event()
    async with ListenerDatabase.connect(stage.settings()) as database:
        work = asyncio.create_task(relay.run(database, stopping))
        await asyncio.to_thread(wait_until, until)
        stopping.set()
        relay.wake_up()
        await work
