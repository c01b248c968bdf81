"""HTTP/1.1 connections by RFC 9112, section 9: pipelining, persistence and the lingering close."""

import pytest

from tests.api.http.http1 import CHUNKED, Attack


def test_requests_may_arrive_in_any_segments(attack: Attack) -> None:
    """A chunked request with extensions and trailers, and a sized one, each in segments of one byte."""
    body = b'4;a="b"\r\n    \r\n012\r\n{"title": "first"}\r\n0;c\r\nX: x\r\n\r\n'
    first = attack.request(b"POST /api/chats HTTP/1.1", CHUNKED, body=body)
    sent = b"\r\n" + first + attack.second_request
    responses = attack.send(*(bytes([byte]) for byte in sent))
    assert [response.status_code for response in responses] == [201, 201]
    assert attack.list_titles() == {"smuggled", "first"}


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
def test_connection_persists_by_the_rules_of_its_version(
    attack: Attack, version: bytes, connection: bytes | None, *, keeps: bool
) -> None:
    fields = [] if connection is None else [b"Connection: " + connection]
    responses = attack.send(attack.request(b"GET /healthz HTTP/" + version, *fields) + attack.second_request)
    assert [response.status_code for response in responses] == ([200, 201] if keeps else [200])
    assert responses[0].headers["connection"] == ("keep-alive" if keeps else "close")


def test_last_response_is_readable_while_the_client_keeps_sending(attack: Attack) -> None:
    sent = attack.request(b"GET /healthz HTTP/1.1", b"Connection: close") + attack.second_request
    [response] = attack.send(sent + b"x" * 10_000_000)
    assert (response.status_code, response.headers["connection"]) == (200, "close")
    assert not attack.list_titles()
