"""An hour of bad network in a minute, and in the end each client's copy of a chat is what the database has.
`python -m tests.e2e.bad_network [--seconds 60] [--seed N] [--soketi DIR]`

Clients (followers.py) follow a chat over wires on which the weather changes all the time (weather.py). Lids of laptops
are shut; the listener is killed; a client is removed from the chat and added again; one sleeps until what it missed is
not kept any more; one may send ten requests a second only; and one is in a chat that is deleted. Meanwhile most of them
write, and so does the owner, over a good network: they send, edit and delete messages, of which some are too large for
an event, and the owner renames the chat, adds and removes members.

Time is compressed by 60, so that a minute is an hour: a client's pauses are a sixtieth of what local_copy.py has, and
an outage of half a second is one of half a minute. Seconds that the server has a client wait (Retry-After) are seconds.

In the end the network is good, there are no live events any more, and all must get to the end by themselves. Then hold:

- Each copy is what the database has, with all fields, and so is what somebody gets who reads the chat now.
- From one time that a client read all to the next, it applied what the log has, event by event, and each once. And when
  it had caught up after it had read all, its copy was what the log had led to up to there.
- What a client was told is sent is in the log once, nothing else of its user's is, and it says what it was to say last.
  What two devices of one user added to one message is in it, once.
- Who was in the chat that was deleted has no copy of it.
- There was something to stand: some trouble of each kind. And a client that reads once, and then applies live events
  as they come, ends with something else than the database has.
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx
import psycopg

from api.dev.process import wait_for
from api.dev.pusher_process import Pusher
from api.dev.valkey import Valkey
from tests.api.support import unlimited
from tests.e2e.followers import (
    COMPRESSION,
    GUESTS,
    PATIENCE,
    Adder,
    Client,
    Naive,
    Outline,
    Owner,
    Place,
    Talker,
    Transport,
)
from tests.e2e.kill import Restarted, new_seed
from tests.e2e.local_copy import LocalCopy, Message
from tests.e2e.soketi import Soketi
from tests.e2e.weather import Network, Weather
from tests.listener.support import LEADS
from tests.support import Api, Connection, migrate, new_postgres, open_directory, roll_up, running, wait_until

LID_SECONDS, LISTENER_SECONDS = (0.3, 1.5), (0.2, 0.7)
WINDOW_REQUESTS = 10  # in a second

TITLE = "Bad network"
OWNER = "olga"
MEMBERS = ("alice", "ann", "bob", "carol", "dave", "nina")
VISITOR = "vera"  # in a chat that is deleted

LOG = "select chat_id::text, seq, event, payload from parley.outbox"
MESSAGES = """
select json_build_object('id', id, 'content', content, 'type', type, 'userId', user_id,
    'createdAt', parley.iso8601(created_at), 'updatedAt', parley.iso8601(updated_at))
