"""Header fields by RFC 9112, and Host by RFC 9110: well-formed ones are accepted, all others rejected."""

import pytest

from api.http.parser import MAX_FIELDS
from tests.api.http.http1 import KELVIN, Attack


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
def test_malformed_field_is_rejected(attack: Attack, field: bytes) -> None:
    before, after = attack.request(b"GET /healthz HTTP/1.1", b"Z: z").rsplit(b"Z: z\r\n", 1)
    attack.check_rejected(before + field + b"\r\n" + after + attack.second_request)


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
def test_well_formed_field_is_accepted(attack: Attack, field: bytes) -> None:
    attack.check_accepted(attack.request(b"GET /healthz HTTP/1.1", field), 200)


def test_head_has_at_most_100_fields(attack: Attack) -> None:
    assert MAX_FIELDS == 100
    has = attack.request(b"GET /healthz HTTP/1.1").count(b"\r\n") - 2
    attack.check_rejected(
        attack.request(b"GET /healthz HTTP/1.1", *[b"X: x"] * (101 - has)) + attack.second_request, status=413
    )
    attack.check_accepted(attack.request(b"GET /healthz HTTP/1.1", *[b"X: x"] * (100 - has)), 200)


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
def test_malformed_host_is_rejected(attack: Attack, host: bytes) -> None:
    attack.check_rejected(b"GET /healthz HTTP/1.1\r\nHost: " + host + b"\r\n\r\n" + attack.second_request)


@pytest.mark.parametrize(
    "host",
    [b"parley.test", b"PARLEY.test.", b"my_service-1:8000", b"127.0.0.1:", b"[::1]:8000", b"[::ffff:10.0.0.1]", b"%41"],
)
def test_well_formed_host_is_accepted(attack: Attack, host: bytes) -> None:
    attack.check_accepted(b"GET /healthz HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", 200)


@pytest.mark.parametrize("target", [b"/healthz", b"http://parley.test/healthz"])
def test_only_http_1_0_may_omit_host(attack: Attack, target: bytes) -> None:
    attack.check_rejected(b"GET " + target + b" HTTP/1.1\r\n\r\n" + attack.second_request)
    old = b"GET " + target + b" HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    attack.check_accepted(old, 200)
