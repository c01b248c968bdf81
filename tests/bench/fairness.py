"""The effect of one user's most expensive requests on others: ordinary requests alone, and during an attack.
`python -m tests.bench.fairness [--seconds 4] [--rounds 5]`

An attack has ten requests of one user in flight: messages of the maximum length in the script that is the most
expensive to index, searches that find 100 such messages, pages of 100 of them, or all of these. Ordinary requests are a
page of 50 messages, a new message and a profile, of many users in turn, one after another on one connection. Each round
also measures them alone, before and after each attack.

Prints medians of the rounds: milliseconds, and the ratios to those alone in the same round. Then it prints how many
ordinary requests got 503, and the statuses of the attack. Load generator, API and PostgreSQL share the cores.
"""

import argparse
import statistics
import sys
import time
from collections import Counter, defaultdict
from itertools import cycle, islice

import psycopg

from tests.bench.api_servers import running_api
from tests.bench.load_generator import Load, Result, StartLoad, build_request, load_processes, percentile
from tests.bench.long_messages import WORD, full_length
from tests.database import call, new_chat
from tests.tokens import token

EXPENSIVE = "🎉"  # repeated; see tests.bench.long_messages
ATTACKER, IN_FLIGHT = "attacker", 10
USERS, PAGE = 30, 50
KINDS = ("page", "send", "profile")
PERCENTILES = (50, 99)

Figures = dict[tuple[str, int], float]  # by kind and percentile, in milliseconds


def prepare_ordinary_requests(dba: psycopg.Connection[tuple[object, ...]]) -> list[bytes]:
    """Create users, each with a chat; return requests of all kinds in turn."""
    requests: list[bytes] = []
    for number in range(USERS):
        user = f"user {number}"
        path = f"/api/chats/{(chat := new_chat(dba, user))}/messages"
        for message in range(PAGE):
            call(dba, user, "send_message", chat, {"content": f"Message {message}, of an ordinary length. " * 3})
        bearer = token(user)
        requests.append(build_request("GET", path, bearer))
        requests.append(build_request("POST", path, bearer, {"content": "One more message of an ordinary length."}))
        requests.append(build_request("GET", "/api/profile", bearer))
    return requests


def prepare_attacks(dba: psycopg.Connection[tuple[object, ...]]) -> dict[str, list[bytes]]:
    """Create the attacker's chats; return the requests of each attack by its name."""
    content, bearer = full_length(EXPENSIVE), token(ATTACKER)
    full, *chats = (new_chat(dba, ATTACKER) for _ in range(1 + IN_FLIGHT))
    for _ in range(100):
        call(dba, ATTACKER, "send_message", full, {"content": content})
    sends = [build_request("POST", f"/api/chats/{chat}/messages", bearer, {"content": content}) for chat in chats]
    search = build_request("GET", f"/api/chats/{full}/messages?search={WORD}&limit=100", bearer)
    page = build_request("GET", f"/api/chats/{full}/messages?limit=100", bearer)
    mixed = [one for send in sends for one in (send, search, page)]
    return {"sends": sends, "searches": [search], "pages": [page], "all of these": mixed}


class FairnessBenchmark:
    """Measures rounds, and has the figures of all of them."""

    def __init__(self, port: int, start_load: StartLoad, ordinary: list[bytes], seconds: float) -> None:
        self._port, self._start_load, self._ordinary, self._seconds = port, start_load, ordinary, seconds
        self.figures: defaultdict[str, list[Figures]] = defaultdict(list)
        self.ratios: defaultdict[str, list[Figures]] = defaultdict(list)
        self.statuses: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.unavailable: Counter[str] = Counter()  # ordinary requests with the status 503

    def measure_round(self, attacks: dict[str, list[bytes]]) -> None:
        """Measure each attack once, and the ordinary requests alone before and after it."""
        before = self._measure("alone")
        for name, requests in attacks.items():
            load = Load(self._port, requests, IN_FLIGHT, self._seconds + 1, statuses=frozenset({200, 201, 503}))
            attack = self._start_load(load)
            time.sleep(0.5)  # until all ten are in flight
            beside = self._measure(name)
            self.statuses[name] += attack.result().statuses
            after = self._measure("alone")
            self.ratios[name].append({key: 2 * beside[key] / (before[key] + after[key]) for key in beside})
            before = after

    def _measure(self, name: str) -> Figures:
        statuses = frozenset({200, 201, 503})
        result = self._start_load(Load(self._port, self._ordinary, 1, self._seconds, statuses=statuses)).result()
        figures = compute_percentiles(result)
        self.unavailable[name] += result.statuses[503]
        self.figures[name].append(figures)
        print(name, {f"{kind} p{percent}": round(ms, 1) for (kind, percent), ms in figures.items()},
              dict(result.statuses), file=sys.stderr, flush=True)  # fmt: skip
        return figures

    def print(self) -> None:
        """Print the table."""
        columns = [(kind, percent) for kind in KINDS for percent in PERCENTILES]
        print(f"{'ms':24}" + "".join(f"{kind + ' p' + str(percent):>16}" for kind, percent in columns))
        for name, rows in self.figures.items():
            cells = []
            for key in columns:
                ratios = [ratio[key] for ratio in self.ratios[name]]
                ratio = f" x{statistics.median(ratios):5.2f}" if ratios else ""
                cells.append(f"{statistics.median(row[key] for row in rows):8.2f}{ratio:8}")
            print(f"{name:24}" + "".join(cells), f"503: {self.unavailable[name]};", dict(self.statuses[name]))


def compute_percentiles(result: Result) -> Figures:
    """Return the percentiles of each kind: on one connection, every third response is of the same kind."""
    latencies = {kind: result.latencies[number :: len(KINDS)] for number, kind in enumerate(KINDS)}
    return {(kind, percent): percentile(latencies[kind], percent) for kind in KINDS for percent in PERCENTILES}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with load_processes(2) as start_load, running_api() as (api, postgres):
        with psycopg.connect(postgres.url("parley"), autocommit=True) as dba:
            ordinary, expensive = prepare_ordinary_requests(dba), prepare_attacks(dba)
            dba.execute("vacuum analyze")
        benchmark = FairnessBenchmark(api.port, start_load, ordinary, arguments.seconds)
        warm_up = Load(api.port, list(islice(cycle(ordinary), 300)), 4, 2, statuses=frozenset({200, 201}))
        start_load(warm_up).result()
        for _ in range(arguments.rounds):
            benchmark.measure_round(expensive)
    benchmark.print()


if __name__ == "__main__":
    main()
