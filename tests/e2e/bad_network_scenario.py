"""The scenario of tests.e2e.bad_network: its servers, its clients and their faults."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import psycopg

from api.dev.process import poll_until
from api.dev.pusher_process import PusherProcess
from api.dev.valkey import Valkey
from tests.api.support import unlimited_client
from tests.api_process import Api, running
from tests.database import Connection, roll_up
from tests.e2e.bad_network_checks import OWNER, TITLE
from tests.e2e.chat_clients import GUESTS, TIMEOUT_SECONDS, Appender, Client, Environment, Owner, Writer
from tests.e2e.fault_proxy import Fault, Network
from tests.e2e.followers import NaiveFollower
from tests.e2e.killable_servers import SupervisedListener
from tests.e2e.soketi import Soketi
from tests.listener.process import LEADER_LOG
from tests.servers import migrate, new_postgres, open_directory
from tests.waiting import wait_until

SLEEP_SECONDS, DOWNTIME_SECONDS = (0.3, 1.5), (0.2, 0.7)
WINDOW_REQUESTS = 10  # in a second

MEMBERS = ("alice", "ann", "bob", "carol", "dave", "nina")
VISITOR = "vera"  # in a chat that is deleted

LOG = "select chat_id::text, seq, event, payload from parley.outbox"
# Descriptions of the counts that must not be zero.
FAULTS = {
    "outages": "faults injected",
    "connections": "connections through a proxy",
    "ConnectError": "connections refused",
    Fault.CUT_REQUESTS: "connections cut in a request",
    Fault.CUT_RESPONSES: "connections cut in a response, or in a live event",
    Fault.DELAY: "pieces delayed",
    Fault.DISCARD: "pieces discarded",
    "ReadTimeout": "requests timed out",
    "asleep": "clients put to sleep",
    "killed": "listeners killed",
    "received": "live events received",
    "read": "full reads of a chat",
    "applied": "events applied",
    "truncated": "events applied without content",
    "410": "requests for events that were no longer kept",
    "gone": "times that a client was no longer in the chat",
    "deleted": "chats deleted",
    "replayed": "replayed responses",
    "412": "edits of a message that had changed meanwhile",
    "429": "requests over the limit",
}


@contextmanager
def running_servers(seed: int, soketi: Path | None) -> Iterator[tuple[Environment, SupervisedListener, Connection]]:
    """Start all servers and the listener; connect as a superuser."""
    with ExitStack() as stack:
        directory = stack.enter_context(open_directory())
        valkey = stack.enter_context(Valkey(directory / "valkey"))
        postgres = stack.enter_context(new_postgres(directory / "postgres", fsync="off"))
        pusher = stack.enter_context(
            Soketi(directory / "pusher", soketi / "node_modules") if soketi else PusherProcess(directory / "pusher")
        )
        migrate(postgres)
        listener = SupervisedListener(directory, postgres.url("parley", "events", "events"), pusher)
        stack.callback(listener.kill)
        listener.restart()
        settings = {
            "PUSHER_KEY": pusher.key,
            "PUSHER_SECRET": pusher.secret,
            "RATE_LIMIT_REQUESTS": f"{WINDOW_REQUESTS}",
            "RATE_LIMIT_WINDOW": "1",
        }
        api = stack.enter_context(
            running(Api(directory, postgres.url("parley", "app", "app"), valkey.url(), **settings))
        )
        listener.wait_for_log(LEADER_LOG)
        dba = stack.enter_context(psycopg.connect(postgres.url("parley"), autocommit=True))
        yield Environment(api, pusher, seed), listener, dba


class Scenario:
    """The clients of a chat, and the faults that are injected."""

    def __init__(
        self, environment: Environment, network: Network, listener: SupervisedListener, dba: Connection
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.log: dict[tuple[str, int], tuple[str, Any]] = {}  # all events, also those that are no longer kept
        self._network, self._listener, self._dba, self._stack = network, listener, dba, ExitStack()
        self._random = random.Random(environment.seed)  # noqa: S311 (no secret)
        self._owner = self._stack.enter_context(unlimited_client(environment.api, OWNER))
        for user in (*MEMBERS, *GUESTS, VISITOR):
            with environment.api.client(user) as http:
                http.get("/api/chats").raise_for_status()  # so that the user exists
        self.chat, self._short_lived = self._new_chat(*MEMBERS), self._new_chat(VISITOR)
        with environment.api.client("ann") as http:
            sent = http.post(f"/api/chats/{self.chat}/messages", json={"content": "List"}).raise_for_status()
        faulty = replace(environment, network=network)
        self.appenders = [Appender(faulty, name, self.chat, sent.json()["id"]) for name in ("ann/laptop", "ann/phone")]
        self.writers = [
            Owner(environment, OWNER, self.chat),
            Writer(faulty, "alice", self.chat),
            Writer(faulty, "carol", self.chat, is_limited=True),
            Writer(faulty, "dave", self.chat),
        ]
        self.followers = [*self.writers, *self.appenders, Client(faulty, "bob", self.chat)]
        self.naive, self.visitor = (
            Client(faulty, "nina", self.chat, NaiveFollower),
            Client(faulty, VISITOR, self._short_lived),
        )
        self._clients = [*self.followers, self.naive, self.visitor]

    def _new_chat(self, *members: str) -> str:
        chat: str = self._request("POST", "", {"title": TITLE})["id"]
        for member in members:
            self._request("POST", f"/{chat}/members", {"userId": member})
        return chat

    def _request(self, method: str, path: str, body: Any = None) -> Any:
        response = self._owner.request(method, f"/api/chats{path}", json=body).raise_for_status()
        return response.json() if response.content else None

    def __enter__(self) -> Self:
        for client in self._clients:
            self._stack.enter_context(client)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # Faults

    def inject_faults(self, seconds: float) -> None:
        """Inject faults for a duration, and until each kind of them has occurred."""
        steps = [self._sleep, self._sleep_long, self._kill_listener, self._remove_member, self._delete_chat]
        begun = time.monotonic()
        while (elapsed := time.monotonic() - begun) < seconds or (
            self.missing_faults() and elapsed < seconds + TIMEOUT_SECONDS
        ):
            for step in self._random.sample(steps, len(steps)):
                if self.failures:
                    return
                step()

    def _sleep(self) -> None:
        with self._random.choice(self.followers).asleep():
            self._wait(SLEEP_SECONDS)
        self.counts["asleep"] += 1

    def _sleep_long(self) -> None:
        """Put a client to sleep until the events that it missed are no longer kept."""
        client = self._random.choice(self.followers)
        with client.asleep():
            wait_until(lambda: client.copy.seq is None or self._purge_event(client.copy.seq + 1), TIMEOUT_SECONDS)

    def _purge_event(self, seq: int) -> bool:
        """Remove expired events from the log; return whether this event was removed."""
        roll_up(self._dba)
        self.read_log()
        self._dba.execute("select listener.purge_events('0', 1000000)")
        kept = "select from parley.outbox where (chat_id, seq) = (%s, %s)"
        return self.last_seq() >= seq and self._dba.execute(kept, [self.chat, seq]).rowcount == 0

    def _kill_listener(self) -> None:
        self._listener.kill()
        self._wait(DOWNTIME_SECONDS)
        self._listener.restart()
        self.counts["killed"] += 1

    def _remove_member(self) -> None:
        """Remove a member and add them again."""
        self._request("DELETE", f"/{self.chat}/members/bob")
        self._wait(SLEEP_SECONDS)
        self._request("POST", f"/{self.chat}/members", {"userId": "bob"})

    def _delete_chat(self) -> None:
        """Delete a chat once a client has a copy of it."""
        if self.visitor.copy.applied and not self.counts["deleted"]:
            self._request("DELETE", f"/{self._short_lived}")
            self.counts["deleted"] += 1

    def _wait(self, seconds: tuple[float, float]) -> None:
        poll_until(lambda: False, self._random.uniform(*seconds))

    def settle(self) -> None:
        """Let all clients catch up without faults and live events; return when they have, or after a timeout."""
        self._network.heal()
        self._listener.kill()
        for client in self._clients:
            client.stop_writing()
        poll_until(lambda: self._has_settled() or bool(self.failures), TIMEOUT_SECONDS)

    def _has_settled(self) -> bool:
        if not all(client.has_stopped.is_set() for client in self._clients):
            return False
        last = self.last_seq()
        return self.visitor.copy.seq is None and all(
            client.copy.seq == last and not client.copy.incomplete for client in self.followers
        )

    # Observations

    @property
    def failures(self) -> list[str]:
        """The tracebacks of clients that failed."""
        return [failure for client in self._clients for failure in client.failures]

    def count_faults(self) -> Counter[str]:
        """Return how often each kind of fault occurred."""
        return sum((client.count_events() for client in self._clients), self.counts + self._network.total_counts())

    def missing_faults(self) -> list[str]:
        """Describe the kinds of faults that did not occur."""
        counts = self.count_faults()
        return [description for kind, description in FAULTS.items() if not counts[kind]]

    def read_log(self) -> None:
        """Record the events that are kept."""
        for chat, seq, event, data in self._dba.execute(LOG):
            self.log[chat, seq] = event, data

    def events(self) -> dict[int, tuple[str, Any]]:
        """Return the events of the chat, by their seq."""
        return {seq: change for (chat, seq), change in sorted(self.log.items()) if chat == self.chat}

    def last_seq(self) -> int:
        """Return the seq of the chat's last event."""
        row = self._dba.execute("select seq from parley.chats where id = %s", [self.chat]).fetchone()
        return int(row[0]) if row else 0
