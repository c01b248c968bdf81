"""The chunked transfer coding of RFC 9112, section 7: chunk sizes, chunk extensions and trailer fields."""

import pytest

from api.http.parser import MAX_CHUNK_LINE, MAX_EXTENSIONS, MAX_TRAILERS
from tests.api.http.http1 import CHUNKED, FULL_WIDTH_5, SUPERSCRIPT_2, Attack


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
def test_malformed_chunk_is_rejected(attack: Attack, chunks: bytes) -> None:
    sent = attack.request(b"POST /api/chats HTTP/1.1", CHUNKED, body=chunks.replace(b"{}", b'{"title": "first"}'))
    attack.check_rejected(sent + attack.second_request)


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
def test_well_formed_chunked_body_is_accepted(attack: Attack, chunks: bytes) -> None:
    body = chunks.replace(b"{}", b'{"title": "first"}')
    attack.check_accepted(attack.request(b"POST /api/chats HTTP/1.1", CHUNKED, body=body), 201)
    assert attack.list_titles() == {"smuggled", "first"}


def test_trailer_does_not_become_a_header(attack: Attack) -> None:
    body = b"0\r\nAuthorization: Bearer x\r\nX-Request-Id: trailer\r\nX-Forwarded-For: x\r\n\r\n"
    response = attack.check_accepted(attack.request(b"GET /api/profile HTTP/1.1", CHUNKED, body=body), 200)
    assert response.headers["x-request-id"] != "trailer"


def test_body_in_tiny_chunks_is_read(attack: Attack) -> None:
    body = b'{"title": "first"}'.rjust(100_000)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    attack.check_accepted(attack.request(b"POST /api/chats HTTP/1.1", CHUNKED, body=chunks), 201)
