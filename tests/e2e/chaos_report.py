"""The promises that must hold after tests.e2e.chaos, and a report of violations.

- Every acknowledged change is in the database, and has its event.
- Each event in the outbox arrived at Pusher on all of the channels that it has under its own name, and no other event
  did. tests/listener/test_user_channels.py has those that arrive as chat:event.
- The events of a chat arrived in the order of their seq. An event may arrive again, together with all that followed it:
  each event is followed by its successor or by an earlier one, but none is skipped.
- An event arrived again only if the listener or PostgreSQL was killed in between: shortly after the first arrival, and
  before a new event of its chat arrived.
- The subscriber received the events of a chat in this order too, on each connection, and in the end all of them.
"""

import json
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Self

from tests.database import Connection
from tests.e2e.killable_servers import Kill
from tests.e2e.recording_proxy import Arrival
from tests.e2e.writers import Ledger

LOSES_ACKNOWLEDGEMENTS = ("postgres", "listener")  # after a kill of these, published events may be published again
REACH_SECONDS = 2.0  # the longest time between the first publication of such an event and the kill
STATE = "select id::text, content from parley.messages union all select id::text, title from parley.chats"
EVENTS = """
select chat_id::text, row_number() over (partition by chat_id order by seq), event, payload::text,
    parley.event_channels(o)
from parley.outbox o where parley.event_channels(o) <> '{}' order by chat_id, seq
"""
# Counts that must be zero.
ZERO_COUNTS = {
    "select count(*) from parley.outbox_queue": "events still in the queue",
    "select count(*) from parley.outbox where dead_lettered_at is not null": "dead-lettered events",
    """
    select count(*) from parley.chats c
    where array(select o.seq from parley.outbox o where o.chat_id = c.id order by o.seq)
        <> array(select generate_series(1, c.seq))
    """: "chats with changes that have no event",
}


@dataclass
class Outbox:
    """The events of parley.outbox at the end."""

    expected: set[Arrival] = field(default_factory=set)
    places: dict[Arrival, tuple[str, int]] = field(default_factory=dict)  # on the channel of a chat: chat and seq
    changes: set[tuple[str, str, Any]] = field(default_factory=set)
    last: dict[str, Arrival] = field(default_factory=dict)  # on each channel of a chat

    @classmethod
    def read(cls, dba: Connection) -> Self:
        """Read all events."""
        outbox = cls()
        for chat, seq, event, payload, channels in dba.execute(EVENTS):
            arrivals = [Arrival(channel, event, payload) for channel in channels]
            outbox.expected.update(arrivals)
            outbox.places[arrivals[0]] = chat, seq
            outbox.changes.add((chat, event, summarize(json.loads(payload))))
            outbox.last[channels[0]] = arrivals[0]
        return outbox


def summarize(payload: Any) -> Any:
    """Summarize a payload as a Ledger does."""
    if isinstance(payload, dict) and "updates" in payload:
        return (payload["id"], payload["updates"].get("content") or payload["updates"].get("title"))
    return payload["id"] if isinstance(payload, dict) else payload


@dataclass
class Report:
    """The figures and the violations of a run."""

    seed: int
    rounds: int
    kills: Counter[str]
    acknowledged: int
    recorded: int
    arrivals: int  # of events, each on the channel of its chat
    connections: int  # of the subscriber
    received: int
    seconds: float
    repeated: int = 0
    reach: float = 0  # the longest time in seconds between an arrival and the kill that explains its repetition
    repeated_without_kill: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @property
    def violations(self) -> list[str]:
        """Every violation, in words."""
        return [*self.lost, *self.out_of_order, *self.repeated_without_kill, *self.others]

    def __str__(self) -> str:
        kills = ", ".join(f"{victim} {count}" for victim, count in sorted(self.kills.items()))
        return "\n".join(
            [
                f"seed {self.seed}: {self.rounds} rounds in {self.seconds:.0f} s",
                f"kills: {self.kills.total()} ({kills})",
                f"changes acknowledged: {self.acknowledged}",
                f"events recorded: {self.recorded}",
                f"arrivals: {self.arrivals}",
                f"received by the subscriber: {self.received}, on {self.connections} connections",
                f"repeated: {self.repeated}, up to {self.reach:.2f} s before a kill",
                f"repeated without a kill: {len(self.repeated_without_kill)}",
                f"order violations: {len(self.out_of_order)}",
                f"lost: {len(self.lost)}",
                f"other violations: {len(self.others)}",
                *(f"  {violation}" for violation in self.violations[:20]),
            ]
        )


