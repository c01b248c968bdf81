"""What it costs to answer who has the answer already: a 304 beside the 200, for each kind of thing that has an ETag.
`python -m tests.bench.versions [--rounds 9] [--requests 2000]`

Bytes of the whole answer, and microseconds of CPU of the API's process and of all PostgreSQL's. The page has 50
messages of 200 characters. Everything takes turns in each round, one request after another on one connection; figures
are medians of the rounds.
"""

import argparse
import socket
import statistics
from contextlib import closing

import httpx
import psycopg

from tests.bench.clients import request
from tests.bench.support import served
from tests.bench.tokens import Headers, Site, bearer
from tests.database import call, new_chat
from tests.tokens import token

USER = "ada"


def size_of(port: int, path: str, **headers: str) -> int:
    """Bytes of the answer to a GET."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as connection,
        closing(connection.makefile("rb")) as file,
    ):
        connection.sendall(request("GET", path, token(USER), None, Connection="close", **headers))
        return len(file.read())


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=2000)
    arguments = parser.parse_args()
    with served() as (api, postgres), psycopg.connect(postgres.url("parley"), autocommit=True) as dba:
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
        asked: dict[tuple[str, int], tuple[Site, Headers]] = {}
        sizes: dict[tuple[str, int], int] = {}
        for name, path in paths.items():
            etag = httpx.get(api.url + path, headers=session).headers["etag"]
            site = Site(api.port, path, api.child.pid, postgres.child.pid)
            asked |= {(name, 200): (site, session), (name, 304): (site, session | {"If-None-Match": etag})}
            sizes |= {(name, 200): size_of(api.port, path), (name, 304): size_of(api.port, path, If_None_Match=etag)}
        figures: dict[tuple[str, int], list[tuple[float, float]]] = {kind: [] for kind in asked}
        for _ in range(arguments.rounds + 1):  # the first one is to warm up
            for (name, status), (site, headers) in asked.items():
                used = site.cpu_of_asking([headers] * arguments.requests, status)
                figures[name, status].append(used)
    print(f"{'':14}" + "".join(f"{title:>24}" for title in ("bytes", "CPU of the API, us", "of PostgreSQL, us")))
    print(f"{'':14}" + f"{'200':>10}{'304':>7}{'ratio':>7}" * 3)
    for name in paths:
        (whole, same) = (
            [sizes[name, status], *(statistics.median(c) for c in zip(*figures[name, status][1:], strict=True))]
            for status in (200, 304)
        )
        print(f"{name:14}" + "".join(f"{a:10.0f}{b:7.0f}{b / a:7.2f}" for a, b in zip(whole, same, strict=True)))


if __name__ == "__main__":
    main()
