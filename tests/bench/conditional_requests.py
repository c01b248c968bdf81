"""The cost of a 304 compared with that of a 200, for each kind of resource with an entity tag.
`python -m tests.bench.conditional_requests [--rounds 9] [--requests 2000]`

Prints the bytes of the whole response, and microseconds of CPU of the API's process and of all processes of PostgreSQL.
The page has 50 messages of 200 characters. Requests are sent one after another on one connection; each round measures
all cases in turn, and figures are medians of the rounds.
"""

import argparse
import socket
import statistics
from contextlib import closing

import httpx
import psycopg

from tests.bench.api_servers import running_api
from tests.bench.load_generator import build_request
from tests.bench.tokens import CpuMeter, Headers, bearer
from tests.database import call, new_chat
from tests.tokens import token

USER = "ada"


def measure_size(port: int, path: str, **headers: str) -> int:
    """Return the size of the response to a GET, in bytes."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as connection,
        closing(connection.makefile("rb")) as file,
    ):
        connection.sendall(build_request("GET", path, token(USER), None, Connection="close", **headers))
        return len(file.read())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=2000)
    arguments = parser.parse_args()
    with running_api() as (api, postgres), psycopg.connect(postgres.url("parley"), autocommit=True) as dba:
        chat = new_chat(dba, USER)
        sent = [call(dba, USER, "send_message", chat, {"content": "x" * 200})["id"] for _ in range(50)]
        dba.execute("vacuum analyze")
        paths = {
            "a page of 50": f"/api/chats/{chat}/messages",
            "a chat": f"/api/chats/{chat}",
            "a message": f"/api/chats/{chat}/messages/{sent[0]}",
            "settings": "/api/settings",
        }
        assert api.child
        assert postgres.child
        session = bearer(token(USER))
        cases: dict[tuple[str, int], tuple[CpuMeter, Headers]] = {}
        sizes: dict[tuple[str, int], int] = {}
        for name, path in paths.items():
            etag = httpx.get(api.url + path, headers=session).headers["etag"]
            meter = CpuMeter(api.port, path, api.child.pid, postgres.child.pid)
            cases |= {(name, 200): (meter, session), (name, 304): (meter, session | {"If-None-Match": etag})}
            sizes |= {
                (name, 200): measure_size(api.port, path),
                (name, 304): measure_size(api.port, path, If_None_Match=etag),
            }
        figures: dict[tuple[str, int], list[tuple[float, float]]] = {case: [] for case in cases}
        for _ in range(arguments.rounds + 1):  # the first one is a warm-up
            for (name, status), (meter, headers) in cases.items():
                figures[name, status].append(meter.measure([headers] * arguments.requests, status))
    print(f"{'':14}" + "".join(f"{title:>24}" for title in ("bytes", "CPU of the API, us", "of PostgreSQL, us")))
    print(f"{'':14}" + f"{'200':>10}{'304':>7}{'ratio':>7}" * 3)
    for name in paths:
        (full, not_modified) = (
            [sizes[name, status], *(statistics.median(c) for c in zip(*figures[name, status][1:], strict=True))]
            for status in (200, 304)
        )
        print(f"{name:14}" + "".join(f"{a:10.0f}{b:7.0f}{b / a:7.2f}" for a, b in zip(full, not_modified, strict=True)))


if __name__ == "__main__":
    main()
