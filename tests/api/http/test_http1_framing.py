"""Message framing by RFC 9112, section 6: Content-Length and Transfer-Encoding determine where a request ends.

A request with ambiguous framing is rejected, so that a proxy and the API cannot disagree about its end.
"""

import pytest

from tests.api.http.http1 import ARABIC_5, CHUNKED, FULL_WIDTH_5, KELVIN, SUPERSCRIPT_2, Attack


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
def test_malformed_framing_is_rejected(attack: Attack, line: bytes, fields: list[bytes]) -> None:
    size = str(len(attack.second_request)).encode()
    filled = [field.replace(b"{n}", size) for field in fields]
    for body in (attack.second_request, b"0\r\n\r\n" + attack.second_request):
        attack.check_rejected(attack.request(line, *filled, body=body))


def test_http_1_0_has_no_transfer_codings(attack: Attack) -> None:
    for more in ((), (b"Connection: keep-alive",)):
        attack.check_rejected(
            attack.request(b"POST /x HTTP/1.0", CHUNKED, *more, body=b"0\r\n\r\n" + attack.second_request)
        )
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
    assert attack.list_titles() == {"smuggled", "first"}
