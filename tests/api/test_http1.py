"""HTTP/1.1 by RFC 9112, as bytes on a socket: a malformed message is refused, and nothing after it is a request.

Each refused message is followed by, or has for its body, a second request that creates a chat. Where the message is
refused that chat must not exist; where it is well-formed the chat must exist, or the test could not fail.
"""

from collections.abc import Callable, Iterator

import httpx
import pytest

from api.http_parser import MAX_CHUNK_LINE, MAX_EXTENSIONS, MAX_FIELDS, MAX_METHOD, MAX_TARGET, MAX_TRAILERS
from api.protocol import MAX_HEAD
from tests.api.support import (
    Wire,
    altered,
    connected,
    conversation,
    head,
    refusal,
    responses,
    unlimited,
    wait_until_received,
)
from tests.support import Api, new_user, running

JSON = {"Content-Type": "application/json"}
CHUNKED = b"Transfer-Encoding: chunked"
KELVIN = "\N{KELVIN SIGN}".encode()  # whose lower case is "k"
FULL_WIDTH_5 = "\N{FULLWIDTH DIGIT FIVE}".encode()
SUPERSCRIPT_2 = "\N{SUPERSCRIPT TWO}".encode()
ARABIC_5 = "\N{ARABIC-INDIC DIGIT FIVE}".encode()


class Attack:
    """A user without chats, and the request that creates the user's first."""

    def __init__(self, api: Api, client: httpx.Client, user: str) -> None:
        self._api, self._client = api, client
        self.headers = api.headers(user) | JSON
        body = b'{"title": "smuggled"}'
        close = {"Content-Length": str(len(body)), "Connection": "close"}
        self.second = head("POST /api/chats HTTP/1.1", self.headers | close) + body

    def request(self, line: bytes, *fields: bytes, body: bytes = b"") -> bytes:
        """A request of the user's with further fields."""
        begun = head(line.decode("latin-1"), self.headers).removesuffix(b"\r\n")
        return begun + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body

    def send(self, *segments: bytes) -> list[Wire]:
        return conversation(self._api, *segments)

    def titles(self) -> set[str]:
        """The titles of the user's chats."""
        return {chat["title"] for chat in self._client.get("/api/chats").json()["chats"]}

    def check_refused(self, *segments: bytes, status: int = 400) -> None:
        [answer] = self.send(*segments)
        refusal(answer, status)
        assert answer.headers["connection"] == "close"
        assert not self.titles()

    def check_accepted(self, sent: bytes, status: int) -> Wire:
        """The answer to a request that the second follows."""
        first, second = self.send(sent + self.second)
        assert (first.status_code, second.status_code) == (status, 201), first.text
        assert "smuggled" in self.titles()
        return first


