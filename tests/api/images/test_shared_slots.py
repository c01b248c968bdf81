"""Reencode slots that several workers share: users are treated as if there were one worker, and none loses a slot."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress

import httpx
import psutil
import pytest

from api.http.errors import ApiError
from api.images.reencode_slots import ReencodeSlots
from api.images.shared_slots import SharedSlots, serve_slots
from tests import images
from tests.api.admission.event_loop import run, settle
from tests.api.images.support import IMAGE, upload
from tests.api.support import patch_api, unlimited_client
from tests.api_process import Api, running
from tests.waiting import wait_until

TIMEOUT_SECONDS = 20  # of each wait for a slot


class Worker:
    """A worker's slots, and its requests, each of which holds its slot until it is cancelled."""

    def __init__(self, slots: SharedSlots, served: list[str]) -> None:
        self.slots, self._served = slots, served

    def request(self, user: str, seconds: float = TIMEOUT_SECONDS) -> asyncio.Task[None]:
        return asyncio.create_task(self._hold(user, seconds))

    async def _hold(self, user: str, seconds: float) -> None:
        async with self.slots.acquire(user, seconds):
            self._served.append(user)
            await asyncio.Event().wait()


@asynccontextmanager
async def workers(slots: ReencodeSlots, count: int, served: list[str]) -> AsyncIterator[list[Worker]]:
    """Connect workers to slots in this process; `served` receives the users who have acquired a slot."""
    with ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(count)]
        for end in (end for pair in pairs for end in pair):
            stack.enter_context(end)
        servers = [asyncio.create_task(serve_slots(slots, parent_end)) for parent_end, _ in pairs]
        connected = [await SharedSlots.connect(worker_end) for _, worker_end in pairs]
        yield [Worker(each, served) for each in connected]
        for each in connected:
            await each.close()
        await asyncio.wait(servers)


async def served_users(served: list[str], count: int) -> list[str]:
    """Wait until this many users were served; return them."""
    while len(served) < count:
        await settle()
    return served


async def wait_for_queue(slots: ReencodeSlots, count: int) -> None:
    """Wait until this many users wait for a slot."""
    while len(slots._queue) != count:
        await settle()


def test_user_holds_at_most_one_slot_in_all_workers() -> None:
    async def steps() -> None:
        served: list[str] = []
        async with workers(ReencodeSlots(2), 2, served) as (one, other):
            first = one.request("a")
            assert await served_users(served, 1) == ["a"]
            second = other.request("a")
            third = other.request("b")
            assert await served_users(served, 2) == ["a", "b"]
            first.cancel()
            assert await served_users(served, 3) == ["a", "b", "a"]
            second.cancel()
            third.cancel()

    run(steps)


def test_user_with_the_least_usage_in_all_workers_is_next() -> None:
    async def steps() -> None:
        served: list[str] = []
        slots = ReencodeSlots(1)
        slots._usage.add("heavy", 60)
        async with workers(slots, 3, served) as (one, two, three):
            holder = one.request("holder")
            await served_users(served, 1)
            requests = [two.request("heavy")]
            await wait_for_queue(slots, 1)
            requests.append(three.request("light"))
            await wait_for_queue(slots, 2)
            holder.cancel()
            assert await served_users(served, 2) == ["holder", "light"]
            requests[1].cancel()
            assert await served_users(served, 3) == ["holder", "light", "heavy"]
            requests[0].cancel()

    run(steps)


def test_worker_that_ends_releases_its_slots_and_leaves_the_queue() -> None:
    async def steps() -> None:
        served: list[str] = []
        slots = ReencodeSlots(1)
        async with workers(slots, 1, served) as (survivor,):
            async with workers(slots, 1, served) as (ending,):
                tasks = [ending.request("a")]
                await served_users(served, 1)
                tasks.append(ending.request("b"))
                await wait_for_queue(slots, 1)
                waiting = survivor.request("c")
                await wait_for_queue(slots, 2)
                ending.slots._writer.transport.abort()  # as a killed process does
                assert await served_users(served, 2) == ["a", "c"]
                await wait_for_queue(slots, 0)
            for task in (*tasks, waiting):
                task.cancel()

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(os, "kill", lambda *_: None)
        run(steps)


def test_request_that_waits_too_long_gets_503_and_leaves_the_queue() -> None:
    async def steps() -> None:
        served: list[str] = []
        slots = ReencodeSlots(1)
        async with workers(slots, 2, served) as (one, other):
            holder = one.request("a")
            await served_users(served, 1)
            with pytest.raises(ApiError) as caught:
                await other.request("b", 0.01)
            assert caught.value.status == 503
            cancelled = other.request("c")
            await wait_for_queue(slots, 1)
            cancelled.cancel()
            await wait_for_queue(slots, 0)
            holder.cancel()
            last = other.request("d")
            assert await served_users(served, 2) == ["a", "d"]
            last.cancel()

    run(steps)


@pytest.fixture
def workers_api(new_api: Callable[..., Api], shared_database: str) -> Iterator[Api]:
    """An API with three workers, which together re-encode one image at a time."""
    api = new_api(shared_database, WORKERS="3")
    with running(patch_api(api, "reencode_capacity.MAX_SLOTS = 1")) as api:
        yield api


def list_decoders(api: Api) -> list[psutil.Process]:
    """Return the decoders of all workers that have limited themselves, without the process that tests for seccomp."""
    assert api.child
    found = []
    for worker in psutil.Process(api.child.pid).children():
        with suppress(psutil.NoSuchProcess):
            found += [process for process in worker.children() if process.nice() == 19]
    return found


def test_killed_worker_releases_the_slot_of_its_decoder(workers_api: Api) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(3) as threads:
        clients = [stack.enter_context(unlimited_client(workers_api)) for _ in range(3)]
        broken = threads.submit(upload, clients[0], images.build_costly_apng(2))
        wait_until(lambda: len(list_decoders(workers_api)) == 1)
        [decoder] = list_decoders(workers_api)
        decoder.suspend()
        waiting = [threads.submit(upload, client, IMAGE) for client in clients[1:]]
        worker = decoder.ppid()
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: not decoder.is_running() or decoder.status() == psutil.STATUS_ZOMBIE)
        assert isinstance(broken.exception(), httpx.TransportError)
        for pending in waiting:
            # The upload may have been received by the killed worker.
            if pending.exception() is None:
                assert pending.result().status_code == 200
        assert upload(clients[0], IMAGE).status_code == 200


def test_workers_together_re_encode_no_more_images_than_there_are_slots(workers_api: Api) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(8) as threads:
        clients = [stack.enter_context(unlimited_client(workers_api)) for _ in range(8)]
        uploads = [threads.submit(upload, client, images.build_costly_apng(1)) for client in clients]
        counts = set()
        while not all(pending.done() for pending in uploads):
            counts.add(len(list_decoders(workers_api)))
        assert max(counts) == 1
        assert [pending.result().status_code for pending in uploads] == [200] * 8
