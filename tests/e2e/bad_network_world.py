"""The servers and clients of tests.e2e.bad_network, and the trouble that they meet."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import psycopg

from api.dev.process import wait_for
from api.dev.pusher_process import Pusher
from api.dev.valkey import Valkey
from tests.api.support import unlimited_client
from tests.api_process import Api, running
from tests.database import Connection, roll_up
from tests.e2e.bad_network_checks import OWNER, TITLE
from tests.e2e.fault_proxy import Fault, Network
from tests.e2e.followers import GUESTS, PATIENCE, Adder, Client, Naive, Owner, Place, Talker
from tests.e2e.killable_servers import SupervisedListener
from tests.e2e.soketi import Soketi
from tests.listener.process import LEADER_LOG
from tests.servers import migrate, new_postgres, open_directory
from tests.waiting import wait_until

SLEEP_SECONDS, LISTENER_SECONDS = (0.3, 1.5), (0.2, 0.7)
WINDOW_REQUESTS = 10  # in a second

MEMBERS = ("alice", "ann", "bob", "carol", "dave", "nina")
VISITOR = "vera"  # in a chat that is deleted

LOG = "select chat_id::text, seq, event, payload from parley.outbox"
# The counts that must not be zero, in words.
KINDS = {
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
    "heard": "live events received",
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
def serving(seed: int, soketi: Path | None) -> Iterator[tuple[Place, SupervisedListener, Connection]]:
    """Start all servers and the listener; connect as a superuser."""
    with ExitStack() as stack:
        directory = stack.enter_context(open_directory())
        valkey = stack.enter_context(Valkey(directory / "valkey"))
        postgres = stack.enter_context(new_postgres(directory / "postgres", fsync="off"))
        pusher = stack.enter_context(
            Soketi(directory / "pusher", soketi / "node_modules") if soketi else Pusher(directory / "pusher")
        )
        migrate(postgres)
        listener = SupervisedListener(directory, postgres.url("parley", "events", "events"), pusher)
        stack.callback(listener.kill)
        listener.revive()
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
        yield Place(api, pusher, seed), listener, dba


class World:
    """The clients of a chat, and the trouble that they meet."""

    def __init__(self, place: Place, network: Network, listener: SupervisedListener, dba: Connection) -> None:
        self.happened: Counter[str] = Counter()
        self.log: dict[tuple[str, int], tuple[str, Any]] = {}  # all events, also those that are no longer kept
        self._network, self._listener, self._dba, self._stack = network, listener, dba, ExitStack()
        self._chance = random.Random(place.seed)  # noqa: S311 (no secret)
        self._owner = self._stack.enter_context(unlimited_client(place.api, OWNER))
        for user in (*MEMBERS, *GUESTS, VISITOR):
            with place.api.client(user) as http:
                http.get("/api/chats").raise_for_status()  # so that the user exists
        self.chat, self._short_lived = self._new_chat(*MEMBERS), self._new_chat(VISITOR)
        with place.api.client("ann") as http:
            sent = http.post(f"/api/chats/{self.chat}/messages", json={"content": "List"}).raise_for_status()
        bad = replace(place, network=network)
        self.adders = [Adder(bad, name, self.chat, sent.json()["id"]) for name in ("ann/laptop", "ann/phone")]
        self.talkers = [
            Owner(place, OWNER, self.chat),
            Talker(bad, "alice", self.chat),
            Talker(bad, "carol", self.chat, is_limited=True),
            Talker(bad, "dave", self.chat),
        ]
        self.followers = [*self.talkers, *self.adders, Client(bad, "bob", self.chat)]
        self.naive, self.visitor = Client(bad, "nina", self.chat, Naive), Client(bad, VISITOR, self._short_lived)
        self._clients = [*self.followers, self.naive, self.visitor]

    def _new_chat(self, *members: str) -> str:
        chat: str = self._ask("POST", "", {"title": TITLE})["id"]
        for member in members:
            self._ask("POST", f"/{chat}/members", {"userId": member})
        return chat

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._owner.request(method, f"/api/chats{path}", json=body).raise_for_status()
        return answer.json() if answer.content else None

    def __enter__(self) -> Self:
        for client in self._clients:
            self._stack.enter_context(client)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # What happens

    def make_trouble(self, seconds: float) -> None:
        """Cause trouble for so long, and until each kind of it occurred."""
        steps = [self._sleep, self._sleep_long, self._kill_the_listener, self._remove_a_member, self._delete_a_chat]
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < seconds or (self.unseen() and passed < seconds + PATIENCE):
            for step in self._chance.sample(steps, len(steps)):
                if self.failures:
                    return
                step()

    def _sleep(self) -> None:
        with self._chance.choice(self.followers).asleep():
            self._wait(SLEEP_SECONDS)
        self.happened["asleep"] += 1

    def _sleep_long(self) -> None:
        """Put a client to sleep until the events that it missed are no longer kept."""
        client = self._chance.choice(self.followers)
        with client.asleep():
            wait_until(lambda: client.copy.seq is None or self._forget(client.copy.seq + 1), PATIENCE)

    def _forget(self, seq: int) -> bool:
        """Remove expired events from the log; return whether this event was removed."""
        roll_up(self._dba)
        self.read_log()
        self._dba.execute("select listener.purge_events('0', 1000000)")
        kept = "select from parley.outbox where (chat_id, seq) = (%s, %s)"
        return self.last_seq() >= seq and self._dba.execute(kept, [self.chat, seq]).rowcount == 0

    def _kill_the_listener(self) -> None:
        self._listener.kill()
        self._wait(LISTENER_SECONDS)
        self._listener.revive()
        self.happened["killed"] += 1

    def _remove_a_member(self) -> None:
        """Remove a member and add them again."""
        self._ask("DELETE", f"/{self.chat}/members/bob")
        self._wait(SLEEP_SECONDS)
        self._ask("POST", f"/{self.chat}/members", {"userId": "bob"})

    def _delete_a_chat(self) -> None:
        """Delete a chat once a client has a copy of it."""
        if self.visitor.copy.applied and not self.happened["deleted"]:
            self._ask("DELETE", f"/{self._short_lived}")
            self.happened["deleted"] += 1

    def _wait(self, seconds: tuple[float, float]) -> None:
        wait_for(lambda: False, self._chance.uniform(*seconds))

    def settle(self) -> None:
        """Let all clients catch up, over a good network and without live events; return when they have, or in vain."""
        self._network.heal()
        self._listener.kill()
        for client in self._clients:
            client.hush()
        wait_for(lambda: self._is_over() or bool(self.failures), PATIENCE)

    def _is_over(self) -> bool:
        if not all(client.is_quiet.is_set() for client in self._clients):
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

    def seen(self) -> Counter[str]:
        """Return how often each kind of trouble occurred."""
        return sum((client.seen() for client in self._clients), self.happened + self._network.happened())

    def unseen(self) -> list[str]:
        """Return the kinds of trouble that did not occur, in words."""
        seen = self.seen()
        return [words for kind, words in KINDS.items() if not seen[kind]]

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