@pytest.fixture
def attack(api: Api) -> Iterator[Attack]:
    user = new_user()
    with unlimited(api, user) as client:
        yield Attack(api, client, user)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" GET /healthz HTTP/1.1",
        b"GET  /healthz HTTP/1.1",
        b"GET /healthz  HTTP/1.1",
        b"GET /healthz HTTP/1.1 ",
        b"GET\t/healthz HTTP/1.1",
        b"GET /healthz\tHTTP/1.1",
        b"GET /healthz\x0bHTTP/1.1",
        b"GET /health z HTTP/1.1",
        b"GET /healthz",
        b"GET /healthz HTTP/0.9",
        b"GET /healthz HTTP/1",
        b"GET /healthz HTTP/1.2",
        b"GET /healthz HTTP/1.10",
        b"GET /healthz HTTP/01.1",
        b"GET /healthz HTTP/2",
        b"GET /healthz HTTP/2.0",
        b"GET /healthz HTTP/1.\xc2\xb9",
        b"GET /healthz http/1.1",
        b"GET /healthz HTTPS/1.1",
        b"GET /healthz ICE/1.1",
        b"PRI * HTTP/2.0",
        b"GE\x00T /healthz HTTP/1.1",
        b"GE(T /healthz HTTP/1.1",
        b"GET: /healthz HTTP/1.1",
        b"G\xc3\x89T /healthz HTTP/1.1",
        b"\xff /healthz HTTP/1.1",
        b"X" * (MAX_METHOD + 1) + b" /healthz HTTP/1.1",
        b"GET /health\x00z HTTP/1.1",
        b"GET /healthz\x7f HTTP/1.1",
        b"GET /healthz\x85 HTTP/1.1",
        b"GET /healthz\xff HTTP/1.1",
        b"GET /health\rz HTTP/1.1",
        b"GET /health\nz HTTP/1.1",
        b"GET healthz HTTP/1.1",
        b"GET \\healthz HTTP/1.1",
        b"GET * HTTP/1.1",
        b"OPTIONS */x HTTP/1.1",
        b"CONNECT parley.test:443 HTTP/1.1",
        b"CONNECT /healthz HTTP/1.1",
        b"CONNECT http://parley.test/healthz HTTP/1.1",
        b"GET parley.test:443 HTTP/1.1",
        b"GET http:///healthz HTTP/1.1",
        b"GET http://:80/healthz HTTP/1.1",
        b"GET http:/healthz HTTP/1.1",
        b"GET http://user@parley.test/healthz HTTP/1.1",
        b"GET http://user:password@parley.test/healthz HTTP/1.1",
        b"GET http://parley.test:x/healthz HTTP/1.1",
        b"GET http://parley.test:99999/healthz HTTP/1.1",
        b"GET http://par<ley/healthz HTTP/1.1",
        b"GET http://[::1/healthz HTTP/1.1",
        b"GET http://[:::1]/healthz HTTP/1.1",
        b"GET ftp://parley.test/healthz HTTP/1.1",
    ],
)
def test_a_malformed_request_line_is_refused(attack: Attack, line: bytes) -> None:
    attack.check_refused(attack.request(line) + attack.second)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /healthz HTTP/1.1", 200),
        (b"GET /healthz?limit=50&x=%20 HTTP/1.1", 200),
        (b"GET /healthz?" + bytes(range(ord("!"), ord("~") + 1)) + b" HTTP/1.1", 200),
        (b"GET http://parley.test/healthz HTTP/1.1", 200),
        (b"GET HTTP://other.test:8000/healthz HTTP/1.1", 200),
        (b"GET https://[2001:db8::1]:443/healthz HTTP/1.1", 200),
        (b"GET http://parley.test HTTP/1.1", 404),
        (b"OPTIONS * HTTP/1.1", 404),
        (b"OPTIONS /healthz HTTP/1.1", 405),
        (b"HEAD /healthz HTTP/1.1", 200),
        (b"get /healthz HTTP/1.1", 405),
        (b"PRI /healthz HTTP/1.1", 405),
        (b"!#$%&'*+-.^_`|~ /healthz HTTP/1.1", 405),
        (b"X" * MAX_METHOD + b" /healthz HTTP/1.1", 405),
    ],
)
def test_a_well_formed_request_line_is_accepted(attack: Attack, line: bytes, status: int) -> None:
    attack.check_accepted(attack.request(line), status)


@pytest.mark.parametrize(
    "field",
    [
        b"no colon",
        b": x",
        b"X : x",
        b"X\t: x",
        b" X: x",
        b"\tX: x",
        b" folded",
        b"X: x\r\n folded",
        b"X: x\r\n\tfolded",
        b"X\x00: x",
        b"X\x01Y: x",
        b"X\x7f: x",
        b"X Y: x",
        b"X(Y): x",
        b"X\xe9: x",
        b"Coo" + KELVIN + b"ie: x",
        b"X: x\x00y",
        b"X: x\x01y",
        b"X: x\x0by",
        b"X: x\x0c",
        b"X: x\x1fy",
        b"X: x\x7fy",
        b"X: x\ry",
        b"X: x\nY: y",
        b"X: x\r\r\nY: y",
        b"X: x\n",
        b"X: \r",
        b"Host: parley.test",
        b"HOST: other.test",
    ],
)
def test_a_malformed_field_is_refused(attack: Attack, field: bytes) -> None:
    begun, ended = attack.request(b"GET /healthz HTTP/1.1", b"Z: z").rsplit(b"Z: z\r\n", 1)
    attack.check_refused(begun + field + b"\r\n" + ended + attack.second)


