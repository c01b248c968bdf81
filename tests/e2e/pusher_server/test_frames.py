"""The frames of RFC 6455 that clients send: those that violate it close the connection with its code."""

import socket
import struct
from contextlib import closing

import pytest

from api.dev.pusher_process import PusherProcess
from api.dev.pusher_server import limits
from tests.e2e.pusher_server.clients import HANDSHAKE, connect_raw, encode_frame

FIN, RSV1, RSV2, RSV3 = 0x80, 0x40, 0x20, 0x10
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PROTOCOL_ERROR, INVALID_DATA, TOO_BIG = 1002, 1007, 1009
PUSHER_PING = b'{"event": "pusher:ping", "data": {}}'


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([encode_frame(FIN | TEXT, PUSHER_PING, masked=False)], PROTOCOL_ERROR),
        ([encode_frame(FIN | PING, b"x", masked=False)], PROTOCOL_ERROR),
        ([encode_frame(FIN | CLOSE, masked=False)], PROTOCOL_ERROR),
        *[([encode_frame(FIN | bit | TEXT, PUSHER_PING)], PROTOCOL_ERROR) for bit in (RSV1, RSV2, RSV3)],
        *[([encode_frame(FIN | opcode, PUSHER_PING)], PROTOCOL_ERROR) for opcode in (3, 7, 11, 15)],
        ([encode_frame(PING, b"x")], PROTOCOL_ERROR),
        ([encode_frame(CLOSE, b"\x03\xe8")], PROTOCOL_ERROR),
        ([encode_frame(FIN | PING, b"x" * 126)], PROTOCOL_ERROR),
        ([encode_frame(FIN | CLOSE, b"x")], PROTOCOL_ERROR),
        ([encode_frame(FIN | CLOSE, struct.pack("!H", 999))], PROTOCOL_ERROR),
        ([encode_frame(FIN | CLOSE, struct.pack("!H", 1006))], PROTOCOL_ERROR),
        ([encode_frame(FIN | CLOSE, struct.pack("!H", 1000) + b"\xff")], INVALID_DATA),
        ([encode_frame(FIN | CONTINUATION, b"x")], PROTOCOL_ERROR),
        ([encode_frame(TEXT, b"{"), encode_frame(FIN | TEXT, PUSHER_PING)], PROTOCOL_ERROR),
        ([encode_frame(TEXT), encode_frame(FIN | TEXT, PUSHER_PING)], PROTOCOL_ERROR),
        ([encode_frame(FIN | TEXT, b'"\xff"')], INVALID_DATA),
        ([encode_frame(TEXT, b'"\xc3'), encode_frame(FIN | CONTINUATION, b'"')], INVALID_DATA),
        ([encode_frame(FIN | TEXT, length=limits.MAX_MESSAGE + 1)], TOO_BIG),
        ([encode_frame(TEXT, b" " * limits.MAX_MESSAGE), encode_frame(CONTINUATION, b" ")], TOO_BIG),
        ([encode_frame(FIN | TEXT, length=2**63 - 1)], TOO_BIG),
    ],
)
def test_invalid_frame_closes_the_connection(pusher: PusherProcess, frames: list[bytes], code: int) -> None:
    with connect_raw(pusher) as raw:
        raw.connection.sendall(b"".join(frames))
        first, payload = raw.receive()
        assert (first, int.from_bytes(payload[:2])) == (FIN | CLOSE, code)
        assert raw.stream.read() == b""


@pytest.mark.parametrize(
    "frames",
    [
        [encode_frame(FIN | TEXT, PUSHER_PING)],
        [encode_frame(FIN | BINARY, PUSHER_PING)],
        [
            encode_frame(TEXT, PUSHER_PING[:5]),
            encode_frame(CONTINUATION),
            encode_frame(FIN | CONTINUATION, PUSHER_PING[5:]),
        ],
        [encode_frame(TEXT), encode_frame(FIN | CONTINUATION, PUSHER_PING)],
        [encode_frame(FIN | TEXT, PUSHER_PING.ljust(limits.MAX_MESSAGE))],
        [encode_frame(FIN | TEXT, '{"event": "pusher:ping", "x": "é"}'.encode())],
    ],
)
@pytest.mark.parametrize("is_split", [False, True])
def test_valid_message_is_received(pusher: PusherProcess, frames: list[bytes], is_split: bool) -> None:
    data = b"".join(frames)
    with connect_raw(pusher) as raw:
        for part in (data[:3], data[3:]) if is_split else (data,):
            raw.connection.sendall(part)
        assert raw.receive() == (FIN | TEXT, b'{"event": "pusher:pong", "data": "{}"}')


def test_ping_within_a_fragmented_message_gets_a_pong(pusher: PusherProcess) -> None:
    with connect_raw(pusher) as raw:
        frames = [
            encode_frame(TEXT, PUSHER_PING[:5]),
            encode_frame(FIN | PING, b"payload"),
            encode_frame(FIN | PONG, b"unsolicited"),
        ]
        raw.connection.sendall(b"".join(frames))
        assert raw.receive() == (FIN | PONG, b"payload")
        raw.connection.sendall(encode_frame(FIN | CONTINUATION, PUSHER_PING[5:]))
        assert b"pusher:pong" in raw.receive()[1]


def test_close_frame_gets_a_close_frame_with_its_code(pusher: PusherProcess) -> None:
    with connect_raw(pusher) as raw:
        raw.connection.sendall(
            encode_frame(FIN | CLOSE, struct.pack("!H", 3456) + b"bye") + encode_frame(FIN | TEXT, PUSHER_PING)
        )
        assert raw.receive() == (FIN | CLOSE, struct.pack("!H", 3456) + b"bye")
        assert raw.stream.read() == b""


@pytest.mark.parametrize(
    ("replaced", "by", "status"),
    [
        ("Version: 13", "Version: 12", 400),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dG9vIHNob3J0", 400),
        ("Connection: Upgrade", "Connection: close", 426),
    ],
)
def test_invalid_handshake_is_rejected(pusher: PusherProcess, replaced: str, by: str, status: int) -> None:
    with closing(socket.create_connection(("127.0.0.1", pusher.port), timeout=10)) as connection:
        head = HANDSHAKE.format(key=pusher.key)
        assert replaced in head
        connection.sendall(head.replace(replaced, by).encode())
        assert connection.makefile("rb").readline().startswith(f"HTTP/1.1 {status} ".encode())
