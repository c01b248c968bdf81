"""What an Idempotency-Key costs: a POST of a message without one, with a new one, and again with the same.
`python -m tests.bench.keys [--rounds 9] [--requests 500] [--answers 1000000]`

So many first answers of others are there. Microseconds of CPU for a request, of the API and of PostgreSQL's processes;
all take turns in each round, figures are medians of the rounds, ratios are of the sums, to the first line.
"""

import argparse
import http.client
import itertools
import json
import statistics

import psutil
import psycopg

from tests.bench.support import served
from tests.database import call, new_chat
from tests.tokens import token

USER = "ada"
BODY = json.dumps({"content": "We deploy on Friday, if all goes well, and tell everybody on Monday."})
KINDS = ("without a key", "with a new key", "again")
FIRST_ANSWERS = """
    insert into parley.idempotency_keys (user_id, key, fingerprint, response, created_at)
    select 'user ' || n %% 10000, gen_random_uuid(), sha256(n::text::bytea),
        json_build_object('id', gen_random_uuid(), 'content', repeat('word ', 20), 'type', 'text'),
        now() - n * interval '1 day' / %(answers)s
    from generate_series(1, %(answers)s) n
"""


def cpu(servers: list[psutil.Process]) -> list[float]:
    """Seconds of CPU so far, of each with its children."""
    groups = [[server, *server.children()] for server in servers]
    return [sum(sum(process.cpu_times()[:2]) for process in group) for group in groups]


def send(connection: http.client.HTTPConnection, path: str, kind: str, number: int) -> None:
    """A message of this kind."""
    headers = {"Authorization": f"Bearer {token(USER)}", "Content-Type": "application/json"}
    if kind != KINDS[0]:
        headers["Idempotency-Key"] = f"8e03978e-40d5-43e8-bc93-{number if kind == KINDS[1] else 0:012}"
    connection.request("POST", path, BODY, headers)
    response = connection.getresponse()
    assert (response.status, response.read()[:1]) == (201, b"{")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--answers", type=int, default=1_000_000)
    arguments = parser.parse_args()
    figures: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
    with served() as (api, postgres), psycopg.connect(postgres.url("parley"), autocommit=True) as dba:
        chat = new_chat(dba, USER)
        dba.execute(FIRST_ANSWERS, {"answers": arguments.answers})
        dba.execute("vacuum analyze")
        connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=20)
        assert api.child
        assert postgres.child
        servers, numbers = [psutil.Process(api.child.pid), psutil.Process(postgres.child.pid)], itertools.count(1)
        for _ in range(arguments.rounds + 1):  # the first one is to warm up
            for kind, rows in figures.items():
                before = cpu(servers)
                for _ in range(arguments.requests):
                    send(connection, f"/api/chats/{chat}/messages", kind, next(numbers))
                rows.append([(b - a) / arguments.requests * 1e6 for a, b in zip(before, cpu(servers), strict=True)])
        sent = call(dba, USER, "list_messages", chat)["total"]
        assert sent == 2 * (arguments.rounds + 1) * arguments.requests + 1
    print(f"{'':16} {'API':>6} {'PostgreSQL':>11} {'ratio':>6}")
    medians = {kind: [statistics.median(c) for c in zip(*rows[1:], strict=True)] for kind, rows in figures.items()}
    for kind, used in medians.items():
        print(f"{kind:16} {used[0]:6.0f} {used[1]:11.0f} {sum(used) / sum(medians[KINDS[0]]):6.2f}")


if __name__ == "__main__":
    main()
