"""Parser of HTTP/1.1 requests by the grammar of RFC 9112: the request line, the header fields and the body.

Only this module decides where a message ends. It rejects all messages that the grammar does not allow: two recipients
that parse a malformed message differently disagree on where the next request begins, which allows request smuggling.

Where the RFC leaves a choice, only what clients send is accepted: one empty line before a request, and any visible
ASCII in a target, since browsers leave characters such as `|` unescaped. CONNECT, minor versions above 1, transfer
codings other than `chunked`, a repeated Content-Length, and a Host that is empty or has sub-delims are rejected.
"""

import re
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

from sanic.compat import Header
from sanic.exceptions import BadRequest, PayloadTooLarge

MAX_METHOD = 32  # bytes
MAX_TARGET = 65_535  # bytes; Sanic's URL parser counts in 16 bits
MAX_FIELDS = 100
MAX_PORT = 65_535
MAX_CHUNK_LINE = 256  # bytes of a chunk's size and extensions
MAX_EXTENSIONS = 16 * 1024  # bytes of all chunk extensions in a body
MAX_TRAILERS = 4096  # bytes of the trailer section of a chunked body

# Possessive quantifiers such as `*+` never backtrack into what they matched, so that no input takes quadratic time.
TCHAR = r"[!#$%&'*+.^_`|~0-9A-Za-z-]"  # a character of a token, by the grammar's name
VALUE_CHAR = r"[\t -~\x80-\xff]"
FIELD_LINE = rf"{TCHAR}++:{VALUE_CHAR}*+\r\n"
QUOTED_STRING = rf'"(?:[\t !#-\[\]-~\x80-\xff]++|\\{VALUE_CHAR})*+"'
EXTENSION = rf"[\t ]*+;[\t ]*+{TCHAR}++(?:[\t ]*+=[\t ]*+(?:{TCHAR}++|{QUOTED_STRING}))?+"
CHUNK_LINE = rf"([0-9A-Fa-f]++)((?:{EXTENSION})*+)\r\n"
CHUNK_LINE_PREFIX = rf"(?:[0-9A-Fa-f]++(?:[\t ;]{VALUE_CHAR}*+)?+\r?+)?+"


def compile_bytes(pattern: str) -> re.Pattern[bytes]:
    """Compile a pattern that is matched against bytes."""
    return re.compile(pattern.encode())


REQUEST_LINE = re.compile(rf"({TCHAR}{{1,{MAX_METHOD}}}+) ([!-~]++) HTTP/(1\.[01])")
FIELD = re.compile(rf"^({TCHAR}++):[\t ]*+([^\r]*+)\r\n", re.MULTILINE)
CONTROLS = bytes({*range(0x20), 0x7F} - {*b"\t"})
# Any part of a message head: no control characters but tabs and CRLF, and no CR or LF on its own.
HEAD_PART = compile_bytes(rf"(?:(?<=\r)\n)?+(?:{VALUE_CHAR}++|\r\n)*+\r?+")
ABSOLUTE_FORM = re.compile("https?://([^/?#]*+)", re.IGNORECASE | re.ASCII)
HOST = re.compile(r"(?:(?:[A-Za-z0-9._~-]++|%[0-9A-Fa-f]{2})++|\[([0-9A-Fa-f:.]++)\])(?::([0-9]{0,5}+))?")
CHUNKED = re.compile("chunked", re.IGNORECASE | re.ASCII)
CONTINUE = re.compile("100-continue", re.IGNORECASE | re.ASCII)
DIGITS = re.compile("[0-9]+")


class MalformedRequestError(BadRequest):
    """A request that RFC 9112 does not allow, or that this server does not support; the message names the rule."""


