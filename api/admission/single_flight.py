"""Runs one fetch at a time and shares its outcome, which bounds the cost of requests outside the rate limit."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextvars import Context
from time import monotonic
from typing import Any, Generic, TypeVar

T = TypeVar("T")

MAX_ERROR_AGE_SECONDS = 1  # a failure is shared for no longer


class SingleFlight(Generic[T]):
    """Shares the outcome of `fetch`, a result or an error, among all callers.

    A fetch that takes more than `timeout` seconds is cancelled, and its callers get a TimeoutError. The next one
    starts only after it has ended, so at most one holds a connection.
    """

    def __init__(self, fetch: Callable[[], Coroutine[Any, Any, T]], timeout: float) -> None:
        self._fetch, self._timeout = fetch, timeout
        self._outcome: asyncio.Future[T] | None = None
        self._settled_at = -math.inf
        self._task: asyncio.Task[None] | None = None

    async def fetch(self, max_age: float) -> T:
        """Return a result that is less than `max_age` seconds old; raise what the fetch raised, or TimeoutError."""
        if self._outcome is None or not self._is_current(self._outcome, max_age):
            self._outcome = asyncio.get_running_loop().create_future()
            # Use an empty context: all callers share the fetch, which must not inherit one request's context.
            self._task = asyncio.create_task(self._settle(self._outcome), context=Context())
        outcome = self._outcome
        await asyncio.wait([outcome])  # unlike awaiting it, does not cancel it with the caller
        return outcome.result()

    def _is_current(self, outcome: asyncio.Future[T], max_age: float) -> bool:
        if self._task is not None and not self._task.done():
            return True
        lifetime = min(max_age, MAX_ERROR_AGE_SECONDS) if outcome.exception() else max_age
        return monotonic() - self._settled_at < lifetime

    async def _settle(self, outcome: asyncio.Future[T]) -> None:
        fetching = asyncio.create_task(self._fetch())
        try:
            done, _ = await asyncio.wait([fetching], timeout=self._timeout)
            if error := fetching.exception() if done else TimeoutError(f"took longer than {self._timeout:g} s"):
                outcome.set_exception(error)
                outcome.exception()  # mark the exception as retrieved, in case all callers were cancelled
            else:
                outcome.set_result(fetching.result())
            self._settled_at = monotonic()
        finally:
            outcome.cancel()
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=True)

    async def close(self) -> None:
        """Cancel a fetch in progress, and wait for its end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
