"""Everything is killed while everybody writes: no event is lost, and none overtakes another.
`python -m tests.e2e.kill [--rounds 100] [--seed N] [--soketi DIR]`

Writers send, edit and delete messages and rename chats, as fast as the API answers. In each round one or two of the
listener, the API, PostgreSQL and Pusher end by SIGKILL at random moments and are started again; in the first round and
the last none does. In the end the queue must drain, and then hold:

- What a writer was told is done is in the database, and has its event.
- Each event in the outbox arrived at Pusher, on all of its channels, and nothing else did.
- A chat's events arrived in the order of their seq. One may arrive again, with all that followed it: behind an event
  comes its successor, or an earlier one, but none is skipped.
- An event arrived again only if the listener or PostgreSQL was killed in between: shortly after the one arrival, and
  before anything new arrived of its chat.
- Who subscribed heard a chat's events in this order too, on each connection, and in the end all there were.

Arrival is an answer of 200. It is seen by a door of ours in front of Pusher: a subscriber can't tell, because it loses
its connection where Pusher is killed, and Pusher keeps nothing for it.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import random
import re
import secrets
import sys
import threading
import time
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count, pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

import psutil
import psycopg
from pusher.signature import sign
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from api.dev.postgres import Postgres
from api.dev.process import wait_for
from api.dev.pusher_process import Pusher
from api.dev.valkey import Valkey
from tests.e2e.soketi import Soketi
from tests.listener.support import LEADS, Listener
from tests.support import Api, Connection, migrate, new_postgres, open_directory

VICTIMS = ("postgres", "pusher", "listener", "api")  # in the order in which they are started again
FORGETFUL = ("postgres", "listener")  # after whose end it may be forgotten what was published
CHATS = 4
WRITERS = 6
SHORTEST, LONGEST = 0.5, 1.5  # seconds of a round, besides what starting takes
PATIENCE = 0.02  # seconds before a writer or a subscriber tries again
REACH = 2.0  # seconds for which it may be forgotten that something was published
SETTLE_SECONDS = 120
HEAR_SECONDS = 30
COMPLAINT = re.compile(r'Traceback|Warning:|"level": "(critical|error)"|set aside')
STATE = "select id::text, content from parley.messages union all select id::text, title from parley.chats"
EVENTS = """
select chat_id::text, row_number() over (partition by chat_id order by seq), event, payload::text,
    parley.event_channels(chat_id, case event
        when 'chat:updated' then array(select parley.current_recipients(chat_id)) else recipients end)
