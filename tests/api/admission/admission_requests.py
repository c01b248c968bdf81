"""Requests to `api.admission.statements` in one event loop, and a clock that a test moves."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from api.admission import statements as admission
from api.admission.statements import Admission
from tests.api.admission.event_loop import settle


def identity(user: str, **claims: str) -> str:
    return json.dumps({"sub": user, **claims})


class Requests:
    """Requests, each a task that holds its turn until it is told to end."""

    def __init__(self, pool_size: int) -> None:
        self.admission = Admission(pool_size)
        self.came: list[int] = []
        self.admitted: list[int] = []
        self.slots: dict[int, tuple[admission.Slot, ...]] = {}
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self._ends: dict[int, asyncio.Event] = {}

    def come(self, user: str, **needs: Any) -> int:
        """Starts a request; answers its number."""
        return self.come_as(identity(user), **needs)

    def come_as(self, caller: str, size: int = 0, **needs: Any) -> int:
        number = len(self.came)
        self.came.append(number)
        turn = self.admission.turn(caller, **needs)
        turn.size = size
        self.slots[number] = turn._slots
        self._ends[number] = asyncio.Event()
        self.tasks[number] = asyncio.create_task(self._hold(number, turn))
        return number

    async def _hold(self, number: int, turn: admission.Turn) -> None:
        async with turn:
            self.admitted.append(number)
            await self._ends[number].wait()

    @property
    def holding(self) -> list[int]:
        return [number for number in self.admitted if not self.tasks[number].done()]

    @property
    def waiting(self) -> list[int]:
        return [n for n in self.came if n not in self.admitted and not self.tasks[n].done()]

    def end(self, number: int) -> None:
        self._ends[number].set()

    async def end_all(self) -> None:
        while unfinished := [task for task in self.tasks.values() if not task.done()]:
            for number in self.holding:
                self.end(number)
            await asyncio.wait(unfinished, return_when=asyncio.FIRST_COMPLETED)
            await settle()

    def check(self) -> None:
        """What holds between any two steps, when all tasks wait."""
        held = Counter(slot for number in self.holding for slot in self.slots[number])
        assert self.admission._held == held
        assert all(number <= self.admission.limits[name] for (name, _), number in held.items())
        assert self.admission.waiting == len(self.waiting) == sum(map(len, self.admission._lines.values()))
        for number in self.waiting:  # nobody waits for nothing
            assert any(held[slot] == self.admission.limits[slot[0]] for slot in self.slots[number])

    def check_nothing_is_left(self) -> None:
        assert self.admission._held == {}
        assert self.admission._lines == {}
        assert self.admission._waiting == {}
        assert self.admission.waiting == 0


class Clock:
    """The time of the event loop and of what is tested, which passes when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(admission, "monotonic", lambda: self.now)
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: self.now)

    async def after(self, seconds: float) -> None:
        self.now += seconds
        await settle()
