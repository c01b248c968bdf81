"""The cost of an Idempotency-Key: a POST of a message without a key, with a new key, and with a repeated key.
`python -m tests.bench.idempotency [--rounds 9] [--requests 500] [--stored 1000000]`

The database has `--stored` responses of other users. Prints microseconds of CPU a request, of the API and of the
processes of PostgreSQL. Each round measures all cases in turn; figures are medians of the rounds, and ratios are those
of the sums to the sum without a key.
"""

import argparse
import http.client
import itertools
import json
import statistics

import psutil
import psycopg

from tests.bench.api_servers import running_api
from tests.database import call, new_chat
from tests.tokens import token

USER = "ada"
BODY = json.dumps({"content": "We deploy on Friday, if all goes well, and announce the date on Monday."})
CASES = ("without a key", "with a new key", "repeated")
STORED_RESPONSES = """
    insert into parley.idempotency_keys (user_id, key, fingerprint, response, created_at)
    select 'user ' || n %% 10000, gen_random_uuid(), sha256(n::text::bytea),
        json_build_object('id', gen_random_uuid(), 'content', repeat('word ', 20), 'type', 'text'),
        now() - n * interval '1 day' / %(stored)s
    from generate_series(1, %(stored)s) n
"""


def cpu_seconds(servers: list[psutil.Process]) -> list[float]:
    """Return the CPU time so far of each server and its children, in seconds."""
    groups = [[server, *server.children()] for server in servers]
    return [sum(sum(process.cpu_times()[:2]) for process in group) for group in groups]


def send_message(connection: http.client.HTTPConnection, path: str, case: str, number: int) -> None:
    """Send a message; `number` makes a new key unique."""
    headers = {"Authorization": f"Bearer {token(USER)}", "Content-Type": "application/json"}
    if case != CASES[0]:
        headers["Idempotency-Key"] = f"8e03978e-40d5-43e8-bc93-{number if case == CASES[1] else 0:012}"
    connection.request("POST", path, BODY, headers)
    response = connection.getresponse()
    assert (response.status, response.read()[:1]) == (201, b"{")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--stored", type=int, default=1_000_000)
    arguments = parser.parse_args()
    figures: dict[str, list[list[float]]] = {case: [] for case in CASES}
    with running_api() as (api, postgres), psycopg.connect(postgres.url("parley"), autocommit=True) as dba:
        chat = new_chat(dba, USER)
        dba.execute(STORED_RESPONSES, {"stored": arguments.stored})
        dba.execute("vacuum analyze")
        connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=20)
        assert api.child
        assert postgres.child
        servers, numbers = [psutil.Process(api.child.pid), psutil.Process(postgres.child.pid)], itertools.count(1)
        for _ in range(arguments.rounds + 1):  # the first one is a warm-up
            for case, rows in figures.items():
                before = cpu_seconds(servers)
                for _ in range(arguments.requests):
                    send_message(connection, f"/api/chats/{chat}/messages", case, next(numbers))
                rows.append(
                    [(b - a) / arguments.requests * 1e6 for a, b in zip(before, cpu_seconds(servers), strict=True)]
                )
        sent = call(dba, USER, "list_messages", chat)["total"]
        assert sent == 2 * (arguments.rounds + 1) * arguments.requests + 1
    print(f"{'':16} {'API':>6} {'PostgreSQL':>11} {'ratio':>6}")
    medians = {case: [statistics.median(c) for c in zip(*rows[1:], strict=True)] for case, rows in figures.items()}
    for case, used in medians.items():
        print(f"{case:16} {used[0]:6.0f} {used[1]:11.0f} {sum(used) / sum(medians[CASES[0]]):6.2f}")


if __name__ == "__main__":
    main()