def fetch_number(dba: Connection, query: str, *arguments: Any) -> int:
    """Return the number that a query results in."""
    (value,) = dba.execute(query, arguments).fetchone() or (0,)
    return int(value or 0)


def find_violations(dba: Connection, outbox: Outbox, ledgers: Iterable[Ledger]) -> list[str]:
    """Describe how the database differs from the acknowledged changes."""
    state: dict[str, str] = dict(dba.execute(STATE).fetchall())
    found = [
        f"{fetch_number(dba, query)} {description}"
        for query, description in ZERO_COUNTS.items()
        if fetch_number(dba, query)
    ]
    for ledger in ledgers:
        found += ledger.unexpected
        found += [
            f"acknowledged, but without an event: {change}" for change in ledger.changes if change not in outbox.changes
        ]
        found += [
            f"stored: {state.get(key)!r:.60}, acknowledged: {acknowledged!r:.60}, unsure: {ledger.unsure[key]!r:.60}"
            for key, acknowledged in ledger.stored.items()
            if state.get(key) not in {acknowledged, *ledger.unsure[key]}
        ]
    return found


def check_arrivals(
    report: Report, outbox: Outbox, recorded: list[tuple[float, Arrival]], received: list[list[Arrival]]
) -> None:
    """Report events that were lost, or that arrived in another order."""
    arrivals = [arrival for _, arrival in recorded if arrival.event != "chat:event"]
    report.lost = [f"lost: {describe(a)}" for a in outbox.expected.difference(arrivals)]
    report.others += [f"arrived, but is not in the outbox: {describe(a)}" for a in set(arrivals) - outbox.expected]
    report.out_of_order = find_skips(outbox, arrivals, "Pusher", {chat: 0 for chat, _ in outbox.places.values()})
    for connection in received:
        report.out_of_order += find_skips(outbox, connection, "the subscriber", {})


def find_skips(outbox: Outbox, arrivals: Iterable[Arrival], receiver: str, last: dict[str, int]) -> list[str]:
    """Describe events that arrived before their predecessor; `last` has the seq of the last event of each chat."""
    found = []
    for chat, seq in filter(None, map(outbox.places.get, arrivals)):
        if seq > last.get(chat, seq) + 1:
            found.append(f"at {receiver}, {seq} came after {last[chat]} in chat {chat}")
        last[chat] = seq
    return found


def check_repetitions(report: Report, outbox: Outbox, recorded: list[tuple[float, Arrival]], kills: list[Kill]) -> None:
    """Report repeated arrivals that no kill explains."""
    times: dict[Arrival, list[float]] = defaultdict(list)
    first_arrivals: dict[str, list[float]] = defaultdict(list)  # the times of new arrivals on a channel
    for at, arrival in recorded:
        if arrival in outbox.places:
            if arrival not in times:
                first_arrivals[arrival.channel].append(at)
            times[arrival].append(at)
    for arrival, each in times.items():
        for first, again in pairwise(each):
            report.repeated += 1
            reaches = [
                max(0.0, kill.at - first)
                for kill in kills
                if is_explained_by(kill, first, again, first_arrivals[arrival.channel])
            ]
            report.reach = max(report.reach, min(reaches, default=0))
            if not reaches:
                report.repeated_without_kill.append(f"again after {again - first:.3f} s: {describe(arrival)}")


def extend_kill(kill: Kill, opened: Iterable[float]) -> Kill:
    """Extend a kill of the listener until the next listener connects: requests of the killed one still arrive."""
    if kill.victim != "listener":
        return kill
    return replace(kill, until=min((at for at in opened if at > kill.until), default=float("inf")))


def is_explained_by(kill: Kill, first: float, again: float, first_arrivals: list[float]) -> bool:
    """Whether a kill explains a repeated arrival."""
    return (
        kill.victim in LOSES_ACKNOWLEDGEMENTS
        and kill.at - REACH_SECONDS <= first <= kill.until
        and kill.at <= again
        and bisect_right(first_arrivals, kill.until) >= bisect_left(first_arrivals, again)
    )


def describe(arrival: Arrival) -> str:
    """Describe an arrival."""
    return f"{arrival.event} on {arrival.channel}: {arrival.data:.80}"
