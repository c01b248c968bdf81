"""Waiting for a state, without fixed pauses."""

import time
from collections.abc import Callable

from api.dev.process import poll_until


def wait_until(condition: Callable[[], object], seconds: float = 15) -> None:
    """Wait for a condition; fail the test if it does not hold in time."""
    assert poll_until(lambda: bool(condition()), seconds), "the condition did not hold in time"


def next_millisecond() -> None:
    """Wait for the next millisecond: within one, rows of two chats have no fixed order."""
    begun = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 == begun:
        pass
