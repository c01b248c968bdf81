"""Steps of a test on an event loop, between which all tasks go on until each waits."""

import asyncio
from collections.abc import Callable, Coroutine

SECONDS = 20  # for all steps of a test


async def settle(turns: int = 10) -> None:
    """Run so many turns of the loop, by default as many as let every task go on until it waits."""
    for _ in range(turns):
        await asyncio.sleep(0)


def run(steps: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run the steps. Raises TimeoutError if a task that they wait for does not end."""

    async def within_bounds() -> None:
        async with asyncio.timeout(SECONDS):
            await steps()

    asyncio.run(within_bounds())
