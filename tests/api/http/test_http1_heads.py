"""Request lines and whole message heads by RFC 9112: well-formed ones are accepted, all others rejected."""

import pytest

from api.http.parser import MAX_METHOD, MAX_TARGET
from api.http.protocol import MAX_HEAD
from tests.api.http.http1 import Attack


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
def test_malformed_request_line_is_rejected(attack: Attack, line: bytes) -> None:
    attack.check_rejected(attack.request(line) + attack.second_request)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /healthz HTTP/1.1", 200),
        (b"GET /healthz?limit=50&x=%20 HTTP/1.1", 200),
        (b"GET /healthz?" + bytes(range(ord("!"), ord("~") + 1)) + b" HTTP/1.1", 200),
        (b"GET http://parley.test/healthz HTTP/1.1", 200),
        (b"GET HTTP://other.test:8000/healthz HTTP/1.1", 200),
        (b"GET https://[2001:db8::1]:443/healthz HTTP/1.1", 200),
        (b"GET http://parley.test HTTP/1.1", 200),
        (b"OPTIONS * HTTP/1.1", 405),
        (b"OPTIONS /healthz HTTP/1.1", 405),
        (b"HEAD /healthz HTTP/1.1", 200),
        (b"get /healthz HTTP/1.1", 405),
        (b"PRI /healthz HTTP/1.1", 405),
        (b"!#$%&'*+-.^_`|~ /healthz HTTP/1.1", 405),
        (b"X" * MAX_METHOD + b" /healthz HTTP/1.1", 405),
    ],
)
def test_well_formed_request_line_is_accepted(attack: Attack, line: bytes, status: int) -> None:
    attack.check_accepted(attack.request(line), status)


def test_target_has_at_most_65535_bytes(attack: Attack) -> None:
    path = b"/" + b"x" * (MAX_TARGET - 1)
    attack.check_rejected(attack.request(b"GET " + path + b"x HTTP/1.1") + attack.second_request, status=413)
    attack.check_accepted(attack.request(b"GET " + path + b" HTTP/1.1"), 404)


def test_one_empty_line_before_a_request_is_ignored(attack: Attack) -> None:
    request = attack.request(b"GET /healthz HTTP/1.1")
    for start in (b"\r\n\r\n", b"\n", b"\r", b"\n\r\n", b" \r\n"):
        attack.check_rejected(start + request + attack.second_request)
    attack.check_accepted(b"\r\n" + request + b"\r\n", 200)


@pytest.mark.parametrize(
    "start",
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
def test_head_is_rejected_as_soon_as_it_cannot_be_well_formed(attack: Attack, start: bytes) -> None:
    attack.check_rejected(start)
    attack.check_rejected(*(bytes([byte]) for byte in start))


def test_head_has_at_most_160_kib(attack: Attack) -> None:
    start = attack.request(b"GET /healthz HTTP/1.1", b"X: ")
    room = MAX_HEAD - len(start.removesuffix(b"\r\n\r\n"))
    attack.check_rejected(
        attack.request(b"GET /healthz HTTP/1.1", b"X: " + b"x" * (room + 1)) + attack.second_request, status=413
    )
    attack.check_accepted(attack.request(b"GET /healthz HTTP/1.1", b"X: " + b"x" * room), 200)


def test_error_response_to_head_has_no_body(attack: Attack) -> None:
    [response] = attack.send(attack.request(b"HEAD /healthz HTTP/1.1", b"X : x") + attack.second_request)
    assert (response.status_code, response.text, response.headers["connection"]) == (400, "", "close")
