"""What a session token costs: microseconds of CPU to verify one of each kind, and of a whole request with it.
`python -m tests.bench.tokens [--rounds 5] [--requests 1000]`

A cold token has not been seen by the process, a cached one has. Verifying is measured in this process, without a
server; the request is a GET of a page of 50 messages, and its microseconds are those of the API's and of PostgreSQL's
processes. A database session is looked up by the request's own statement, each time. Then prints how long refusals
take, which should not tell one from another. All kinds take turns in each round; figures are medians of the rounds.
"""

import argparse
import http.client
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import psutil
import psycopg
from joserfc.jwk import OctKey
from sanic.compat import Header

from api.auth.cookies import SESSION_COOKIES
from api.auth.tokens import Tokens
from api.http.request import ParleyRequest
from tests.api.auth import test_encrypted_tokens as encrypted_tokens
from tests.api.auth import test_tokens as signed_tokens
from tests.api.auth.test_encrypted_tokens import derive_key, encrypt
from tests.bench.support import served
from tests.database import add_session, call, new_chat
from tests.tokens import SECRET, claims, new_user, token

USER = "ada"
COOKIE = SESSION_COOKIES[1]
CHUNK = 3933  # characters of a token in a cookie of NextAuth.js

Headers = dict[str, str]


def bearer(value: str) -> Headers:
    return {"Authorization": f"Bearer {value}"}


def in_cookie(value: str) -> Headers:
    return {"Cookie": f"theme=dark; {COOKIE}={value}"}


def in_chunks(value: str) -> Headers:
    pieces = [value[n : n + CHUNK] for n in range(0, len(value), CHUNK)]
    return {"Cookie": "; ".join(f"{COOKIE}.{n}={piece}" for n, piece in enumerate(pieces))}


def of_ada(**more: Any) -> dict[str, Any]:
    """Claims as web apps make them, which no other token has."""
    return claims(USER, name="Ada Lovelace", email="ada@example.org", jti=new_user(), **more)


def authjs(key: OctKey, enc: str = "A256CBC-HS512", **more: Any) -> str:
    return encrypt(of_ada(**more), key, enc=enc)


KEYS = {"next": derive_key(32, ""), "cbc": derive_key(64, COOKIE), "gcm": derive_key(32, COOKIE)}
KINDS: dict[str, Callable[[], Headers]] = {
    "signed, HS256": lambda: bearer(token(**of_ada())),
    "NextAuth.js 4, Bearer": lambda: bearer(encrypt(of_ada(), KEYS["next"])),
    "NextAuth.js 4, cookie": lambda: in_cookie(encrypt(of_ada(), KEYS["next"])),
    "Auth.js A256CBC-HS512, Bearer": lambda: bearer(authjs(KEYS["cbc"])),
    "Auth.js A256CBC-HS512, cookie": lambda: in_cookie(authjs(KEYS["cbc"])),
    "Auth.js A256GCM, Bearer": lambda: bearer(authjs(KEYS["gcm"], "A256GCM")),
    "Auth.js A256GCM, cookie": lambda: in_cookie(authjs(KEYS["gcm"], "A256GCM")),
    "Auth.js of 8 kB, 3 cookies": lambda: in_chunks(authjs(KEYS["cbc"], groups="x" * 6000)),
}
SESSION = "database session"
# The refusals that are printed, beside the quickest and the slowest.
TOLD = {
    "signed, alg none, unsigned",
    "signed, a public key's signature",
    "signed, another secret",
    "signed, expired more than 30 s ago",
    "signed, not yet valid",
    "signed, no sub",
    "signed, sub of 10 kB",
    "signed, NUL in the sub",
    "signed, signed twice",
    "signed, 100 kB of noise",
    "encrypted, another secret",
    "encrypted, expired",
    "encrypted, no sub",
    "encrypted, sub of 10 kB",
    "encrypted, nested: a signed token",
    "encrypted, truncated",
    "encrypted, zip",
    "encrypted, zip that inflates to 100 MB",
}


def cpu_of_verifying(tokens: Tokens, sent: list[Headers]) -> float:
    """Microseconds for one of these."""
    requests = [
        ParleyRequest(b"/api/chats", Header(list(headers.items())), "1.1", "GET", None, None)  # type: ignore[arg-type]
        for headers in sent
    ]
    begun = time.process_time()
    for request in requests:
        tokens.authenticate(request, allow_cookie=True)
    return (time.process_time() - begun) / len(sent) * 1e6