@pytest.mark.parametrize(
    "field",
    [
        b"X:",
        b"X: ",
        b"X:x",
        b"X: \t x \t ",
        b"X: a\tb c",
        b"X: \x80\xff\xe2\x98\x83",
        b'X: a: b, "c"; d=(e)',
        b"!#$%&'*+-.^_`|~09azAZ: x",
        b"x-" + b"n" * 1000 + b": " + b"v" * 10_000,
        b"Transfer_Encoding: chunked",
        b"Upgrade: h2c\r\nConnection: keep-alive, Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AA==",
        b"TE: trailers, deflate",
        b"Trailer: X",
        b"Expect: 100-continue",
    ],
)
def test_a_well_formed_field_is_accepted(attack: Attack, field: bytes) -> None:
    attack.check_accepted(attack.request(b"GET /healthz HTTP/1.1", field), 200)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b" ",
        b"a b",
        b"a,b",
        b"a, b",
        b"user@parley.test",
        b"user:password@parley.test",
        b"parley.test/healthz",
        b"parley.test?x",
        b"parley.test#x",
        b"http://parley.test",
        b"parley.test:x",
        b"parley.test:-1",
        b"parley.test:80:80",
        b":80",
        b"::1",
        b"[::1",
        b"[::1]x",
        b"[:::1]",
        b"[v1.x]",
        b"par%ley",
        b"par\\ley",
        b"\xff",
        b"m\xc3\xbcnchen.test",
    ],
)
def test_a_malformed_host_is_refused(attack: Attack, host: bytes) -> None:
    attack.check_refused(b"GET /healthz HTTP/1.1\r\nHost: " + host + b"\r\n\r\n" + attack.second)


@pytest.mark.parametrize(
    "host",
    [b"parley.test", b"PARLEY.test.", b"my_service-1:8000", b"127.0.0.1:", b"[::1]:8000", b"[::ffff:10.0.0.1]", b"%41"],
)
def test_a_well_formed_host_is_accepted(attack: Attack, host: bytes) -> None:
    attack.check_accepted(b"GET /healthz HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", 200)


@pytest.mark.parametrize("target", [b"/healthz", b"http://parley.test/healthz"])
def test_only_http_1_0_needs_no_host(attack: Attack, target: bytes) -> None:
    attack.check_refused(b"GET " + target + b" HTTP/1.1\r\n\r\n" + attack.second)
    old = b"GET " + target + b" HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    attack.check_accepted(old, 200)


@pytest.mark.parametrize(
    "fields",
    [
        *(
            [b"Content-Length" + rest]
            for rest in (
                b" : {n}",
                b"\t: {n}",
                b"\x00: {n}",
                b":",
                b": x",
                b": -{n}",
                b": +{n}",
                b": 0x{n}",
                b": {n}.0",
                b": {n}e0",
                b": 1_0",
                b": {n} {n}",
                b": {n},{n}",
                b": {n}, {n}",
                b": {n};",
                b": {n}\x00",
                b": {n}\x0b",
                b": \x0c{n}",
                b": {n}\xa0",
                b": \xc2\xa0{n}",
                b": " + FULL_WIDTH_5,
                b": " + ARABIC_5,
                b": " + SUPERSCRIPT_2,
                b': "{n}"',
            )
        ),
        [b"Content-Length: {n}", b"Content-Length: {n}"],
        [b"Content-Length: 0", b"content-length: {n}"],
        [b"Content-Length: {n}", b"Content-Length: 0"],
        [b"Content-Length: {n}", CHUNKED],
        [CHUNKED, b"Content-Length: {n}"],
        [CHUNKED, b"Content-Length: 0"],
        [CHUNKED, CHUNKED],
        [b"Transfer-Encoding: identity", CHUNKED],
        [CHUNKED, b"Transfer-Encoding: identity"],
        *(
            [b"Transfer-Encoding" + rest]
            for rest in (
                b":",
                b" : chunked",
                b": identity",
                b": gzip",
                b": gzip, chunked",
                b": chunked, gzip",
                b": chunked, chunked",
                b": chunked, identity",
                b": chunked,",
                b": ,chunked",
                b": xchunked",
                b": chunkedx",
                b': "chunked"',
                b": 'chunked'",
                b": chunked;q=1",
                b": chunked\x00",
                b": \x0bchunked",
                b": chunked\x0c",
                b": chunked\xa0",
                b": \xc2\xa0chunked",
                b": chun" + KELVIN + b"ed",
                b":\r\n chunked",
                b": x\r\n\tchunked",
                b": chunked\nX: x",
                b": chunked\rX: x",
            )
        ),
        [b"Expect: 200-ok", b"Content-Length: {n}"],
        [b"Expect: 100-continue, x", CHUNKED],
    ],
)
@pytest.mark.parametrize("line", [b"POST /healthz HTTP/1.1", b"GET /healthz HTTP/1.1"])
def test_malformed_framing_is_refused(attack: Attack, line: bytes, fields: list[bytes]) -> None:
    size = str(len(attack.second)).encode()
    filled = [field.replace(b"{n}", size) for field in fields]
    for body in (attack.second, b"0\r\n\r\n" + attack.second):
        attack.check_refused(attack.request(line, *filled, body=body))


