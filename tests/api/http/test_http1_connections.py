"""HTTP/1.1 connections by RFC 9112, section 9: pipelining, persistence and the lingering close."""

import pytest

from tests.api.http.http1 import CHUNKED, Attack


def test_requests_arrive_in_any_segments(attack: Attack) -> None:
    """A head, a chunked body with all that it may have, and a sized one."""
    body = b'4;a="b"\r\n    \r\n012\r\n{"title": "first"}\r\n0;c\r\nX: x\r\n\r\n'
    first = attack.request(b"POST /api/chats HTTP/1.1", CHUNKED, body=body)
    sent = b"\r\n" + first + attack.second
    answers = attack.send(*(bytes([byte]) for byte in sent))
    assert [answer.status_code for answer in answers] == [201, 201]
    assert attack.titles() == {"smuggled", "first"}


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