class Site:
    """The API and its PostgreSQL, on one connection."""

    def __init__(self, port: int, path: str, api: int, postgres: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self._path, self._api, self._postgres = path, psutil.Process(api), psutil.Process(postgres)

    def ask(self, headers: Headers, status: int = 200) -> float:
        """Seconds until the answer."""
        begun = time.perf_counter()
        self._connection.request("GET", self._path, headers=headers)
        response = self._connection.getresponse()
        response.read()
        assert response.status == status, (response.status, headers)
        return time.perf_counter() - begun

    def cpu(self) -> tuple[float, float]:
        """Seconds of CPU so far, of the API and of PostgreSQL's processes."""
        processes = [[self._api], [self._postgres, *self._postgres.children()]]
        return tuple(sum(sum(p.cpu_times()[:2]) for p in group) for group in processes)  # type: ignore[return-value]

    def cpu_of_asking(self, sent: list[Headers], status: int = 200) -> tuple[float, float]:
        """Microseconds for one of these, of the API and of PostgreSQL."""
        before = self.cpu()
        for headers in sent:
            self.ask(headers, status)
        after = self.cpu()
        return tuple((b - a) / len(sent) * 1e6 for a, b in zip(before, after, strict=True))  # type: ignore[return-value]


def costs(site: Site, session: Headers, rounds: int, requests: int) -> None:
    """Prints the table of what tokens cost."""
    figures: dict[str, list[list[float]]] = {name: [] for name in (*KINDS, SESSION)}
    tokens = Tokens([SECRET])
    for _ in range(rounds):
        for name, rows in figures.items():
            make = KINDS.get(name, lambda: session)
            cold, warm = [make() for _ in range(requests)], [make()] * requests
            site.ask(warm[0])
            verifying = [cpu_of_verifying(tokens, sent) for sent in (cold, warm)]
            rows.append([*verifying, *site.cpu_of_asking(cold), *site.cpu_of_asking(warm)])
    print(f"{'microseconds of CPU':31} {'verifying':>15} {'API, request':>15} {'PostgreSQL':>15}")
    print(f"{'':31} {'cold':>7} {'cached':>7} {'cold':>7} {'cached':>7} {'cold':>7} {'cached':>7}")
    for name, rows in figures.items():
        verify_cold, verify_warm, api_cold, postgres_cold, api_warm, postgres_warm = map(
            statistics.median, zip(*rows, strict=True)
        )
        columns = (verify_cold, verify_warm, api_cold, api_warm, postgres_cold, postgres_warm)
        print(f"{name:31} " + " ".join(f"{figure:7.0f}" for figure in columns))


def refused_tokens() -> dict[str, Headers]:
    """A token of each kind that must be refused, made just now."""
    made: list[tuple[str, Mapping[str, Callable[[], str | bytes]]]] = [
        ("signed", signed_tokens.INVALID),
        ("encrypted", encrypted_tokens.INVALID),
    ]
    values = {f"{way}, {name}": make() for way, table in made for name, make in table.items()}
    return {name: bearer(value) for name, value in values.items() if isinstance(value, str) and value.isascii()}


def refusals(site: Site, gone: dict[str, Headers], rounds: int, requests: int) -> None:
    """Prints how long refusals take."""
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        sent = refused_tokens() | gone
        del sent["signed, nothing"]
        for name, headers in sent.items():
            times[name] += [1000 * site.ask(headers, 401) for _ in range(max(1, requests // 50))]
    medians = {name: statistics.median(series) for name, series in times.items()}
    middle = statistics.median(medians.values())
    print(f"\n{len(medians)} kinds of refusals, milliseconds until the answer, and their ratio to the median of all")
    in_order = sorted(medians, key=lambda name: medians[name])
    for name in in_order[:3] + [name for name in in_order[3:-3] if name in TOLD or name in gone] + in_order[-3:]:
        print(f"{name:45} {medians[name]:6.2f} {medians[name] / middle:6.2f}")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1000)
    arguments = parser.parse_args()
    with served() as (api, postgres), psycopg.connect(postgres.url("parley"), autocommit=True) as dba:
        chat = new_chat(dba, USER)
        for number in range(50):
            call(dba, USER, "send_message", chat, {"content": f"message {number}"})
        call(dba, "gone", "list_chats")
        for name, expires in (("current", "1 day"), ("expired", "-1 day")):
            add_session(dba, USER, expires, name)
        dba.execute("delete from next_auth.users where id = 'gone'")
        dba.execute("vacuum analyze")
        assert api.child
        assert postgres.child
        site = Site(api.port, f"/api/chats/{chat}/messages", api.child.pid, postgres.child.pid)
        costs(site, bearer("current"), arguments.rounds, arguments.requests)
        gone = {"a deleted user": bearer(token("gone")), "an expired database session": bearer("expired")}
        refusals(site, gone, arguments.rounds, arguments.requests)


if __name__ == "__main__":
    main()