from parley.outbox where event <> 'member:added' order by chat_id, seq
"""
# What there must be none of, as the number of these.
NONE_OF = {
    "select count(*) from parley.outbox_queue": "events still in the queue",
    "select count(*) from parley.outbox where set_aside_at is not null": "events set aside",
    """
    select count(*) from parley.chats c
    where array(select o.seq from parley.outbox o where o.chat_id = c.id order by o.seq)
        <> array(select generate_series(1, c.seq))
    """: "chats with changes that have no event",
}


class Arrival(NamedTuple):
    """What arrived on a channel; data is the text that was sent, which no other event of ours has."""

    channel: str
    event: str
    data: str


@dataclass
class Kill:
    """One kill: from when on the victim may have been dead, and when it was started again."""

    victim: str
    at: float
    until: float = float("inf")


# The door


class Door:
    """A TCP port that is Pusher's for the listener. It passes all on as it comes, and notes what was answered 200."""

    def __init__(self, pusher: Pusher) -> None:
        self.arrivals: list[tuple[float, Arrival]] = []
        self.opened: list[float] = []  # when the listener connected
        self.problems: list[str] = []
        self._pusher = pusher
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _, context: self.problems.append(f"at the door: {context}"))
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        opening = asyncio.start_server(self._connection, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(opening, self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _shut(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened.append(time.monotonic())
        asked: deque[bytes] = deque()
        with contextlib.suppress(OSError, asyncio.CancelledError), contextlib.closing(writer):
            pusher_reader, pusher_writer = await asyncio.open_connection("127.0.0.1", self._pusher.port)
            with contextlib.closing(pusher_writer):
                asking = asyncio.create_task(self._ask(reader, pusher_writer, asked))
                answering = asyncio.create_task(self._answer(pusher_reader, writer, asked))
                await asyncio.wait({asking, answering}, return_when=asyncio.FIRST_COMPLETED)
                # Pusher still does what a listener asked that is dead by now.
                while asked and not answering.done():
                    await asyncio.wait({answering}, timeout=0.01)
                for task in (asking, answering):
                    task.cancel()

    async def _ask(self, reader: asyncio.StreamReader, pusher: asyncio.StreamWriter, asked: deque[bytes]) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head, body = await read_message(reader)
                asked.append(body)
                pusher.write(head + body)
                await pusher.drain()

    async def _answer(self, pusher: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: deque[bytes]) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head, body = await read_message(pusher)
                if head.split(b" ", 2)[1] == b"200":
                    now = time.monotonic()
                    self.arrivals += [(now, arrival) for arrival in arrivals_of(asked[0])]
                writer.write(head + body)
                asked.popleft()


async def read_message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The head and the body of an HTTP/1.1 message with a Content-Length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)\r\n", head, re.IGNORECASE)
    assert length is not None, head
    return head, await reader.readexactly(int(length[1]))


def arrivals_of(body: bytes) -> Iterator[Arrival]:
    """What a request of the listener publishes."""
    request = json.loads(body)
    for event in request.get("batch", [request]):
        for channel in event.get("channels") or [event["channel"]]:
            yield Arrival(channel, event["name"], event["data"])


# The subscriber


class Ear:
    """Hears channels, and connects again whenever it is cut off; `heard` has for each connection what it heard."""

    def __init__(self, pusher: Pusher, channels: Iterable[str]) -> None:
        self.heard: list[list[Arrival]] = []
        self._pusher = pusher
        self._channels = list(channels)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(WebSocketException, OSError, EOFError):
                self._hear()
            self._stop.wait(PATIENCE)

    def _hear(self) -> None:
        url = f"ws://127.0.0.1:{self._pusher.port}/app/{self._pusher.key}?protocol=7&client=test&version=1"
        with connect(url, max_size=None, compression=None, open_timeout=5, close_timeout=1) as connection:
            socket_id = json.loads(json.loads(connection.recv(5))["data"])["socket_id"]
            for channel in self._channels:
                auth = f"{self._pusher.key}:{sign(self._pusher.secret, f'{socket_id}:{channel}')}"
                connection.send(json.dumps({"event": "pusher:subscribe", "data": {"channel": channel, "auth": auth}}))
            heard: list[Arrival] = []
            self.heard.append(heard)
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    message = json.loads(connection.recv(0.1))
                    if message["event"] == "pusher:ping":
                        connection.send(json.dumps({"event": "pusher:pong", "data": {}}))
                    elif not message["event"].startswith("pusher"):
                        heard.append(Arrival(message["channel"], message["event"], message["data"]))


# The writers


@dataclass
class Ledger:
    """What writers were told is done: changes, each as (chat, event, what its payload says), and what must be stored.

    `stored` has the content of a message and the title of a chat by id, None if it was deleted. What was not answered
    may have been done all the same: `unsure` has what may be stored instead.
    """

    changes: list[tuple[str, str, Any]] = field(default_factory=list)
    stored: dict[str, str | None] = field(default_factory=dict)
    unsure: dict[str, set[str | None]] = field(default_factory=lambda: defaultdict(set))
    surprises: list[str] = field(default_factory=list)


class Writer:
    """A user who changes a chat without a pause. Who owns the chat also renames it."""

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
        """Writes until it is told to stop."""
        with contextlib.closing(self._connection):
            for number in count(1):
                if stop.is_set():
                    return
                if not self._change(f"{self._name} {number}"):
                    stop.wait(PATIENCE)

    def _change(self, text: str) -> bool:
        """Makes one change; answers whether that was acknowledged."""
        kind = self._random.choices(["send", "edit", "delete", "rename"], [60, 25, 12, 3 * self._is_owner])[0]
        if kind == "rename":
            return self._rename(text)
        if kind == "send" or not self._mine:
            return self._send(text)
        message = self._mine.pop(self._random.randrange(len(self._mine)))
        return self._edit(message, text) if kind == "edit" else self._delete(message)

    def _send(self, content: str) -> bool:
        content = content.ljust(self._random.choice([0, 200, 2000, 12_000]), ".")
        message = self._ask(201, "POST", "/messages", {"content": content})
        if message:
            self.ledger.stored[message["id"]] = content
            self.ledger.changes.append((self._chat, "message:sent", message["id"]))
            self._mine.append(message["id"])
        return message is not None

    # What is not answered may be done later still, so its message is let go.

    def _edit(self, message: str, content: str) -> bool:
        is_done = self._ask(200, "PUT", f"/messages/{message}", {"content": content}) is not None
        self._note(message, content, is_done=is_done)
        if is_done:
            self.ledger.changes.append((self._chat, "message:updated", (message, content)))
            self._mine.append(message)
        return is_done

    def _delete(self, message: str) -> bool:
        is_done = self._ask(204, "DELETE", f"/messages/{message}", None) is not None
        self._note(message, None, is_done=is_done)
        if is_done:
            self.ledger.changes.append((self._chat, "message:deleted", message))
        return is_done

    def _rename(self, title: str) -> bool:
        is_done = self._ask(200, "PUT", "", {"title": title}) is not None
        self._note(self._chat, title, is_done=is_done)
        if is_done:
            self.ledger.changes.append((self._chat, "chat:updated", (self._chat, title)))
        return is_done

    def _note(self, what: str, state: str | None, *, is_done: bool) -> None:
        if is_done:
            self.ledger.stored[what] = state
        else:
            self.ledger.unsure[what].add(state)

    def _ask(self, status: int, method: str, path: str, body: Any) -> Any:
        """The answer, if it has this status; None if there is none, or if it is 503."""
        try:
            content = None if body is None else json.dumps(body)
            self._connection.request(method, f"/api/chats/{self._chat}{path}", content, self._headers)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            return None
        if response.status == status:
            return json.loads(answer or b"{}")
        if response.status != http.client.SERVICE_UNAVAILABLE:
            self.ledger.surprises.append(f"{method} {path}: {response.status} {answer[:200]!r}")
        return None


@contextmanager
def writing(writers: Iterable[Writer]) -> Iterator[None]:
    """These write, until the end of the block."""
    stop = threading.Event()
    with ThreadPoolExecutor(WRITERS) as threads:
        running = [threads.submit(writer.write_until, stop) for writer in writers]
        try:
            yield
        finally:
            stop.set()
        for writer in running:
            writer.result()


# The servers


class Restarted(Listener):
    """A listener that is looked after as by a service manager, and whose logs are kept."""

    def __init__(self, directory: Path, database_url: str, pusher: Pusher, **options: str) -> None:
        super().__init__(directory, database_url, pusher, **options)
        self.logs: list[Path] = []

    def revive(self) -> None:
        """Has it run, if it ended: it does by itself where the database is away when it starts. Returns at once."""
        if self.child is None or self.child.exit_code is not None:
            self.kill()
            self.log = self.log.with_name(f"listener-{len(self.logs)}.log")
            self.logs.append(self.log)
            self.spawn()

    def complaints(self) -> list[str]:
        """What it should never have logged."""
        return [line for log in self.logs for line in log.read_text().splitlines() if COMPLAINT.search(line)]


@dataclass
class Servers:
    """What is killed; `kills` has each kill that was."""

    postgres: Postgres
    pusher: Pusher
    listener: Restarted
    api: Api
    kills: list[Kill] = field(default_factory=list)

    def kill(self, victim: str) -> None:
        """Ends it by SIGKILL; harmless if it has ended."""
        self.kills.append(Kill(victim, time.monotonic()))
        if victim == "postgres":
            self._kill_postgres()
        else:
            getattr(self, victim).kill()

    def _kill_postgres(self) -> None:
        # All of its processes, as a power cut does: those that were left would still finish what they do.
        family = psutil.Process(self.postgres.child.pid).children() if self.postgres.child else []
        self.postgres.kill()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def revive(self) -> None:
        """Starts what was killed. Returns when all but the listener are ready."""
        for victim in VICTIMS:
            server = getattr(self, victim)
            if victim == "listener":
                server.revive()
            elif server.child is None:
                server.start()
            for kill in self.kills:
                if kill.victim == victim:
                    kill.until = min(kill.until, time.monotonic())


@contextmanager
def serving(soketi: Path | None) -> Iterator[tuple[Servers, Door]]:
    """All servers, started; PostgreSQL with its defaults, and so with fsync."""
    with ExitStack() as stack:
        directory = stack.enter_context(open_directory())
        valkey = stack.enter_context(Valkey(directory / "valkey"))
        postgres = stack.enter_context(new_postgres(directory / "postgres"))
        pusher = stack.enter_context(
            Soketi(directory / "pusher", soketi / "node_modules") if soketi else Pusher(directory / "pusher")
        )
        door = stack.enter_context(Door(pusher))
        migrate(postgres)
        url = postgres.url("parley", "events", "events")
        listener = Restarted(directory, url, pusher, PUSHER_PORT=str(door.port))
        api = Api(directory, postgres.url("parley", "app", "app"), valkey.url(), RATE_LIMIT_REQUESTS="1000000000")
        stack.callback(api.kill)
        stack.callback(listener.kill)
        servers = Servers(postgres, pusher, listener, api)
        servers.revive()
        listener.child_until(LEADS)
        yield servers, door


@contextmanager
def superuser(postgres: Postgres) -> Iterator[Connection]:
    """A connection of the superuser."""
    with psycopg.connect(postgres.url("parley"), autocommit=True) as connection:
        yield connection


# The run


@dataclass
class Outbox:
    """What parley.outbox has in the end."""

    expected: set[Arrival] = field(default_factory=set)
    places: dict[Arrival, tuple[str, int]] = field(default_factory=dict)  # on a chat's own channel: chat and seq
    changes: set[tuple[str, str, Any]] = field(default_factory=set)
    last: dict[str, Arrival] = field(default_factory=dict)  # of each chat's channel

    @classmethod
    def read(cls, dba: Connection) -> Self:
        """All of it."""
        outbox = cls()
        for chat, seq, event, payload, channels in dba.execute(EVENTS):
            arrivals = [Arrival(channel, event, payload) for channel in channels]
            outbox.expected.update(arrivals)
            outbox.places[arrivals[0]] = chat, seq
            outbox.changes.add((chat, event, essence(json.loads(payload))))
            outbox.last[channels[0]] = arrivals[0]
        return outbox


def essence(payload: Any) -> Any:
    """What a payload says, as in a Ledger."""
    if isinstance(payload, dict) and "updates" in payload:
        return (payload["id"], payload["updates"].get("content") or payload["updates"].get("title"))
    return payload["id"] if isinstance(payload, dict) else payload


@dataclass
class Report:
    """What there was to see."""

    seed: int
    rounds: int
    kills: Counter[str]
    acknowledged: int
    recorded: int
    arrivals: int  # of events, each on its chat's own channel
    connections: int  # of the subscriber
    heard: int
    seconds: float
    repeated: int = 0
    reach: float = 0  # the longest time between an arrival and the kill for which it came again
    repeated_without_kill: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @property
    def violations(self) -> list[str]:
        """Whatever should not be, in words."""
        return [*self.lost, *self.out_of_order, *self.repeated_without_kill, *self.others]

    def __str__(self) -> str:
        kills = ", ".join(f"{victim} {number}" for victim, number in sorted(self.kills.items()))
        return "\n".join(
            [
                f"seed {self.seed}: {self.rounds} rounds in {self.seconds:.0f} s",
                f"kills: {self.kills.total()} ({kills})",
                f"changes acknowledged: {self.acknowledged}",
                f"events recorded: {self.recorded}",
                f"arrivals: {self.arrivals}; heard by the subscriber: {self.heard}, on {self.connections} connections",
                f"repeated: {self.repeated}, which had arrived up to {self.reach:.2f} s before a kill",
                f"repeated without a kill: {len(self.repeated_without_kill)}",
                f"order violations: {len(self.out_of_order)}",
                f"lost: {len(self.lost)}",
                f"other violations: {len(self.others)}",
                *(f"  {violation}" for violation in self.violations[:20]),
            ]
        )


def run(rounds: int, seed: int, soketi: Path | None = None) -> Report:
    """Kills in so many rounds, of which the first and the last pass without, and tells what came of it."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    begun = time.monotonic()
    with serving(soketi) as (servers, door):
        chats = [new_chat(servers.api, f"owner-{number}", f"member-{number}") for number in range(CHATS)]
        roles = [("owner", n) for n in range(CHATS)] + [("member", n) for n in range(WRITERS - CHATS)]
        writers = [Writer(servers.api, chats[n], f"{role}-{n}", seed, is_owner=role == "owner") for role, n in roles]
        with Ear(servers.pusher, [f"private-chat-{chat}" for chat in chats]) as ear:
            with writing(writers):
                let_pass(chance.uniform(SHORTEST, LONGEST))
                for _ in range(rounds - 2):
                    kill_some(servers, chance)
                settle(servers)  # what comes again from now on, no kill explains
                let_pass(chance.uniform(SHORTEST, LONGEST))
            settle(servers)
            with superuser(servers.postgres) as dba:
                outbox = Outbox.read(dba)
                others = broken_promises(dba, outbox, [writer.ledger for writer in writers])
            if not wait_for(lambda: last_of_channels(ear.heard[-1]) == outbox.last, HEAR_SECONDS):
                others.append("the subscriber did not hear the last events")
        others += door.problems
        others += [f"the listener said: {line}" for line in servers.listener.complaints()]
        report = Report(
            seed,
            rounds,
            Counter(kill.victim for kill in servers.kills),
            acknowledged=sum(len(writer.ledger.changes) for writer in writers),
            recorded=len(outbox.places),
            arrivals=sum(arrival in outbox.places for _, arrival in door.arrivals),
            connections=len(ear.heard),
            heard=sum(map(len, ear.heard)),
            seconds=time.monotonic() - begun,
            others=others,
        )
        judge(report, outbox, door.arrivals, ear.heard)
        judge_repetitions(report, outbox, door.arrivals, [lasting(kill, door.opened) for kill in servers.kills])
        return report


def new_chat(api: Api, owner: str, member: str) -> str:
    """The id of a new chat of two users."""
    with api.client(owner) as one, api.client(member) as other:
        other.get("/api/chats").raise_for_status()  # so that they are known
        created = one.post("/api/chats", json={"title": "Killed"}).raise_for_status()
        chat: str = created.json()["id"]
        one.post(f"/api/chats/{chat}/members", json={"userId": member}).raise_for_status()
        return chat


def let_pass(seconds: float) -> None:
    """Lets writers write."""
    wait_for(lambda: False, seconds)


def kill_some(servers: Servers, chance: random.Random) -> None:
    """Kills one or two, which may be away at the same time, and starts them again."""
    for victim in chance.sample(VICTIMS, chance.choice([1, 2])):
        let_pass(chance.uniform(SHORTEST, LONGEST) / 2)
        servers.kill(victim)
        if chance.random() < 0.5:
            servers.revive()
    let_pass(chance.uniform(0, SHORTEST))
    servers.revive()


def settle(servers: Servers) -> None:
    """Returns when everything is up and what kills have left behind is published."""
    servers.revive()
    with superuser(servers.postgres) as dba:
        last = number(dba, "select max(id) from parley.outbox")
        wait_for(lambda: is_published(servers, dba, last), SETTLE_SECONDS)


def is_published(servers: Servers, dba: Connection, last: int) -> bool:
    """Whether events up to this id are published; has the listener run, which may just have ended by itself."""
    servers.listener.revive()
    return number(dba, "select count(*) from parley.outbox_queue where id <= %s", last) == 0


def number(dba: Connection, query: str, *arguments: Any) -> int:
    """The number that a query answers."""
    (value,) = dba.execute(query, arguments).fetchone() or (0,)
    return int(value or 0)


def last_of_channels(arrivals: Iterable[Arrival]) -> dict[str, Arrival]:
    """The last one on each channel."""
    return {arrival.channel: arrival for arrival in arrivals}


# The verdict


def broken_promises(dba: Connection, outbox: Outbox, ledgers: Iterable[Ledger]) -> list[str]:
    """What the database does not have as it should."""
    state: dict[str, str] = dict(dba.execute(STATE).fetchall())
    found = [f"{number(dba, query)} {what}" for query, what in NONE_OF.items() if number(dba, query)]
    for ledger in ledgers:
        found += ledger.surprises
        found += [f"done, and no event: {change}" for change in ledger.changes if change not in outbox.changes]
        found += [
            f"stored: {state.get(what)!r:.60}, done: {done!r:.60}, unsure: {ledger.unsure[what]!r:.60}"
            for what, done in ledger.stored.items()
            if state.get(what) not in {done, *ledger.unsure[what]}
        ]
    return found


def judge(report: Report, outbox: Outbox, door: list[tuple[float, Arrival]], heard: list[list[Arrival]]) -> None:
    """What was lost, or came in another order."""
    arrivals = [arrival for _, arrival in door]
    report.lost = [f"lost: {told(a)}" for a in outbox.expected.difference(arrivals)]
    report.others += [f"arrived, and was not recorded: {told(a)}" for a in set(arrivals) - outbox.expected]
    report.out_of_order = skips(outbox, arrivals, "Pusher", {chat: 0 for chat, _ in outbox.places.values()})
    for connection in heard:
        report.out_of_order += skips(outbox, connection, "the subscriber", {})


def skips(outbox: Outbox, arrivals: Iterable[Arrival], place: str, last: dict[str, int]) -> list[str]:
    """Where a chat's event came too early; `last` has each chat's last event before, if it matters."""
    found = []
    for chat, seq in filter(None, map(outbox.places.get, arrivals)):
        if seq > last.get(chat, seq) + 1:
            found.append(f"at {place}, {seq} came after {last[chat]} in chat {chat}")
        last[chat] = seq
    return found


def judge_repetitions(report: Report, outbox: Outbox, door: list[tuple[float, Arrival]], kills: list[Kill]) -> None:
    """Which arrivals no kill explains."""
    times: dict[Arrival, list[float]] = defaultdict(list)
    news: dict[str, list[float]] = defaultdict(list)  # when something new arrived on a channel
    for at, arrival in door:
        if arrival in outbox.places:
            if arrival not in times:
                news[arrival.channel].append(at)
            times[arrival].append(at)
    for arrival, each in times.items():
        for first, again in pairwise(each):
            report.repeated += 1
            reaches = [
                max(0.0, kill.at - first) for kill in kills if explains(kill, first, again, news[arrival.channel])
            ]
            report.reach = max(report.reach, min(reaches, default=0))
            if not reaches:
                report.repeated_without_kill.append(f"again after {again - first:.3f} s: {told(arrival)}")


def lasting(kill: Kill, opened: Iterable[float]) -> Kill:
    """A kill; one of the listener lasts until the next one connects: what the dead one asked for still arrives."""
    if kill.victim != "listener":
        return kill
    return replace(kill, until=min((at for at in opened if at > kill.until), default=float("inf")))


def explains(kill: Kill, first: float, again: float, news: list[float]) -> bool:
    """Whether it is for this kill that something arrived again."""
    return (
        kill.victim in FORGETFUL
        and kill.at - REACH <= first <= kill.until
        and kill.at <= again
        and bisect_right(news, kill.until) >= bisect_left(news, again)
    )


def told(arrival: Arrival) -> str:
    """An arrival in few words."""
    return f"{arrival.event} on {arrival.channel}: {arrival.data:.80}"


def main() -> None:
    """Runs and reports; the exit code is 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.kill", description="Kills everything, again and again.")
    parser.add_argument("--rounds", type=int, default=100, help="at least 2: the first and the last are without a kill")
    parser.add_argument("--seed", type=int, default=new_seed(), help="of the writers' doings and the moments of kills")
    parser.add_argument("--soketi", type=Path, metavar="DIR", help="where soketi is installed, to use it as Pusher")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    report = run(options.rounds, options.seed, options.soketi)
    print(report)
    sys.exit(1 if report.violations else 0)


def new_seed() -> int:
    """Another one each time."""
    return secrets.randbelow(1_000_000)


if __name__ == "__main__":
    main()
