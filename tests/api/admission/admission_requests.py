"""Requests that need permits of api.admission.controller, in one event loop, and a clock that a test advances."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from api.admission import controller as admission
from api.admission.controller import AdmissionController
from tests.api.admission.event_loop import settle


def identity(user: str, **claims: str) -> str:
    return json.dumps({"sub": user, **claims})


class Requests:
    """Requests, each a task that holds its permit until end() is called."""

    def __init__(self, pool_size: int) -> None:
        self.admission = AdmissionController(pool_size)
        self.numbers: list[int] = []
        self.admitted: list[int] = []
        self.slots: dict[int, tuple[admission.Slot, ...]] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self._ends: dict[int, asyncio.Event] = {}

    def add(self, user: str, **needs: Any) -> int:
        """Start a request of a user; return its number."""
        return self.add_as(identity(user), **needs)

    def add_as(self, caller: str, size: int = 0, **needs: Any) -> int:
        number = len(self.numbers)
        self.numbers.append(number)
        permit = self.admission.create_permit(caller, **needs)
        permit.response_bytes = size
        self.slots[number] = permit._slots
        self._ends[number] = asyncio.Event()
        self.tasks[number] = asyncio.create_task(self._hold(number, permit))
        # Retrieve the exception of a task that no test awaits; otherwise asyncio logs it at some later time.
        self.tasks[number].add_done_callback(lambda task: task.cancelled() or task.exception())
        return number

    async def _hold(self, number: int, permit: admission.Permit) -> None:
        async with permit:
            self.admitted.append(number)
            await self._ends[number].wait()

    @property
    def holding(self) -> list[int]:
        return [number for number in self.admitted if not self.tasks[number].done()]

    @property
    def waiting(self) -> list[int]:
        return [n for n in self.numbers if n not in self.admitted and not self.tasks[n].done()]

    def end(self, number: int) -> None:
        self._ends[number].set()

    async def end_all(self) -> None:
        while unfinished := [task for task in self.tasks.values() if not task.done()]:
            for number in self.holding:
                self.end(number)
            await asyncio.wait(unfinished, return_when=asyncio.FIRST_COMPLETED)
            await settle()

    def check(self) -> None:
        """Check the invariants that hold between two steps, when all tasks wait."""
        held = Counter(slot for number in self.holding for slot in self.slots[number])
        assert self.admission._held == held
        assert all(number <= self.admission.limits[name] for (name, _), number in held.items())
        assert self.admission.waiting == len(self.waiting) == sum(map(len, self.admission._queues.values()))
        for number in self.waiting:  # no request waits while its slots are free
            assert any(held[slot] == self.admission.limits[slot[0]] for slot in self.slots[number])

    def check_nothing_is_left(self) -> None:
        assert self.admission._held == {}
        assert self.admission._queues == {}
        assert self.admission._waiting_by_slot == {}
        assert self.admission.waiting == 0


class Clock:
    """Replaces the clocks of the event loop and of admission; a test advances it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(admission, "monotonic", lambda: self.now)
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)

    async def advance(self, seconds: float) -> None:
        self.now += seconds
        await settle()