def parse_request_line(line: bytes) -> tuple[str, str, str]:
    """Parse a request line, without its CRLF, into the method, the target and the version, `1.0` or `1.1`.

    The target is returned in origin-form, or is `*`. Raises MalformedRequestError, PayloadTooLarge.
    """
    found = REQUEST_LINE.fullmatch(line.decode("latin-1"))
    if found is None:
        raise MalformedRequestError("The request line must be a method, a target and HTTP/1.1, separated by one space.")
    method, target, version = found.groups()
    if len(target) > MAX_TARGET:
        raise PayloadTooLarge
    path = to_origin_form(target)
    if method == "CONNECT" or (path == "*" and method != "OPTIONS"):
        raise MalformedRequestError("The request target must be a path or an http URL; CONNECT is not supported.")
    return method, path, version


def to_origin_form(target: str) -> str:
    """Return the path and query of a target, or `*`. Raises MalformedRequestError."""
    if target.startswith("/") or target == "*":
        return target
    url = ABSOLUTE_FORM.match(target)
    if url is None or not is_host(url[1]):
        raise MalformedRequestError(
            "The request target must be a path, or an http URL with a host and no user information."
        )
    path = target[url.end() :]
    return path if path.startswith("/") else f"/{path}"


def is_host(value: str) -> bool:
    """Return whether the value is a name or an IP address, IPv6 in brackets, with an optional port."""
    found = HOST.fullmatch(value)
    if found is None:
        return False
    address, port = found.groups()
    if port and int(port) > MAX_PORT:
        return False
    if address:
        try:
            IPv6Address(address)
        except AddressValueError:
            return False
    return True


def parse_fields(lines: bytes) -> Header:
    """Parse field lines, each with its CRLF. Raises MalformedRequestError, PayloadTooLarge."""
    controls = len(lines) - len(lines.translate(None, CONTROLS))
    if controls > 2 * MAX_FIELDS:
        raise PayloadTooLarge
    fields = FIELD.findall(lines.decode(errors="surrogateescape"))
    # Each match ends with CRLF. If there are no other control characters, nothing is between the matches.
    if controls != 2 * len(fields):
        raise MalformedRequestError(
            "Each header must be one line: a name, a colon, and a value without control characters."
        )
    return Header([(name.lower(), value.rstrip("\t ")) for name, value in fields])


def check_host(version: str, headers: Header) -> None:
    """Raise MalformedRequestError unless there is one valid Host, which only HTTP/1.0 may omit."""
    hosts = headers.getall("host", [])
    if (version == "1.1" or hosts) and not (len(hosts) == 1 and is_host(hosts[0])):
        raise MalformedRequestError(
            "The request must have one Host header: a name or IP address, and an optional port."
        )


def is_persistent(version: str, headers: Header) -> bool:
    """Return whether the connection persists after this request, unless the server closes it."""
    options = ",".join(headers.getall("connection", [])).lower()
    if version == "1.1" and "close" not in options:
        return True
    names = {name.strip("\t ") for name in options.split(",")}
    return "close" not in names and (version == "1.1" or "keep-alive" in names)


def is_continue_expected(version: str, headers: Header) -> bool:
    """Return whether the client waits for 100 (Continue) before it sends the body. Raises MalformedRequestError."""
    expectations = headers.getall("expect", [])
    if not all(map(CONTINUE.fullmatch, expectations)):
        raise MalformedRequestError("The Expect header must be 100-continue.")
    return bool(expectations) and version == "1.1"  # RFC 9110, section 10.1.1: ignored in HTTP/1.0


class ContentLengthDecoder:
    """Decoder of a body whose size Content-Length declares."""

    def __init__(self, size: int) -> None:
        self.is_complete = not size
        self._size = self._remaining = size  # bytes

    def decode(self, buffer: bytearray, max_size: float) -> bytes:
        """Remove the body's bytes from the front of the buffer and return them. Raises PayloadTooLarge."""
        if self._size > max_size:
            raise PayloadTooLarge
        data = bytes(buffer[: self._remaining])
        del buffer[: len(data)]
        self._remaining -= len(data)
        self.is_complete = not self._remaining
        return data