from parley.messages where chat_id = %s
"""
# What there must be some of, in words.
KINDS = {
    "outages": "outages of a wire",
    "connections": "connections over a wire",
    "ConnectError": "connections refused",
    Weather.CUTTING_REQUESTS: "connections cut in what a client sent",
    Weather.CUTTING_ANSWERS: "connections cut in an answer, or in a live event",
    Weather.SLOW: "pieces delayed",
    Weather.SILENT: "pieces swallowed",
    "ReadTimeout": "requests given up",
    "asleep": "lids shut",
    "killed": "listeners killed",
    "heard": "live events heard",
    "read": "times that somebody read all of a chat",
    "applied": "events applied",
    "truncated": "… that had no content",
    "410": "requests for events that were not kept any more",
    "gone": "times that somebody was in a chat no more",
    "deleted": "chats deleted",
    "replayed": "answers to a request that was repeated",
    "412": "edits of a message that was another by then",
    "429": "requests over the limit",
}


# The servers


@contextmanager
def serving(seed: int, soketi: Path | None) -> Iterator[tuple[Place, Restarted, Connection]]:
    """All servers, started, the listener, and a superuser."""
    with ExitStack() as stack:
        directory = stack.enter_context(open_directory())
        valkey = stack.enter_context(Valkey(directory / "valkey"))
        postgres = stack.enter_context(new_postgres(directory / "postgres", fsync="off"))
        pusher = stack.enter_context(
            Soketi(directory / "pusher", soketi / "node_modules") if soketi else Pusher(directory / "pusher")
        )
        migrate(postgres)
        listener = Restarted(directory, postgres.url("parley", "events", "events"), pusher)
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
        listener.child_until(LEADS)
        dba = stack.enter_context(psycopg.connect(postgres.url("parley"), autocommit=True))
        yield Place(api, pusher, seed), listener, dba


# The run


class World:
    """Who is there, and what happens to them."""

    def __init__(self, place: Place, network: Network, listener: Restarted, dba: Connection) -> None:
        self.happened: Counter[str] = Counter()
        self.log: dict[tuple[str, int], tuple[str, Any]] = {}  # all events, those too that are not kept any more
        self._network, self._listener, self._dba, self._stack = network, listener, dba, ExitStack()
        self._chance = random.Random(place.seed)  # noqa: S311 (no secret)
        self._owner = self._stack.enter_context(unlimited(place.api, OWNER))
        for user in (*MEMBERS, *GUESTS, VISITOR):
            with place.api.client(user) as http:
                http.get("/api/chats").raise_for_status()  # so that they are known
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
        """Has everything happen for so long, and until there was some of each kind."""
        steps = [self._sleep, self._sleep_long, self._kill_the_listener, self._remove_a_member, self._delete_a_chat]
        begun = time.monotonic()
        while (passed := time.monotonic() - begun) < seconds or (self.unseen() and passed < seconds + PATIENCE):
            for step in self._chance.sample(steps, len(steps)):
                if self.failures:
                    return
                step()

    def _sleep(self) -> None:
        with self._chance.choice(self.followers).asleep():
            self._let_pass(LID_SECONDS)
        self.happened["asleep"] += 1

    def _sleep_long(self) -> None:
        """… until what it missed is not kept any more."""
        client = self._chance.choice(self.followers)
        with client.asleep():
            wait_until(lambda: client.copy.seq is None or self._forget(client.copy.seq + 1), PATIENCE)

    def _forget(self, seq: int) -> bool:
        """Removes what may go from the log; answers whether this event has gone."""
        roll_up(self._dba)
        self.read_log()
        self._dba.execute("select listener.remove_events('0', 1000000)")
        kept = "select from parley.outbox where (chat_id, seq) = (%s, %s)"
        return self.last_seq() >= seq and self._dba.execute(kept, [self.chat, seq]).rowcount == 0

    def _kill_the_listener(self) -> None:
        self._listener.kill()
        self._let_pass(LISTENER_SECONDS)
        self._listener.revive()
        self.happened["killed"] += 1

    def _remove_a_member(self) -> None:
        """… and adds them again."""
        self._ask("DELETE", f"/{self.chat}/members/bob")
        self._let_pass(LID_SECONDS)
        self._ask("POST", f"/{self.chat}/members", {"userId": "bob"})

    def _delete_a_chat(self) -> None:
        """… once somebody has a copy of it."""
        if self.visitor.copy.applied and not self.happened["deleted"]:
            self._ask("DELETE", f"/{self._short_lived}")
            self.happened["deleted"] += 1

    def _let_pass(self, seconds: tuple[float, float]) -> None:
        wait_for(lambda: False, self._chance.uniform(*seconds))

    def settle(self) -> None:
        """Has everybody end, over a good network and without live events; returns when they have, or should have."""
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

    # What there was to see

    @property
    def failures(self) -> list[str]:
        """How clients ended, which should not have."""
        return [failure for client in self._clients for failure in client.failures]

    def seen(self) -> Counter[str]:
        """How often there was what."""
        return sum((client.seen() for client in self._clients), self.happened + self._network.happened())

    def unseen(self) -> list[str]:
        """What there was none of."""
        seen = self.seen()
        return [words for kind, words in KINDS.items() if not seen[kind]]

    def read_log(self) -> None:
        """Notes the events that are kept."""
        for chat, seq, event, data in self._dba.execute(LOG):
            self.log[chat, seq] = event, data

    def events(self) -> dict[int, tuple[str, Any]]:
        """Those of the chat, by their seq."""
        return {seq: change for (chat, seq), change in sorted(self.log.items()) if chat == self.chat}

    def last_seq(self) -> int:
        """Of the chat."""
        row = self._dba.execute("select seq from parley.chats where id = %s", [self.chat]).fetchone()
        return int(row[0]) if row else 0


@dataclass
class Report:
    """What there was to see."""

    seed: int
    seconds: float
    seen: Counter[str]
    events: int
    messages: int
    missed: int  # messages that the naive client has otherwise
    violations: list[str]

    def __str__(self) -> str:
        return "\n".join(
            [
                f"seed {self.seed}: {self.seconds:.0f} s, as if {self.seconds * COMPRESSION / 60:.0f} minutes",
                *(f"{words}: {self.seen[kind]}" for kind, words in KINDS.items()),
                f"events of the chat: {self.events}, and messages in the end: {self.messages}",
                f"messages that are others for who never catches up: {self.missed}",
                f"violations: {len(self.violations)}",
                *(f"  {violation}" for violation in self.violations[:20]),
            ]
        )


def run(seconds: float, seed: int, soketi: Path | None = None) -> Report:
    """Has a bad network for so long, and tells what came of it."""
    with serving(seed, soketi) as (place, listener, dba), Network(seed) as network:
        with World(place, network, listener, dba) as world:
            begun = time.monotonic()
            world.make_trouble(seconds)
            passed, seen, unseen = time.monotonic() - begun, world.seen(), world.unseen()
            world.settle()
        world.read_log()
        stored = Chat.stored(dba, world.chat)
        read = asyncio.run(read_anew(place, world.chat))
    missed = len(dict(Chat.copied(world.naive.copy).contents().items() ^ stored.contents().items()))
    violations = [
        *(f"there were no {words}" for words in unseen),
        *world.failures,
        *(f"who reads it now has {difference}" for difference in read.differences(stored)),
        *(problem for client in world.followers for problem in unlike(client, stored)),
        *(problem for client in world.followers for problem in misapplied(client, world.events())),
        *(problem for client in world.followers for problem in miscopied(client, world.events())),
        *(problem for talker in world.talkers for problem in misspoken(talker, world.events(), stored)),
        *misadded(world.adders, stored),
        *(["a copy of a chat that was deleted"] if world.visitor.copy.seq is not None else []),
        *([] if missed else ["who never caught up missed nothing"]),
    ]
    return Report(seed, passed, seen, len(world.events()), len(stored.messages), missed, violations)


async def read_anew(place: Place, chat: str) -> "Chat":
    """A chat as the API has it."""
    headers = place.api.headers("bob")
    async with httpx.AsyncClient(base_url=place.api.url, headers=headers, transport=Transport()) as http:
        copy = LocalCopy(http, "", chat)
        await copy.read()
        return Chat.copied(copy)


# The verdict


class Chat(NamedTuple):
    """A chat, as somebody has it."""

    title: str
    members: set[str]
    messages: dict[str, Message]

    @classmethod
    def copied(cls, copy: LocalCopy) -> Self:
        """As a client has it."""
        return cls(copy.title, copy.members, copy.messages)

    @classmethod
    def stored(cls, dba: Connection, chat: str) -> Self:
        """As the database has it."""
        ((title,),) = dba.execute("select title from parley.chats where id = %s", [chat]).fetchall()
        members = dba.execute("select user_id from parley.members where chat_id = %s", [chat]).fetchall()
        messages = [message for (message,) in dba.execute(MESSAGES, [chat])]
        return cls(title, {user for (user,) in members}, {message["id"]: message for message in messages})

    def contents(self) -> dict[str, str]:
        """What the messages say."""
        return {key: message.get("content", "") for key, message in self.messages.items()}

    def differences(self, other: Self) -> list[str]:
        """Where another is not the same."""
        return [
            *([f"the title {self.title}, not {other.title}"] if self.title != other.title else []),
            *(f"the member {user}, which is no member" for user in self.members - other.members),
            *(f"not the member {user}" for user in other.members - self.members),
            *(
                f"the message {self.messages.get(key)!s:.200}, not {other.messages.get(key)!s:.200}"
                for key in sorted(self.messages.keys() | other.messages.keys())
                if self.messages.get(key) != other.messages.get(key)
            ),
        ]


Log = dict[int, tuple[str, Any]]  # the events of the chat, and their data, by seq


def unlike(client: Client, stored: Chat) -> list[str]:
    """Where a client's copy is not what is stored."""
    return [f"{client.name} has {difference}" for difference in Chat.copied(client.copy).differences(stored)]