def test_http_1_0_has_no_transfer_codings(attack: Attack) -> None:
    for more in ((), (b"Connection: keep-alive",)):
        attack.check_refused(attack.request(b"POST /x HTTP/1.0", CHUNKED, *more, body=b"0\r\n\r\n" + attack.second))
    body = b'{"title": "first"}'
    sized = b"Content-Length: %d" % len(body), b"Connection: keep-alive"
    attack.check_accepted(attack.request(b"POST /api/chats HTTP/1.0", *sized, body=body), 201)


@pytest.mark.parametrize(
    ("field", "body"),
    [
        (b"Content-Length: 18", b'{"title": "first"}'),
        (b"Content-Length:18 \t", b'{"title": "first"}'),
        (b"content-length: 0000000000000000000000018", b'{"title": "first"}'),
        (CHUNKED, b'12\r\n{"title": "first"}\r\n0\r\n\r\n'),
        (b"tRANSFER-eNCODING:\tChunked ", b'12\r\n{"title": "first"}\r\n0\r\n\r\n'),
        (b"Expect: 100-Continue\r\nContent-Length: 18", b'{"title": "first"}'),
        (b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 18", b'{"title": "first"}'),
    ],
)
def test_well_formed_framing_is_accepted(attack: Attack, field: bytes, body: bytes) -> None:
    attack.check_accepted(attack.request(b"POST /api/chats HTTP/1.1", field, body=body), 201)
    assert attack.titles() == {"smuggled", "first"}


@pytest.mark.parametrize(
    "chunks",
    [
        b"\r\n\r\n",
        b"0x12\r\n{}\r\n0\r\n\r\n",
        b"+12\r\n{}\r\n0\r\n\r\n",
        b"-12\r\n{}\r\n0\r\n\r\n",
        b"1_2\r\n{}\r\n0\r\n\r\n",
        b" 12\r\n{}\r\n0\r\n\r\n",
        b"12 \r\n{}\r\n0\r\n\r\n",
        b"12\t\r\n{}\r\n0\r\n\r\n",
        b"1 2\r\n{}\r\n0\r\n\r\n",
        b"12\x00\r\n{}\r\n0\r\n\r\n",
        b"12\x0b\r\n{}\r\n0\r\n\r\n",
        b"12h\r\n{}\r\n0\r\n\r\n",
        b"1.2\r\n{}\r\n0\r\n\r\n",
        FULL_WIDTH_5 + b"\r\n{}\r\n0\r\n\r\n",
        b"1" + SUPERSCRIPT_2 + b"\r\n{}\r\n0\r\n\r\n",
        b"12\n{}\r\n0\r\n\r\n",
        b"12\r{}\r\n0\r\n\r\n",
        b"12\r\r\n{}\r\n0\r\n\r\n",
        b"12\n\r{}\r\n0\r\n\r\n",
        b"12;\r\n{}\r\n0\r\n\r\n",
        b"12;\n{}\r\n0\r\n\r\n",
        b"12; \r\n{}\r\n0\r\n\r\n",
        b"12;a\n{}\r\n0\r\n\r\n",
        b"12;a=\r\n{}\r\n0\r\n\r\n",
        b"12;=b\r\n{}\r\n0\r\n\r\n",
        b"12;a=b c\r\n{}\r\n0\r\n\r\n",
        b"12;a=b;\r\n{}\r\n0\r\n\r\n",
        b"12;a b\r\n{}\r\n0\r\n\r\n",
        b"12;a=\x00\r\n{}\r\n0\r\n\r\n",
        b"12;a\x01=b\r\n{}\r\n0\r\n\r\n",
        b"12;a=\xff\r\n{}\r\n0\r\n\r\n",
        b'12;a="b\r\n{}\r\n0\r\n\r\n',
        b'12;a="b\x7f"\r\n{}\r\n0\r\n\r\n',
        b'12;a="b"c\r\n{}\r\n0\r\n\r\n',
        b'12;a="\n"\r\n{}\r\n0\r\n\r\n',
        b"12,12\r\n{}\r\n0\r\n\r\n",
        b"11\r\n{}\r\n0\r\n\r\n",
        b"13\r\n{}\r\n0\r\n\r\n",
        b"12\r\n{}0\r\n\r\n",
        b"12\r\n{}\n0\r\n\r\n",
        b"12\r\n{}\r0\r\n\r\n",
        b"12\r\n{}\r\r\n0\r\n\r\n",
        b"12\r\n{}\r\n\r\n0\r\n\r\n",
        b"12\r\n{}\r\n\r\n\r\n",
        b"12\r\n{}\r\n0\n\r\n",
        b"12\r\n{}\r\n0\r\n\n",
        b"12\r\n{}\r\n0;\r\n\r\n",
        b"12\r\n{}\r\n0 \r\n\r\n",
        b"12\r\n{}\r\n-0\r\n\r\n",
        b"12\r\n{}\r\n0\r\nno colon\r\n\r\n",
        b"12\r\n{}\r\n0\r\nX : x\r\n\r\n",
        b"12\r\n{}\r\n0\r\n X: x\r\n\r\n",
        b"12\r\n{}\r\n0\r\nX: x\r\n folded\r\n\r\n",
        b"12\r\n{}\r\n0\r\nX: x\x00\r\n\r\n",
        b"12\r\n{}\r\n0\r\nX: x\nY: y\r\n\r\n",
        b"12\r\n{}\r\n0\r\nX: x\rY: y\r\n\r\n",
        b"12\r\n{}\r\n0\r\nX: x\r\n\n",
        b"12\r\n{}\r\n0\r\nX: x\n\r\n",
        b"12\r\n{}\r\n0\r\nX: " + b"x" * MAX_TRAILERS + b"\r\n\r\n",
        b"12\r\n{}\r\n0\r\n" + b"X: x\r\n" * (MAX_TRAILERS // 6 + 1) + b"\r\n",
        b"0" * MAX_CHUNK_LINE + b"12\r\n{}\r\n0\r\n\r\n",
        b"12;" + b"a" * MAX_CHUNK_LINE + b"\r\n{}\r\n0\r\n\r\n",
        b"12;" + b"a" * 1_000_000,
        b"0" * 1_000_000,
        b"".join(b"1;" + b"a" * 100 + b"\r\n \r\n" for _ in range(MAX_EXTENSIONS // 100)) + b"12\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_a_malformed_chunk_is_refused(attack: Attack, chunks: bytes) -> None:
    sent = attack.request(b"POST /api/chats HTTP/1.1", CHUNKED, body=chunks.replace(b"{}", b'{"title": "first"}'))
    attack.check_refused(sent + attack.second)


@pytest.mark.parametrize(
    "chunks",
    [
        b"12\r\n{}\r\n0\r\n\r\n",
        b"0012\r\n{}\r\n000\r\n\r\n",
        b"0" * (MAX_CHUNK_LINE - 4) + b"12\r\n{}\r\n0\r\n\r\n",
        b"4\r\n    \r\n12\r\n{}\r\nA\r\n          \r\nb\r\n           \r\n0\r\n\r\n",
        b"12;a\r\n{}\r\n0\r\n\r\n",
        b"12;a=b;c=d\r\n{}\r\n0;e=f\r\n\r\n",
        b"12 \t;\ta = b ; c\r\n{}\r\n0 ; e\r\n\r\n",
        b'12;a="b; \\" \t\\\\\xff"\r\n{}\r\n0\r\n\r\n',
        b"12;" + b"a" * (MAX_CHUNK_LINE - 5) + b"\r\n{}\r\n0\r\n\r\n",
        b"".join(b"1;" + b"a" * 100 + b"\r\n \r\n" for _ in range(MAX_EXTENSIONS // 101)) + b"12\r\n{}\r\n0\r\n\r\n",
        b"12\r\n{}\r\n0\r\nX: x\r\n\r\n",
        b"12\r\n{}\r\n0\r\nX:\r\nY: \xff\r\nX: x\r\n\r\n",
        b"12\r\n{}\r\n0\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\nHost: a\r\n\r\n",
        b"12\r\n{}\r\n0\r\nX: " + b"x" * (MAX_TRAILERS - 10) + b"\r\n\r\n",
    ],
)
def test_a_well_formed_chunked_body_is_accepted(attack: Attack, chunks: bytes) -> None:
    body = chunks.replace(b"{}", b'{"title": "first"}')
    attack.check_accepted(attack.request(b"POST /api/chats HTTP/1.1", CHUNKED, body=body), 201)
    assert attack.titles() == {"smuggled", "first"}


def test_a_trailer_is_no_header(attack: Attack) -> None:
    body = b"0\r\nAuthorization: Bearer x\r\nX-Request-Id: trailer\r\nX-Forwarded-For: x\r\n\r\n"
    answer = attack.check_accepted(attack.request(b"GET /api/profile HTTP/1.1", CHUNKED, body=body), 200)
    assert answer.headers["x-request-id"] != "trailer"


@pytest.mark.parametrize(
    ("line", "fields", "status"),
    [
        (b"POST /api/chats HTTP/1.1", (b"Content-Type: application/json",), 400),
        (b"POST /api/chats HTTP/1.1", (b"Content-Type: text/plain",), 415),
        (b"POST /api/profile/image HTTP/1.1", (b"Content-Type: text/plain",), 415),
        (b"POST /api/profile/image HTTP/1.1", (b"Content-Type: multipart/form-data; boundary=x",), 400),
        (b"POST /api/chats HTTP/1.1", (b"Content-Type: application/json", b"Authorization: Bearer x"), 401),
        (b"POST /api/nope HTTP/1.1", (), 404),
        (b"POST /nope HTTP/1.1", (), 404),
        (b"PATCH /api/chats HTTP/1.1", (), 405),
        (b"GET /healthz HTTP/1.1", (), 200),
        (b"HEAD /healthz HTTP/1.1", (), 200),
        (b"GET /api/profile HTTP/1.1", (), 200),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_an_unread_body_is_no_request(
    api: Api, line: bytes, fields: tuple[bytes, ...], status: int, *, chunked: bool
) -> None:
    """… and a request behind the body is one."""
    user = new_user()
    with unlimited(api, user) as client:
        attack = Attack(api, client, user)
        if fields:
            del attack.headers["Content-Type"]
        if any(field.startswith(b"Authorization") for field in fields):
            del attack.headers["Authorization"]
        size = len(attack.second)
        framing = CHUNKED if chunked else b"Content-Length: %d" % size
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, attack.second) if chunked else attack.second
        sent = attack.request(line, framing, *fields, body=body)
        last = attack.request(b"GET /nope HTTP/1.1", b"Connection: close")
        for segments in ((sent + last,), (sent[:-size], sent[-size:] + last)):
            answers = attack.send(*segments)
            assert [answer.status_code for answer in answers] == [status, 404]
        assert not attack.titles()


@pytest.mark.parametrize("line", [b"POST /api/chats HTTP/1.1", b"POST /nope HTTP/1.1", b"GET /healthz HTTP/1.1"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_no_request(attack: Attack, line: bytes, *, chunked: bool) -> None:
    framing = CHUNKED if chunked else b"Content-Length: 2000000"
    body = b"1e8480\r\n" + attack.second if chunked else attack.second
    [answer] = attack.send(attack.request(line, framing, body=body))
    assert answer.status_code == (404 if b"/nope" in line else 413)
    assert answer.headers["connection"] == "close"
    assert not attack.titles()


@pytest.mark.parametrize(
    ("line", "status"),
    [(b"POST /nope HTTP/1.1", 404), (b"PATCH /api/chats HTTP/1.1", 405), (b"GET /healthz HTTP/1.1", 400)],
)
def test_nothing_behind_an_unread_malformed_body_is_a_request(attack: Attack, line: bytes, status: int) -> None:
    [answer] = attack.send(attack.request(line, CHUNKED, body=b"0x0\r\n\r\n0\r\n\r\n") + attack.second)
    assert (answer.status_code, answer.headers["connection"]) == (status, "close")
    assert not attack.titles()


def test_an_upload_that_takes_too_long_leaves_no_request(new_api: Callable[..., Api], shared_database: str) -> None:
    user = new_user()
    with (
        running(altered(new_api(shared_database), "uploads.SECONDS = 0.1")) as api,
        unlimited(api, user) as client,
        connected(api) as connection,
    ):
        attack = Attack(api, client, user)
        attack.headers["Content-Type"] = "multipart/form-data; boundary=x"
        connection.sendall(
            attack.request(b"POST /api/profile/image HTTP/1.1", b"Content-Length: 100000", body=b"--x\r\n")
        )
        received = connection.recv(65_536)
        connection.sendall(attack.second)
        while piece := connection.recv(65_536):
            received += piece
        [answer] = responses(received)
        assert refusal(answer, 400)["message"] == "The body took longer than 0.1 seconds."
        assert answer.headers["connection"] == "close"
        assert not attack.titles()


def test_one_empty_line_before_a_request_is_ignored(attack: Attack) -> None:
    request = attack.request(b"GET /healthz HTTP/1.1")
    for begun in (b"\r\n\r\n", b"\n", b"\r", b"\n\r\n", b" \r\n"):
        attack.check_refused(begun + request + attack.second)
    attack.check_accepted(b"\r\n" + request + b"\r\n", 200)


@pytest.mark.parametrize(
    "begun",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\n",
        b"GET /healthz\r\n",
        b"GET /healthz\n",
        b"NONSENSE\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /healthz HTTP/1.1\nHost: parley.test\n\n",
        b"GET /healthz HTTP/1.1\r\nHost: parley.test\r\n\n",
        b"GET /healthz HTTP/1.1\r\nHost: parley.test\n\r\n",
        b"GET /healthz HTTP/1.1\rHost: parley.test\r\r",
        b"GET /healthz HTTP/1.1\r\nHost: parley.test\r\nX: \x00",
    ],
)
def test_a_head_that_can_never_be_well_formed_is_refused_before_its_end(attack: Attack, begun: bytes) -> None:
    attack.check_refused(begun)
    attack.check_refused(*(bytes([byte]) for byte in begun))


def test_a_head_has_at_most_100_fields(attack: Attack) -> None:
    assert MAX_FIELDS == 100
    has = attack.request(b"GET /healthz HTTP/1.1").count(b"\r\n") - 2
    attack.check_refused(attack.request(b"GET /healthz HTTP/1.1", *[b"X: x"] * (101 - has)) + attack.second, status=413)
    attack.check_accepted(attack.request(b"GET /healthz HTTP/1.1", *[b"X: x"] * (100 - has)), 200)


def test_a_head_has_at_most_160_kib(attack: Attack) -> None:
    begun = attack.request(b"GET /healthz HTTP/1.1", b"X: ")
    room = MAX_HEAD - len(begun.removesuffix(b"\r\n\r\n"))
    attack.check_refused(
        attack.request(b"GET /healthz HTTP/1.1", b"X: " + b"x" * (room + 1)) + attack.second, status=413
    )
    attack.check_accepted(attack.request(b"GET /healthz HTTP/1.1", b"X: " + b"x" * room), 200)


def test_a_target_has_at_most_65535_bytes(attack: Attack) -> None:
    path = b"/" + b"x" * (MAX_TARGET - 1)
    attack.check_refused(attack.request(b"GET " + path + b"x HTTP/1.1") + attack.second, status=413)
    attack.check_accepted(attack.request(b"GET " + path + b" HTTP/1.1"), 404)


def test_requests_arrive_in_any_segments(attack: Attack) -> None:
    """A head, a chunked body with all that it may have, and a sized one."""
    body = b'4;a="b"\r\n    \r\n012\r\n{"title": "first"}\r\n0;c\r\nX: x\r\n\r\n'
    first = attack.request(b"POST /api/chats HTTP/1.1", CHUNKED, body=body)
    sent = b"\r\n" + first + attack.second
    answers = attack.send(*(bytes([byte]) for byte in sent))
    assert [answer.status_code for answer in answers] == [201, 201]
    assert attack.titles() == {"smuggled", "first"}


def test_a_head_answers_head_requests_without_a_body(attack: Attack) -> None:
    [answer] = attack.send(attack.request(b"HEAD /healthz HTTP/1.1", b"X : x") + attack.second)
    assert (answer.status_code, answer.text, answer.headers["connection"]) == (400, "", "close")


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        (b"1.1", None, True),
        (b"1.1", b"keep-alive", True),
        (b"1.1", b"x, Keep-Alive", True),
        (b"1.1", b"Upgrade, HTTP2-Settings", True),
        (b"1.1", b"close", False),
        (b"1.1", b"CLOSE", False),
        (b"1.1", b"x ,\tclose", False),
        (b"1.1", b"keep-alive\r\nConnection: close", False),
        (b"1.0", None, False),
        (b"1.0", b"x", False),
        (b"1.0", b"keep-alive", True),
        (b"1.0", b"x, Keep-Alive", True),
        (b"1.0", b"keep-alive, close", False),
    ],
)
def test_a_connection_persists_by_the_rules_of_its_version(
    attack: Attack, version: bytes, connection: bytes | None, *, keeps: bool
) -> None:
    fields = [] if connection is None else [b"Connection: " + connection]
    answers = attack.send(attack.request(b"GET /healthz HTTP/" + version, *fields) + attack.second)
    assert [answer.status_code for answer in answers] == ([200, 201] if keeps else [200])
    assert answers[0].headers["connection"] == ("keep-alive" if keeps else "close")


def test_the_last_response_is_readable_while_the_client_sends_on(attack: Attack) -> None:
    sent = attack.request(b"GET /healthz HTTP/1.1", b"Connection: close") + attack.second
    [answer] = attack.send(sent + b"x" * 10_000_000)
    assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    assert not attack.titles()


@pytest.mark.parametrize(
    ("version", "size", "interim"),
    [(b"1.1", 18, b"HTTP/1.1 100 Continue\r\n\r\n"), (b"1.1", 2_000_000, b""), (b"1.0", 18, b"")],
)
def test_a_client_that_waits_is_asked_for_the_body(
    api: Api, attack: Attack, version: bytes, size: int, interim: bytes
) -> None:
    fields = b"Expect: 100-continue", b"Content-Length: %d" % size, b"Connection: close"
    with connected(api) as connection, connected(api) as other:
        connection.sendall(attack.request(b"POST /api/chats HTTP/" + version, *fields))
        wait_until_received(other)
        if interim:
            assert connection.recv(len(interim)) == interim
        connection.sendall(b'{"title": "first"}')
        received = b""
        while piece := connection.recv(65_536):
            received += piece
    assert received.startswith(b"HTTP/1.1 413 " if size > 18 else b"HTTP/1.1 201 ")
    assert attack.titles() == (set() if size > 18 else {"first"})


def test_a_body_that_has_arrived_is_not_asked_for(api: Api, attack: Attack) -> None:
    fields = b"Expect: 100-continue", b"Content-Length: 18", b"Connection: close"
    with connected(api) as connection:
        connection.sendall(attack.request(b"POST /api/chats HTTP/1.1", *fields, body=b'{"title": "first"}'))
        assert connection.recv(65_536).startswith(b"HTTP/1.1 201 ")


def test_a_body_in_tiny_chunks_is_read(attack: Attack) -> None:
    body = b'{"title": "first"}'.rjust(100_000)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    attack.check_accepted(attack.request(b"POST /api/chats HTTP/1.1", CHUNKED, body=chunks), 201)