class Element(NamedTuple):
    """A part of the chunked transfer coding that is parsed as a whole."""

    pattern: re.Pattern[bytes]
    prefix: re.Pattern[bytes]  # matches every prefix of what `pattern` matches
    max_bytes: int

    def match(self, buffer: bytearray, position: int) -> re.Match[bytes] | None:
        """Match the element at a position; return None while it is incomplete. Raises MalformedRequestError."""
        found = self.pattern.match(buffer, position)
        end = found.end() if found else len(buffer)
        if end - position > self.max_bytes or not (found or self.prefix.fullmatch(buffer, position)):
            raise MalformedRequestError(
                "The body must be in the chunked transfer coding, as Transfer-Encoding declares."
            )
        return found


FIRST_LINE = Element(compile_bytes(CHUNK_LINE), compile_bytes(CHUNK_LINE_PREFIX), MAX_CHUNK_LINE + 2)
NEXT_LINE = Element(
    compile_bytes(rf"\r\n{CHUNK_LINE}"), compile_bytes(rf"(?:\r(?:\n{CHUNK_LINE_PREFIX})?+)?+"), MAX_CHUNK_LINE + 4
)
TRAILERS = Element(
    compile_bytes(rf"(?:{FIELD_LINE})*+\r\n"),
    compile_bytes(rf"(?:{FIELD_LINE})*+(?:{TCHAR}++(?::{VALUE_CHAR}*+)?+)?+\r?+"),
    MAX_TRAILERS + 2,
)


class ChunkedDecoder:
    """Decoder of a body in the chunked transfer coding; chunk extensions and trailers are discarded."""

    def __init__(self) -> None:
        self.is_complete = False
        self._size = 0  # bytes of all chunks so far, with the current one
        self._remaining = 0  # bytes of the current chunk that have not been decoded
        self._extensions = 0  # bytes
        self._next = FIRST_LINE

    def decode(self, buffer: bytearray, max_size: float) -> bytes:
        """Remove the part of the body that has arrived from the front of the buffer, and return its data.

        Raises MalformedRequestError, PayloadTooLarge.
        """
        pieces: list[bytearray] = []
        position = 0
        while not self.is_complete:
            if self._remaining:
                piece = buffer[position : position + self._remaining]
                pieces.append(piece)
                position += len(piece)
                self._remaining -= len(piece)
                if self._remaining:
                    break
            found = self._next.match(buffer, position)
            if found is None:
                break
            position = found.end()
            if self._next is TRAILERS:
                self.is_complete = True
            else:
                self._start_chunk(int(found[1], 16), len(found[2]), max_size)
        del buffer[:position]
        return b"".join(pieces)

    def _start_chunk(self, size: int, extensions: int, max_size: float) -> None:
        self._remaining = size
        self._next = NEXT_LINE if size else TRAILERS
        self._size += size
        self._extensions += extensions
        if self._size > max_size:
            raise PayloadTooLarge
        if self._extensions > MAX_EXTENSIONS:
            raise MalformedRequestError(f"Chunk extensions must have at most {MAX_EXTENSIONS} bytes in total.")


BodyDecoder = ContentLengthDecoder | ChunkedDecoder


def create_body_decoder(version: str, headers: Header) -> BodyDecoder | None:
    """Return a decoder of the declared body, or None for an empty one. Raises MalformedRequestError."""
    lengths = headers.getall("content-length", [])
    if "transfer-encoding" in headers:
        codings = headers.getall("transfer-encoding")
        if lengths or version == "1.0" or len(codings) > 1 or not CHUNKED.fullmatch(codings[0]):
            raise MalformedRequestError(
                "Transfer-Encoding must be chunked, without Content-Length, and needs HTTP/1.1."
            )
        return ChunkedDecoder()
    if not lengths:
        return None
    if len(lengths) > 1 or not DIGITS.fullmatch(lengths[0]):
        raise MalformedRequestError("Content-Length must be one decimal number.")
    size = int(lengths[0].lstrip("0")[:20] or "0")  # 20 digits exceed every limit; more would only take time
    return ContentLengthDecoder(size) if size else None