def misapplied(client: Client, log: Log) -> list[str]:
    """What a client did not apply as the log has it, each event after the one before."""
    changed = {data for event, data in log.values() if event == "message:deleted"} | edited(log)
    return [
        f"{client.name} applied {event!s:.200}, not {seq}, {log.get(seq)!s:.200}"
        for first, events in client.copy.applied
        for seq, event in enumerate(events, first + 1)
        if event["seq"] != seq or (event["event"], event["data"]) not in forms(*log[seq], changed)
    ]


def edited(log: Log) -> set[str]:
    """The messages whose content was edited."""
    return {data["id"] for event, data in log.values() if event == "message:updated" and "content" in data["updates"]}


def forms(event: str, data: Any, changed: set[str]) -> list[tuple[str, Any]]:
    """The forms in which an event may be told: without what was replaced or deleted since."""
    if event == "chat:updated":
        return [(event, data), (event, data | {"updates": {}})]
    if isinstance(data, dict) and data["id"] in changed:
        bare = {name: value for name, value in data.items() if name != "content"} | {"truncated": True}
        if "updates" in data:
            bare["updates"] = {name: value for name, value in data["updates"].items() if name != "content"}
        return [(event, data), (event, bare)]
    return [(event, data)]


def miscopied(client: Client, log: Log) -> list[str]:
    """Where a client was not where the log had led to when it had caught up. Of a message that it had to fetch, it may
    have learned earlier than by its event that it was deleted."""
    outlines = outlined(log)
    fetched = {data["id"] for _, data in log.values() if "truncated" in data} | edited(log)
    return [
        f"{client.name} had {outline!s:.200} at {seq}, and the log has {outlines[seq]!s:.200}"
        for seq, outline in client.copy.caught_up
        if outline[:2] != outlines[seq][:2] or (outline.messages ^ outlines[seq].messages) - fetched
    ]


