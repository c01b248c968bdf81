"""Acknowledged messages survive a crash, each exactly once: the API and PostgreSQL are killed while clients write."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from api.dev.postgres import Postgres
from api.dev.valkey import Valkey
from tests.api_process import Api, running
from tests.servers import migrate, new_postgres, open_directory
from tests.waiting import wait_until

SENDERS = 4
MESSAGES_PER_ROUND = 40  # acknowledged messages before a kill
ROUNDS = 3


@pytest.fixture(scope="module")
def durable_postgres() -> Iterator[Postgres]:
    """A PostgreSQL with its default settings, and thus fsync."""
    with open_directory() as directory, new_postgres(directory) as server:
        migrate(server)
        yield server


def is_keyed(content: str) -> bool:
    """Return whether a message is sent with an idempotency key: those of every other sender are."""
    sender, _ = content.split()
    return int(sender) % 2 == 1


class MessageSenders:
    """Clients that send messages to one chat in spite of errors, and record the acknowledged ones.

    Every other client sends its messages with an idempotency key, and repeats them until they are acknowledged.
    """

    def __init__(self, client: httpx.Client) -> None:
        self.acknowledged: list[dict[str, str]] = []
        self._client = client
        self._stop = threading.Event()
        self._threads = ThreadPoolExecutor(SENDERS)
        created = self._client.post("/api/chats", json={"title": "x"})
        assert created.status_code == 201, created.text
        self.messages = f"/api/chats/{created.json()['id']}/messages"

    def __enter__(self) -> "MessageSenders":
        self._futures = [self._threads.submit(self._send_until_stopped, n) for n in range(SENDERS)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._threads.shutdown()
        for future in self._futures:
            future.result()

    def _send_until_stopped(self, sender: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            content = f"{sender} {number}"
            if is_keyed(content):
                headers = {"Idempotency-Key": content.replace(" ", "-")}
                while not self._send(content, headers):
                    pass
            else:
                self._send(content, {})

    def _send(self, content: str, headers: dict[str, str]) -> bool:
        try:
            response = self._client.post(self.messages, json={"content": content}, headers=headers)
        except httpx.TransportError:
            return False
        if response.status_code == 201:
            self.acknowledged.append(response.json())
            return True
        assert response.status_code == 503 or (headers and response.status_code == 409), response.text
        return False

    def wait_for_messages(self) -> None:
        """Wait until MESSAGES_PER_ROUND further messages were acknowledged."""
        target = len(self.acknowledged) + MESSAGES_PER_ROUND
        wait_until(lambda: len(self.acknowledged) >= target, seconds=30)

    def fetch_messages(self) -> dict[str, str]:
        """Return all messages of the chat, by id."""
        contents: dict[str, str] = {}
        total, page = 1, 1
        while len(contents) < total:
            response = self._client.get(self.messages, params={"page": page, "limit": 100}).json()
            total, page = response["total"], page + 1
            contents |= {m["id"]: m["content"] for m in response["messages"]}
            assert response["messages"], "the total is larger than the number of messages"
        return contents


@pytest.mark.parametrize("victim", ["api", "postgres"])
def test_acknowledged_messages_survive_a_crash(
    directory: Path, durable_postgres: Postgres, valkey: Valkey, victim: str
) -> None:
    url = durable_postgres.url("parley", "app", "app")
    api = Api(directory, url, valkey.url(), RATE_LIMIT_REQUESTS="1000000", RATE_LIMIT_PREFIX=f"crash-{victim}")
    kill: Callable[[], None] = api.kill if victim == "api" else durable_postgres.kill
    restart: Callable[[], None] = api.start if victim == "api" else durable_postgres.start
    with running(api), api.client() as client:
        with MessageSenders(client) as senders:
            for _ in range(ROUNDS):
                senders.wait_for_messages()
                kill()
                restart()
            senders.wait_for_messages()
        wait_until(api.is_ready)
        stored = senders.fetch_messages()
    assert len(senders.acknowledged) >= (ROUNDS + 1) * MESSAGES_PER_ROUND
    assert {m["id"]: m["content"] for m in senders.acknowledged}.items() <= stored.items()
    keyed_contents = sorted(filter(is_keyed, stored.values()))
    assert keyed_contents == sorted(m["content"] for m in senders.acknowledged if is_keyed(m["content"]))
