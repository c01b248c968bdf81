"""Malformed HTTP and unusual requests: each gets a response, and the server continues."""

import re
import socket

import pytest

from tests.api.support import LIMIT_HEADERS, RawResponse, expect_error, request_head, send_raw, unlimited_client
from tests.api_process import Api

LONG = b"x" * 200_000


def request(line: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([line, b"Host: parley.test", *headers, b"", b""])


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"NONSENSE\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"\xff\xfe\x00\r\n\r\n", 400),
        (request(b"GET /x"), 400),
        (request(b"GET  /x HTTP/1.1"), 400),
        (request(b"GET /x HTTP/1.1 x"), 400),
        (request(b"GET /x HTTP/2"), 400),
        (request(b"GET /x HTTP/0.9"), 400),
        (request(b"GET api/chats HTTP/1.1"), 400),
        (request(b"GET ?page=1 HTTP/1.1"), 400),
        (request(b"GET host:443 HTTP/1.1"), 400),
        (request(b"CONNECT host:443 HTTP/1.1"), 400),
        (request(b"GET http:///api HTTP/1.1"), 400),
        (request(b"GET http://[::1/api HTTP/1.1"), 400),
        (request(b"GET /x\xc3\xa9ts HTTP/1.1"), 400),
        (request(b"GET /x\x00ts HTTP/1.1"), 400),
        (request(b"GET /x\x7fts HTTP/1.1"), 400),
        (request(b"GET /x HTTP/1.1", b"no colon"), 400),
        (request(b"POST /x HTTP/1.1", b"Content-Length: x"), 400),
        (request(b"POST /x HTTP/1.1", b"Content-Length: -1"), 400),
        (request(b"POST /x HTTP/1.1", b"Content-Length: 0x10"), 400),
        (request(b"POST /x HTTP/1.1", b"Content-Length: 1", b"Content-Length: 1"), 400),
        (request(b"POST /x HTTP/1.1", b"Content-Length: 1", b"Transfer-Encoding: chunked"), 400),
        (request(b"POST /x HTTP/1.1", b"Transfer-Encoding: gzip"), 400),
        (request(b"POST /x HTTP/1.1", b"Content-Length: 2", b"Expect: miracles"), 400),
        (request(b"GET /" + LONG + b" HTTP/1.1"), 413),
        (request(b"GET / HTTP/1.1", b"X: " + LONG), 413),
        (request(b"GET / HTTP/1.1", *[b"X: y"] * 40_000), 413),
        (LONG, 413),
        (request(b"OPTIONS * HTTP/1.1"), 405),
        (request(b"POST http://host HTTP/1.1"), 405),
        (request(b"POST http://host?x HTTP/1.1"), 405),
        (request(b"GET /nope HTTP/1.0"), 404),
        (request(b"get /healthz HTTP/1.1"), 405),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_malformed_http_gets_an_error_response(api: Api, sent: bytes, status: int) -> None:
    expect_error(send_raw(api, sent), status)


@pytest.mark.parametrize(
    ("chunks", "status"),
    [
        (b"zz\r\n", 400),
        (b"-1\r\n", 400),
        (b"0\r\nTrailer: x\r\n\r\n", 400),
        (b";" * 100, 400),
        (b"f" * 20 + b"\r\n", 413),
    ],
)
def test_malformed_chunk_gets_an_error_response(api: Api, chunks: bytes, status: int) -> None:
    headers = api.headers() | {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    expect_error(send_raw(api, request_head("POST /api/chats HTTP/1.1", headers), chunks), status)


def test_absolute_form_of_a_target_is_accepted(api: Api) -> None:
    response = send_raw(
        api, request_head("GET http://any.host/api/chats?limit=7 HTTP/1.1", api.headers()), method="GET"
    )
    assert response.status_code == 200
    assert '"limit" : 7' in response.text
    assert response.headers.keys() >= LIMIT_HEADERS


def test_pipelined_requests_get_responses_in_order(api: Api) -> None:
    first = request_head("GET /healthz HTTP/1.1", {})
    second = request_head("GET /nope HTTP/1.1", {"Connection": "close"})
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(first + second)
        received = b""
        while piece := connection.recv(65_536):
            received += piece
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"404"]


def test_malformed_requests_are_not_logged(api: Api) -> None:
    before = api.log.stat().st_size
    for sent in (b"NONSENSE\r\n\r\n", request(b"GET host:443 HTTP/1.1"), request(b"GET http://host HTTP/1.1")):
        send_raw(api, sent)
    with unlimited_client(api) as client:
        assert client.get("/api/chats").status_code == 200
    assert api.log.stat().st_size == before


def test_well_formed_request_id_is_kept_and_others_are_replaced(api: Api) -> None:
    with unlimited_client(api) as client:
        for path in ("/api/chats", "/healthz", "/nope", "/api/chats/1"):
            for well_formed in ("a", "0af7651916cd43dd8448eb211c80319c", "a.b_c:d-e", "x" * 128):
                assert client.get(path, headers={"X-Request-Id": well_formed}).headers["x-request-id"] == well_formed
            replaced = {
                client.get(path, headers={b"X-Request-Id": value}).headers["x-request-id"]
                for value in (b"", b"a b", b"x" * 129, b"<script>", b"\xe2\x98\x83", b"a\tb", b"a,b", b"'")
            }
            assert len(replaced) == 8
            assert all(len(request_id) == 32 and request_id.isalnum() for request_id in replaced)


def test_response_to_malformed_http_has_a_request_id(api: Api) -> None:
    response: RawResponse = send_raw(api, b"NONSENSE\r\n\r\n")
    assert len(response.headers["x-request-id"]) == 32