def outlined(log: Log) -> dict[int, Outline]:
    """What the chat was after each event."""
    now = Outline(TITLE, {OWNER}, set())
    outlines = {}
    for seq, (event, data) in log.items():
        match event:
            case "chat:updated":
                now = now._replace(title=data["updates"].get("title", now.title))
            case "member:added":
                now = now._replace(members=now.members | {data})
            case "member:removed":
                now = now._replace(members=now.members - {data})
            case "message:sent":
                now = now._replace(messages=now.messages | {data["id"]})
            case "message:deleted":
                now = now._replace(messages=now.messages - {data})
        outlines[seq] = now
    return outlines


def misspoken(talker: Talker, log: Log, stored: Chat) -> list[str]:
    """What somebody sent that is not in the log, or is there and was not sent, or says something else now."""
    logged = {data["id"] for event, data in log.values() if event == "message:sent" and data["userId"] == talker.user}
    contents = stored.contents()
    return [
        *(f"{talker.name} sent {message}, and the log does not have it" for message in talker.said.keys() - logged),
        *(f"{talker.name} did not send {message}, or had sent it before" for message in logged - talker.said.keys()),
        *(
            f"{talker.name} last said {said!s:.80}, and there is {contents.get(message)!s:.80}"
            for message, said in talker.said.items()
            if contents.get(message) != said
        ),
    ]


def misadded(adders: list[Adder], stored: Chat) -> list[str]:
    """What two devices added to a message, and is not in it, or not once."""
    added = Counter(["List", *(word for adder in adders for word in adder.added)])
    there = Counter(stored.contents()[adders[0].message].split())
    return [
        f"{word} was added {added[word]} times, and is there {there[word]} times"
        for word in added | there
        if added[word] != there[word]
    ]


def main() -> None:
    """Runs and reports; the exit code is 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.bad_network", description="An hour of bad network.")
    parser.add_argument("--seconds", type=float, default=60, help="for how long it is bad, a minute for each")
    parser.add_argument("--seed", type=int, default=new_seed(), help="of what happens and of what is said")
    parser.add_argument("--soketi", type=Path, metavar="DIR", help="where soketi is installed, to use it as Pusher")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    report = run(options.seconds, options.seed, options.soketi)
    print(report)
    sys.exit(1 if report.violations else 0)


if __name__ == "__main__":
    main()
