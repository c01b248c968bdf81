"""The cost of session tokens: microseconds of CPU to verify a token of each kind, and of a whole request with it.
`python -m tests.bench.tokens [--rounds 5] [--requests 1000]`

A cached token was verified by the process before, a cold one was not. Verification is measured in this process, without
a server. The request is a GET of a page of 50 messages, for which the microseconds of the API's process and of the
processes of PostgreSQL are printed. A database session is looked up by the statement of each request.

Then prints the latency of rejections, which must not reveal the reason. Each round measures all kinds in turn; figures
are medians of the rounds.
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
from tests.bench.api_servers import running_api
from tests.database import add_session, call, new_chat
from tests.tokens import SECRET, claims, new_user, token

USER = "ada"
COOKIE = SESSION_COOKIES[1]
CHUNK = 3933  # the most characters of a token in a cookie of NextAuth.js

Headers = dict[str, str]


def bearer(value: str) -> Headers:
    return {"Authorization": f"Bearer {value}"}


def cookie(value: str) -> Headers:
    return {"Cookie": f"theme=dark; {COOKIE}={value}"}


def chunked_cookie(value: str) -> Headers:
    pieces = [value[n : n + CHUNK] for n in range(0, len(value), CHUNK)]
    return {"Cookie": "; ".join(f"{COOKIE}.{n}={piece}" for n, piece in enumerate(pieces))}


def user_claims(**more: Any) -> dict[str, Any]:
    """Return claims as web apps issue them; `jti` makes them unique."""
    return claims(USER, name="Ada Lovelace", email="ada@example.org", jti=new_user(), **more)


def encrypt_authjs(key: OctKey, enc: str = "A256CBC-HS512", **more: Any) -> str:
    return encrypt(user_claims(**more), key, enc=enc)


KEYS = {"next": derive_key(32, ""), "cbc": derive_key(64, COOKIE), "gcm": derive_key(32, COOKIE)}
KINDS: dict[str, Callable[[], Headers]] = {
    "signed, HS256": lambda: bearer(token(**user_claims())),
    "NextAuth.js 4, Bearer": lambda: bearer(encrypt(user_claims(), KEYS["next"])),
    "NextAuth.js 4, cookie": lambda: cookie(encrypt(user_claims(), KEYS["next"])),
    "Auth.js A256CBC-HS512, Bearer": lambda: bearer(encrypt_authjs(KEYS["cbc"])),
    "Auth.js A256CBC-HS512, cookie": lambda: cookie(encrypt_authjs(KEYS["cbc"])),
    "Auth.js A256GCM, Bearer": lambda: bearer(encrypt_authjs(KEYS["gcm"], "A256GCM")),
    "Auth.js A256GCM, cookie": lambda: cookie(encrypt_authjs(KEYS["gcm"], "A256GCM")),
    "Auth.js of 8 kB, 3 cookies": lambda: chunked_cookie(encrypt_authjs(KEYS["cbc"], groups="x" * 6000)),
}
SESSION = "database session"
# The rejections that are printed, in addition to the three fastest and the three slowest.
PRINTED = {
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


def measure_verification(tokens: Tokens, sent: list[Headers]) -> float:
    """Return microseconds of CPU for each verification."""
    requests = [
        ParleyRequest(b"/api/chats", Header(list(headers.items())), "1.1", "GET", None, None)  # type: ignore[arg-type]
        for headers in sent
    ]
    begun = time.process_time()
    for request in requests:
        tokens.authenticate(request, allow_cookie=True)
    return (time.process_time() - begun) / len(sent) * 1e6


class CpuMeter:
    """Sends requests to an API on one connection, and measures the CPU time of the API and of PostgreSQL."""

    def __init__(self, port: int, path: str, api: int, postgres: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self._path, self._api, self._postgres = path, psutil.Process(api), psutil.Process(postgres)

    def get(self, headers: Headers, status: int = 200) -> float:
        """Send a GET; return the seconds until the response."""
        begun = time.perf_counter()
        self._connection.request("GET", self._path, headers=headers)
        response = self._connection.getresponse()
        response.read()
        assert response.status == status, (response.status, headers)
        return time.perf_counter() - begun

    def cpu_seconds(self) -> tuple[float, float]:
        """Return the CPU time so far of the API and of all processes of PostgreSQL, in seconds."""
        processes = [[self._api], [self._postgres, *self._postgres.children()]]
        return tuple(sum(sum(p.cpu_times()[:2]) for p in group) for group in processes)  # type: ignore[return-value]

    def measure(self, sent: list[Headers], status: int = 200) -> tuple[float, float]:
        """Send requests with these headers; return microseconds of CPU a request, of the API and of PostgreSQL."""
        before = self.cpu_seconds()
        for headers in sent:
            self.get(headers, status)
        after = self.cpu_seconds()
        return tuple((b - a) / len(sent) * 1e6 for a, b in zip(before, after, strict=True))  # type: ignore[return-value]


def print_costs(meter: CpuMeter, session: Headers, rounds: int, requests: int) -> None:
    """Print the table of costs."""
    figures: dict[str, list[list[float]]] = {name: [] for name in (*KINDS, SESSION)}
    tokens = Tokens([SECRET])
    for _ in range(rounds):
        for name, rows in figures.items():
            make = KINDS.get(name, lambda: session)
            cold, warm = [make() for _ in range(requests)], [make()] * requests
            meter.get(warm[0])
            verification = [measure_verification(tokens, sent) for sent in (cold, warm)]
            rows.append([*verification, *meter.measure(cold), *meter.measure(warm)])
    print(f"{'microseconds of CPU':31} {'verification':>15} {'API, request':>15} {'PostgreSQL':>15}")
    print(f"{'':31} {'cold':>7} {'cached':>7} {'cold':>7} {'cached':>7} {'cold':>7} {'cached':>7}")
    for name, rows in figures.items():
        verify_cold, verify_warm, api_cold, postgres_cold, api_warm, postgres_warm = map(
            statistics.median, zip(*rows, strict=True)
        )
        columns = (verify_cold, verify_warm, api_cold, api_warm, postgres_cold, postgres_warm)
        print(f"{name:31} " + " ".join(f"{figure:7.0f}" for figure in columns))


def build_invalid_tokens() -> dict[str, Headers]:
    """Build a token of each kind that must be rejected."""
    tables: list[tuple[str, Mapping[str, Callable[[], str | bytes]]]] = [
        ("signed", signed_tokens.INVALID),
        ("encrypted", encrypted_tokens.INVALID),
    ]
    values = {f"{kind}, {name}": make() for kind, table in tables for name, make in table.items()}
    return {name: bearer(value) for name, value in values.items() if isinstance(value, str) and value.isascii()}


def print_rejections(meter: CpuMeter, unknown: dict[str, Headers], rounds: int, requests: int) -> None:
    """Print the latency of rejections."""
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        sent = build_invalid_tokens() | unknown
        del sent["signed, nothing"]
        for name, headers in sent.items():
            times[name] += [1000 * meter.get(headers, 401) for _ in range(max(1, requests // 50))]
    medians = {name: statistics.median(series) for name, series in times.items()}
    middle = statistics.median(medians.values())
    print(f"\n{len(medians)} kinds of rejections: latency in milliseconds, and its ratio to the median of all")
    in_order = sorted(medians, key=lambda name: medians[name])
    for name in in_order[:3] + [name for name in in_order[3:-3] if name in PRINTED or name in unknown] + in_order[-3:]:
        print(f"{name:45} {medians[name]:6.2f} {medians[name] / middle:6.2f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1000)
    arguments = parser.parse_args()
    with running_api() as (api, postgres), psycopg.connect(postgres.url("parley"), autocommit=True) as dba:
        chat = new_chat(dba, USER)
        for number in range(50):
            call(dba, USER, "send_message", chat, {"content": f"message {number}"})
        call(dba, "deleted", "list_chats")
        for name, expires in (("current", "1 day"), ("expired", "-1 day")):
            add_session(dba, USER, expires, name)
        dba.execute("delete from next_auth.users where id = 'deleted'")
        dba.execute("vacuum analyze")
        assert api.child
        assert postgres.child
        meter = CpuMeter(api.port, f"/api/chats/{chat}/messages", api.child.pid, postgres.child.pid)
        print_costs(meter, bearer("current"), arguments.rounds, arguments.requests)
        unknown = {"a deleted user": bearer(token("deleted")), "an expired database session": bearer("expired")}
        print_rejections(meter, unknown, arguments.rounds, arguments.requests)


if __name__ == "__main__":
    main()
