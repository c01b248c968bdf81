"""Users who change a chat without a pause, and a ledger of what the API acknowledged."""

import contextlib
import http.client
import json
import random
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.api_process import Api

RETRY_SECONDS = 0.02


@dataclass
class Ledger:
    """The changes that the API acknowledged, each as (chat, event, summary of its payload), and what must be stored.

    `stored` has the content of a message or the title of a chat by id, None after a deletion. A request without a
    response may have been executed: `unsure` has the states that may be stored instead.
    """

    changes: list[tuple[str, str, Any]] = field(default_factory=list)
    stored: dict[str, str | None] = field(default_factory=dict)
    unsure: dict[str, set[str | None]] = field(default_factory=lambda: defaultdict(set))
    unexpected: list[str] = field(default_factory=list)


class Writer:
    """A user who changes a chat without a pause; the owner of the chat also renames it."""

    def __init__(self, api: Api, chat: str, user: str, seed: int, *, is_owner: bool) -> None:
        self.ledger = Ledger()
        self._chat = chat
        self._name = f"{user}-{seed}"
        self._headers = {"Content-Type": "application/json", **api.headers(user)}
        self._random = random.Random(self._name)  # noqa: S311 (no secret)
        self._is_owner = is_owner
        self._mine: list[str] = []
        self._connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=30)

    def write_until(self, stop: threading.Event) -> None:
        """Write until the event is set."""
        with contextlib.closing(self._connection):
            for number in count(1):
                if stop.is_set():
                    return
                if not self._change(f"{self._name} {number}"):
                    stop.wait(RETRY_SECONDS)

    def _change(self, text: str) -> bool:
        """Make one change; return whether it was acknowledged."""
        kind = self._random.choices(["send", "edit", "delete", "rename"], [60, 25, 12, 3 * self._is_owner])[0]
        if kind == "rename":
            return self._rename(text)
        if kind == "send" or not self._mine:
            return self._send(text)
        message = self._mine.pop(self._random.randrange(len(self._mine)))
        return self._edit(message, text) if kind == "edit" else self._delete(message)

    def _send(self, content: str) -> bool:
        content = content.ljust(self._random.choice([0, 200, 2000, 12_000]), ".")
        message = self._request(201, "POST", "/messages", {"content": content})
        if message:
            self.ledger.stored[message["id"]] = content
            self.ledger.changes.append((self._chat, "message:sent", message["id"]))
            self._mine.append(message["id"])
        return message is not None

    # A request without a response may be executed later still, so its message is not changed again.

    def _edit(self, message: str, content: str) -> bool:
        is_done = self._request(200, "PUT", f"/messages/{message}", {"content": content}) is not None
        self._record(message, content, is_done=is_done)
        if is_done:
            self.ledger.changes.append((self._chat, "message:updated", (message, content)))
            self._mine.append(message)
        return is_done

    def _delete(self, message: str) -> bool:
        is_done = self._request(204, "DELETE", f"/messages/{message}", None) is not None
        self._record(message, None, is_done=is_done)
        if is_done:
            self.ledger.changes.append((self._chat, "message:deleted", message))
        return is_done

    def _rename(self, title: str) -> bool:
        is_done = self._request(200, "PUT", "", {"title": title}) is not None
        self._record(self._chat, title, is_done=is_done)
        if is_done:
            self.ledger.changes.append((self._chat, "chat:updated", (self._chat, title)))
        return is_done

    def _record(self, key: str, state: str | None, *, is_done: bool) -> None:
        if is_done:
            self.ledger.stored[key] = state
        else:
            self.ledger.unsure[key].add(state)

    def _request(self, status: int, method: str, path: str, body: Any) -> Any:
        """Return the body if the response has this status, and None without a response or after a 503."""
        try:
            sent = None if body is None else json.dumps(body)
            self._connection.request(method, f"/api/chats/{self._chat}{path}", sent, self._headers)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return None
        if response.status == status:
            return json.loads(content or b"{}")
        if response.status != http.client.SERVICE_UNAVAILABLE:
            self.ledger.unexpected.append(f"{method} {path}: {response.status} {content[:200]!r}")
        return None


@contextmanager
def writing(writers: Sequence[Callable[[threading.Event], None]]) -> Iterator[None]:
    """Run these in threads until the end of the block, which sets their event."""
    stop = threading.Event()
    with ThreadPoolExecutor(len(writers)) as threads:
        running = [threads.submit(write, stop) for write in writers]
        try:
            yield
        finally:
            stop.set()
        for writer in running:
            writer.result()
