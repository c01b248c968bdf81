"""What one user's worst requests cost others: ordinary requests alone, and beside ten requests of one user in flight.
`python -m tests.bench.fairness [--seconds 4] [--rounds 5]`

The attacks are messages of the greatest length in the script that is the most expensive to make searchable, searches
that find 100 such messages, pages of 100 of them, and all of these. Ordinary requests are a page of 50 messages, a new
message and a profile, each of another user than the one before, one after the other on one connection. In each round
they are measured alone before and after each attack. Prints medians over the rounds, of milliseconds and of the ratios
to those alone in the same round; then how many ordinary requests got 503, and the statuses of the attack. Clients, API
and PostgreSQL share the machine's cores.
"""

import argparse
import statistics
import sys
import time
from collections import Counter, defaultdict
from itertools import cycle, islice

import psycopg

from tests.bench.clients import Load, Result, Start, apart, percentile, request
from tests.bench.support import served
from tests.bench.texts import WORD, full_length
from tests.database import call, new_chat
from tests.tokens import token

EXPENSIVE = "🎉"  # repeated; see tests.bench.texts
ATTACKER, IN_FLIGHT = "attacker", 10
USERS, PAGE = 30, 50
KINDS = ("page", "send", "profile")
MARKS = (50, 99)

Figures = dict[tuple[str, int], float]  # by kind and percentile, in milliseconds


def ordinary_requests(dba: psycopg.Connection[tuple[object, ...]]) -> list[bytes]:
    """Makes users, each with a chat, and gives one request of each kind in turn."""
    requests: list[bytes] = []
    for number in range(USERS):
        user = f"user {number}"
        path = f"/api/chats/{(chat := new_chat(dba, user))}/messages"
        for message in range(PAGE):
            call(dba, user, "send_message", chat, {"content": f"Message {message}, of an ordinary length. " * 3})
        bearer = token(user)
        requests.append(request("GET", path, bearer))
        requests.append(request("POST", path, bearer, {"content": "One more message of an ordinary length."}))
        requests.append(request("GET", "/api/profile", bearer))
    return requests


def attacks(dba: psycopg.Connection[tuple[object, ...]]) -> dict[str, list[bytes]]:
    """Makes the attacker's chats, and gives what is sent, by its name."""
    content, bearer = full_length(EXPENSIVE), token(ATTACKER)
    full, *chats = (new_chat(dba, ATTACKER) for _ in range(1 + IN_FLIGHT))
    for _ in range(100):
        call(dba, ATTACKER, "send_message", full, {"content": content})
    sends = [request("POST", f"/api/chats/{chat}/messages", bearer, {"content": content}) for chat in chats]
    search = request("GET", f"/api/chats/{full}/messages?search={WORD}&limit=100", bearer)
    page = request("GET", f"/api/chats/{full}/messages?limit=100", bearer)
    all_kinds = [one for send in sends for one in (send, search, page)]
    return {"sends": sends, "searches": [search], "pages": [page], "all of these": all_kinds}


class Bench:
    """The figures of all rounds."""

    def __init__(self, port: int, start: Start, ordinary: list[bytes], seconds: float) -> None:
        self._port, self._start, self._ordinary, self._seconds = port, start, ordinary, seconds
        self.figures: defaultdict[str, list[Figures]] = defaultdict(list)
        self.ratios: defaultdict[str, list[Figures]] = defaultdict(list)
        self.statuses: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.refused: Counter[str] = Counter()  # ordinary requests

    def measure_round(self, attacks: dict[str, list[bytes]]) -> None:
        """Measures each attack once, and the ordinary requests alone before and after it."""
        before = self._measure("alone")
        for name, sent in attacks.items():
            load = Load(self._port, sent, IN_FLIGHT, self._seconds + 1, statuses=frozenset({200, 201, 503}))
            attack = self._start(load)
            time.sleep(0.5)  # until all ten are in flight
            beside = self._measure(name)
            self.statuses[name] += attack.result().statuses
            after = self._measure("alone")
            self.ratios[name].append({key: 2 * beside[key] / (before[key] + after[key]) for key in beside})
            before = after

    def _measure(self, name: str) -> Figures:
        statuses = frozenset({200, 201, 503})
        result = self._start(Load(self._port, self._ordinary, 1, self._seconds, statuses=statuses)).result()
        figures = figures_of(result)
        self.refused[name] += result.statuses[503]
        self.figures[name].append(figures)
        print(name, {f"{kind} p{mark}": round(ms, 1) for (kind, mark), ms in figures.items()},
              dict(result.statuses), file=sys.stderr, flush=True)  # fmt: skip
        return figures

    def print(self) -> None:
        """Prints the table."""
        columns = [(kind, mark) for kind in KINDS for mark in MARKS]
        print(f"{'ms':24}" + "".join(f"{kind + ' p' + str(mark):>16}" for kind, mark in columns))
        for name, rows in self.figures.items():
            cells = []
            for key in columns:
                ratios = [ratio[key] for ratio in self.ratios[name]]
                ratio = f" x{statistics.median(ratios):5.2f}" if ratios else ""
                cells.append(f"{statistics.median(row[key] for row in rows):8.2f}{ratio:8}")
            print(f"{name:24}" + "".join(cells), f"503: {self.refused[name]};", dict(self.statuses[name]))


def figures_of(result: Result) -> Figures:
    """Return the percentiles of each kind: on one connection, every third response is of the same kind."""
    latencies = {kind: result.latencies[number :: len(KINDS)] for number, kind in enumerate(KINDS)}
    return {(kind, mark): percentile(latencies[kind], mark) for kind in KINDS for mark in MARKS}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with apart(2) as start, served() as (api, postgres):
        with psycopg.connect(postgres.url("parley"), autocommit=True) as dba:
            ordinary, expensive = ordinary_requests(dba), attacks(dba)
            dba.execute("vacuum analyze")
        bench = Bench(api.port, start, ordinary, arguments.seconds)
        warm_up = Load(api.port, list(islice(cycle(ordinary), 300)), 4, 2, statuses=frozenset({200, 201}))
        start(warm_up).result()
        for _ in range(arguments.rounds):
            bench.measure_round(expensive)
    bench.print()


if __name__ == "__main__":
    main()
