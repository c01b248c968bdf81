"""Steps of a test on an event loop, between which all tasks run until each of them waits."""

import asyncio
from collections.abc import Callable, Coroutine

SECONDS = 20  # for all steps of a test


async def settle(iterations: int = 10) -> None:
    """Run iterations of the loop; the default is sufficient for every task to run until it waits."""
    for _ in range(iterations):
        await asyncio.sleep(0)


def run(steps: Callable[[], Coroutine[None, None, None]]) -> None:
    """Run the steps. Raises TimeoutError if a task that they wait for does not end."""

    async def within_bounds() -> None:
        async with asyncio.timeout(SECONDS):
            await steps()

    asyncio.run(within_bounds())
