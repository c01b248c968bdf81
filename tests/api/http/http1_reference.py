"""A reference parser of HTTP/1.x requests, written from the ABNF of RFC 9112 independently of the API's code.

The parser decides what each generated stream of bytes means.
"""

import re
from typing import NamedTuple


class Message(NamedTuple):
    """A request; texts have a character for each byte."""

    method: str
    target: str
    version: str
    fields: list[list[str]]
    body: str


# RFC 9110, section 5.6, and RFC 5234, appendix B.1. Possessive quantifiers are not used: the ABNF has none.
TOKEN = r"[!\#$%&'*+\-.^_`|~0-9A-Za-z]+"
OWS = r"[\x20\t]*"
VCHAR = r"[\x21-\x7E]"
FIELD_VCHAR = r"[\x21-\x7E\x80-\xFF]"
FIELD_CONTENT = rf"{FIELD_VCHAR}(?:[\x20\t\x21-\x7E\x80-\xFF]*{FIELD_VCHAR})?"
FIELD_LINE = rf"(?:{TOKEN}:{OWS}(?:{FIELD_CONTENT})?{OWS}\r\n)"
QUOTED_STRING = r'"(?:[\t\x20\x21\x23-\x5B\x5D-\x7E\x80-\xFF]|\\[\t\x20\x21-\x7E\x80-\xFF])*"'
# RFC 3986, section 3.2.2, without sub-delims and IPvFuture.
H16 = "[0-9A-Fa-f]{1,4}"
OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9][0-9]|[0-9])"
LS32 = rf"(?:{H16}:{H16}|{OCTET}(?:\.{OCTET}){{3}})"
IPV6 = "|".join(
    [
        rf"(?:{H16}:){{6}}{LS32}",
        rf"::(?:{H16}:){{5}}{LS32}",
        *(rf"(?:(?:{H16}:){{0,{n}}}{H16})?::(?:{H16}:){{{4 - n}}}{LS32}" for n in range(5)),
        rf"(?:(?:{H16}:){{0,5}}{H16})?::{H16}",
        rf"(?:(?:{H16}:){{0,6}}{H16})?::",
    ]
)
REG_NAME = r"(?:[A-Za-z0-9\-._~]|%[0-9A-Fa-f][0-9A-Fa-f])+"
AUTHORITY = rf"(?:{REG_NAME}|\[(?:{IPV6})\])(?::(?:[0-5]?[0-9]{{0,4}}))?"
# RFC 9112, sections 2 to 7; a target may have every VCHAR, and one empty line may come first.
REQUEST_TARGET = rf"(?:/{VCHAR}*|[Hh][Tt][Tt][Pp][Ss]?://{AUTHORITY}(?:[/?\#]{VCHAR}*)?|\*)"
HEAD = rf"(?:\r\n)?({TOKEN})\x20({REQUEST_TARGET})\x20HTTP/(1\.[01])\r\n({FIELD_LINE}*)\r\n"
CHUNK_EXT = rf"(?:{OWS};{OWS}{TOKEN}(?:{OWS}={OWS}(?:{TOKEN}|{QUOTED_STRING}))?)*"
CHUNK_LINE = rf"([0-9A-Fa-f]+){CHUNK_EXT}\r\n"
TRAILERS = rf"{FIELD_LINE}*\r\n"


class MalformedError(Exception):
    """The bytes from here on are not a request."""


class Outcome(NamedTuple):
    """The requests in a stream, how the stream ends, and the bytes after them."""

    messages: list[Message]
    end: str
    rest: str = ""


def parse_stream(stream: str) -> Outcome:
    """Parse a stream, whose end is `complete`, `closed`, `incomplete` or `malformed`."""
    messages: list[Message] = []
    while stream:
        found = re.match(HEAD, stream)
        if not found:
            return Outcome(messages, "malformed" if "\r\n\r\n" in stream.removeprefix("\r\n") else "incomplete")
        method, target, version, lines = found.groups()
        fields = [[name.lower(), value.strip(" \t")] for name, value in re.findall("(.+?):(.*)\r\n", lines)]
        try:
            body, stream = parse_body(version, fields, stream[found.end() :])
            target = parse_target(method, target)
            check_hosts(version, fields)
        except MalformedError:
            return Outcome(messages, "malformed")
        if body is None:
            return Outcome(messages, "incomplete")
        messages.append(Message(method, target, version, fields, body))
        options = re.split(r"[ \t]*,[ \t]*", ",".join(get_values(fields, "connection")).lower())
        if "close" in options or (version == "1.0" and "keep-alive" not in options):
            return Outcome(messages, "closed", stream)
    return Outcome(messages, "complete")


def get_values(fields: list[list[str]], searched: str) -> list[str]:
    return [value for name, value in fields if name == searched]


def parse_target(method: str, target: str) -> str:
    """Return the target in origin-form."""
    if method == "CONNECT" or (target == "*" and method != "OPTIONS"):
        raise MalformedError
    absolute = re.match(rf"[Hh][Tt][Tt][Pp][Ss]?://{AUTHORITY}", target)
    path = target[absolute.end() :] if absolute else target
    return path if path[:1] in {"/", "*"} else "/" + path


def check_hosts(version: str, fields: list[list[str]]) -> None:
    hosts = get_values(fields, "host")
    if len(hosts) > 1 or (version == "1.1" and not hosts) or not all(re.fullmatch(AUTHORITY, host) for host in hosts):
        raise MalformedError


def parse_body(version: str, fields: list[list[str]], rest: str) -> tuple[str | None, str]:
    """Return the body, or None if it is incomplete, and the bytes after it."""
    codings, lengths = get_values(fields, "transfer-encoding"), get_values(fields, "content-length")
    if codings:
        if [coding.lower() for coding in codings] != ["chunked"] or lengths or version == "1.0":
            raise MalformedError
        return parse_chunks(rest)
    if not lengths:
        return "", rest
    if len(lengths) > 1 or not re.fullmatch("[0-9]+", lengths[0]):
        raise MalformedError
    size = int(lengths[0])
    return (rest[:size], rest[size:]) if len(rest) >= size else (None, "")


def parse_chunks(rest: str) -> tuple[str | None, str]:
    body = ""
    while "\r\n" in rest:
        line = re.match(CHUNK_LINE, rest)
        if not line:
            raise MalformedError
        size, rest = int(line[1], 16), rest[line.end() :]
        if size == 0:
            trailers = re.match(TRAILERS, rest)
            if not trailers and (rest.startswith("\r\n") or "\r\n\r\n" in rest):
                raise MalformedError
            return (body, rest[trailers.end() :]) if trailers else (None, "")
        body += rest[:size]
        if len(rest) < size + 2:
            break
        if rest[size : size + 2] != "\r\n":
            raise MalformedError
        rest = rest[size + 2 :]
    return None, ""
