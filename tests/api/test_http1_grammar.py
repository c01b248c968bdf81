"""Requests generated from the grammar of RFC 9112, as they are and with one byte changed, in any segments.

A reference parser, written from the RFC's ABNF apart from the API's code, decides what each stream of bytes means. h11
and llhttp, as clients, proxies and other servers use them, must not read what is accepted in another way.
PARLEY_HTTP1_EXAMPLES is the number of streams of each test, by default 150.
"""

import json
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

import h11
import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.api.support import Wire, altered, connected, responses, wait_until_received
from tests.support import Api, running

# The API with a response to every request that repeats it.
ECHO = """
from sanic import json
from api import app

create_app = app.create_app

def create_echo(*arguments):
    api = create_app(*arguments)

    @api.on_request
    async def echo(request):
        if request.path == "/healthz" or request.method == "NONE":  # of a malformed request
            return None
        if request.stream.request_body:
            await request.receive_body()
        return json({
            "method": request.method,
            "target": request.raw_url.decode("latin-1"),
            "version": request.version,
            "fields": [[name, value.encode(errors="surrogateescape").decode("latin-1")]
                       for name, value in request.headers.items()],
            "body": request.body.decode("latin-1"),
        })

    return api

app.create_app = create_echo
"""
examples = settings(max_examples=int(os.environ.get("PARLEY_HTTP1_EXAMPLES", "150")))


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
    """The bytes from here on are no request."""


class Outcome(NamedTuple):
    """The requests in a stream, how it ends, and what comes after them."""

    messages: list[Message]
    end: str
    rest: str = ""


def reference(stream: str) -> Outcome:
    """A stream ends complete, closed, incomplete or malformed."""
    messages: list[Message] = []
    while stream:
        found = re.match(HEAD, stream)
        if not found:
            return Outcome(messages, "malformed" if "\r\n\r\n" in stream.removeprefix("\r\n") else "incomplete")
        method, target, version, lines = found.groups()
        fields = [[name.lower(), value.strip(" \t")] for name, value in re.findall("(.+?):(.*)\r\n", lines)]
        try:
            body, stream = reference_body(version, fields, stream[found.end() :])
            target = reference_target(method, target)
            check_hosts(version, fields)
        except MalformedError:
            return Outcome(messages, "malformed")
        if body is None:
            return Outcome(messages, "incomplete")
        messages.append(Message(method, target, version, fields, body))
        options = re.split(r"[ \t]*,[ \t]*", ",".join(values(fields, "connection")).lower())
        if "close" in options or (version == "1.0" and "keep-alive" not in options):
            return Outcome(messages, "closed", stream)
    return Outcome(messages, "complete")


def values(fields: list[list[str]], wanted: str) -> list[str]:
    return [value for name, value in fields if name == wanted]


def reference_target(method: str, target: str) -> str:
    """The target in origin-form."""
    if method == "CONNECT" or (target == "*" and method != "OPTIONS"):
        raise MalformedError
    absolute = re.match(rf"[Hh][Tt][Tt][Pp][Ss]?://{AUTHORITY}", target)
    path = target[absolute.end() :] if absolute else target
    return path if path[:1] in {"/", "*"} else "/" + path


def check_hosts(version: str, fields: list[list[str]]) -> None:
    hosts = values(fields, "host")
    if len(hosts) > 1 or (version == "1.1" and not hosts) or not all(re.fullmatch(AUTHORITY, host) for host in hosts):
        raise MalformedError


def reference_body(version: str, fields: list[list[str]], rest: str) -> tuple[str | None, str]:
    """The body, None if it is incomplete, and what comes after it."""
    codings, lengths = values(fields, "transfer-encoding"), values(fields, "content-length")
    if codings:
        if [coding.lower() for coding in codings] != ["chunked"] or lengths or version == "1.0":
            raise MalformedError
        return reference_chunks(rest)
    if not lengths:
        return "", rest
    if len(lengths) > 1 or not re.fullmatch("[0-9]+", lengths[0]):
        raise MalformedError
    size = int(lengths[0])
    return (rest[:size], rest[size:]) if len(rest) >= size else (None, "")


def reference_chunks(rest: str) -> tuple[str | None, str]:
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


class Field(NamedTuple):
    """A field line, with the spaces before and after the value."""

    name: str
    value: str
    spaces: tuple[str, str]

    def __str__(self) -> str:
        return f"{self.name}:{self.spaces[0]}{self.value}{self.spaces[1]}\r\n"


def characters(pattern: str) -> str:
    """All that the pattern matches."""
    return "".join(character for character in map(chr, range(256)) if re.fullmatch(pattern, character))


def sample(*values: str) -> st.SearchStrategy[str]:
    return st.sampled_from(values)


def fields(names: st.SearchStrategy[str], contents: st.SearchStrategy[str]) -> st.SearchStrategy[Field]:
    return st.builds(Field, names, contents, st.sampled_from([(" ", ""), ("", ""), ("\t", " \t"), ("  ", "")]))


SMUGGLED = "POST /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
RESERVED = {"host", "content-length", "transfer-encoding", "connection", "expect"}
METHODS = sample("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
TOKENS = st.text(characters(TOKEN), min_size=1, max_size=8)
PATHS = st.text(characters(VCHAR), max_size=10).map("/".__add__)
NAMES = TOKENS.filter(lambda name: name.lower() not in RESERVED)
VALUES = st.text(characters(r"[\t\x20-\x7E\x80-\xFF]"), max_size=10).map(lambda value: value.strip(" \t"))
HOSTS = sample("parley.test", "parley.test:8000", "a_b.", "127.0.0.1:", "[::1]", "[2001:db8::1]:80")
TARGETS = st.tuples(PATHS) | st.tuples(sample("", "/", "?x", "#x") | PATHS, sample("http", "https", "HTTP"), HOSTS)
OTHER_FIELDS = st.lists(fields(NAMES, VALUES), max_size=3)
HOST_FIELDS = fields(sample("Host", "HOST", "host"), HOSTS)
CONNECTION_FIELDS = fields(sample("Connection", "cONNECTION"), sample("close", "keep-alive", "x, Keep-Alive", "x"))
CODING_FIELDS = fields(sample("Transfer-Encoding", "transfer-ENCODING"), sample("chunked", "Chunked"))
LENGTH_FIELDS = fields(sample("Content-Length", "CONTENT-length"), sample("", "0", "000"))
BODIES = st.binary(max_size=20).map(lambda data: data.decode("latin-1")) | st.just(SMUGGLED)
SIZES = sample("{:x}", "{:X}", "0{:x}", "000{:X}")
EXTENSIONS = sample("", "", ";a", ";a=b;c", " ;\ta\t= b", ';a="b; \\"\xff"')
CHUNKS = st.lists(st.tuples(BODIES.filter(bool), SIZES, EXTENSIONS), max_size=3)
LAST_CHUNKS = st.tuples(st.just(""), SIZES, EXTENSIONS)
DANGEROUS = sample(
    *'\r\n\0 \t:,;="\\x+-_05aA@/*\x0b\x0c\x1f\x7f\x80\x85\xa0\xff',
    *(character.encode().decode("latin-1") for character in "²٣５\N{KELVIN SIGN}"),
    "",
)


@st.composite
def messages(draw: st.DrawFn) -> tuple[str, Message]:
    """A request as it is sent, and what it means."""
    method: str = draw(METHODS | TOKENS.filter(lambda name: name not in {"HEAD", "NONE", "CONNECT"}))
    path, *authority = ("*",) if method == "OPTIONS" and draw(st.booleans()) else draw(TARGETS)
    target = "{1}://{2}{0}".format(path, *authority) if authority else path
    version = draw(sample("1.1", "1.1", "1.1", "1.0"))
    lines = [draw(HOST_FIELDS), *draw(OTHER_FIELDS), *draw(st.just([]) | st.tuples(CONNECTION_FIELDS))]
    body = sent = ""
    match draw(sample("none", "sized", "chunked" if version == "1.1" else "sized")):
        case "sized":
            body = sent = draw(BODIES)
            field = draw(LENGTH_FIELDS)
            lines.append(field._replace(value=f"{field.value}{len(body)}"))
        case "chunked":
            for data, size, extension in [*draw(CHUNKS), draw(LAST_CHUNKS)]:
                body += data
                sent += f"{size.format(len(data))}{extension}\r\n" + (f"{data}\r\n" if data else "")
            sent += "".join(map(str, draw(OTHER_FIELDS))) + "\r\n"
            lines.append(draw(CODING_FIELDS))
    lines = draw(st.permutations(lines))
    head = f"{method} {target} HTTP/{version}\r\n" + "".join(map(str, lines)) + "\r\n"
    origin_form = path if path[:1] in {"/", "*"} else f"/{path}"
    meant = Message(method, origin_form, version, [[line.name.lower(), line.value] for line in lines], body)
    return draw(sample("", "", "\r\n")) + head + sent, meant


@pytest.fixture(scope="module")
def echo(new_api: Callable[..., Api], shared_database: str) -> Iterator[Api]:
    with running(altered(new_api(shared_database, RATE_LIMIT_REQUESTS="1000000"), ECHO)) as api:
        yield api


@pytest.fixture(scope="module")
def other(echo: Api) -> Iterator[socket.socket]:
    """A second connection."""
    with connected(echo) as connection:
        yield connection


def converse(echo: Api, other: socket.socket, segments: list[bytes], *, closes: bool) -> list[Wire]:
    """The responses to these segments, until the connection is closed or nothing more comes."""
    received = b""
    with connected(echo) as connection:
        for segment in segments:
            connection.sendall(segment)
            wait_until_received(other)
        wait_until_received(other)  # by when there is a response to all that was received before
        connection.setblocking(closes)
        if closes:
            connection.settimeout(5)
        try:
            while piece := connection.recv(65_536):
                received += piece
        except BlockingIOError:
            pass
    return responses(received)


def check(echo: Api, other: socket.socket, stream: str, cuts: set[int]) -> list[Message]:
    """Checks that the API responds as the reference parses the stream, and returns the messages in that."""
    messages, end, rest = reference(stream)
    sent = stream.encode("latin-1")
    # What comes after the API has closed the connection is not received; before, it must not be a request.
    places = sorted({cut % (len(sent) - len(rest)) for cut in cuts if sent})
    segments = [sent[begin:end] for begin, end in zip([0, *places], [*places, len(sent)], strict=True)]
    answers = converse(echo, other, [s for s in segments if s], closes=end in {"closed", "malformed"})
    echoes, refusals = answers[: len(messages)], answers[len(messages) :]
    assert [Message(**json.loads(answer.text)) for answer in echoes] == messages
    assert [answer.status_code for answer in refusals] in ALLOWED[end]
    assert all(answer.headers["connection"] == "close" for answer in refusals)
    return messages


# An incomplete message is refused as soon as no rest could complete it, or if its body is declared too large.
ALLOWED: dict[str, list[list[int]]] = {
    "complete": [[]],
    "closed": [[]],
    "malformed": [[400]],
    "incomplete": [[], [400], [413]],
}
STREAMS = st.lists(messages(), min_size=1, max_size=2)
CUTS = st.sets(st.integers(0, 2000), max_size=3)


@examples
@given(sent=STREAMS, cuts=CUTS)
def test_what_the_grammar_allows_is_accepted_as_it_was_meant(
    echo: Api, other: socket.socket, sent: list[tuple[str, Message]], cuts: set[int]
) -> None:
    received = check(echo, other, "".join(text for text, _ in sent), cuts)
    assert received
    assert received == [message for _, message in sent][: len(received)]


@examples
@given(sent=STREAMS, cuts=CUTS, place=st.integers(0, 2000), removed=st.integers(0, 1), added=DANGEROUS)
def test_a_changed_byte_is_refused_or_accepted_as_the_grammar_decides(
    echo: Api,
    other: socket.socket,
    sent: list[tuple[str, Message]],
    cuts: set[int],
    place: int,
    removed: int,
    added: str,
) -> None:
    stream = "".join(text for text, _ in sent)
    place %= len(stream) + 1
    check(echo, other, stream[:place] + added + stream[place + removed :] + SMUGGLED, cuts)


def read_by_h11(stream: str) -> Message | None:
    """The first request in a stream as h11 reads it, or None where it refuses that."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(stream.encode("latin-1"))
    try:
        request = connection.next_event()
        if not isinstance(request, h11.Request):
            return None
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
    except h11.RemoteProtocolError:
        return None
    assert isinstance(event, h11.EndOfMessage)
    head = [part.decode("latin-1") for part in (request.method, request.target, request.http_version)]
    fields = [[name.decode(), value.decode("latin-1")] for name, value in request.headers]
    return Message(head[0], head[1], head[2], fields, body.decode("latin-1"))


def read_by_llhttp(stream: str) -> Message | None:
    """The first request in a stream as llhttp reads it, or None where it refuses that."""

    class Reader:
        def __init__(self) -> None:
            self.target, self.body, self.fields, self.is_complete = "", "", list[list[str]](), False

        def on_url(self, url: bytes) -> None:
            self.target += "" if self.is_complete else url.decode("latin-1")

        def on_header(self, name: bytes, value: bytes) -> None:
            if not self.is_complete:
                self.fields.append([name.decode().lower(), value.decode("latin-1").rstrip(" \t")])

        def on_body(self, data: bytes) -> None:
            self.body += "" if self.is_complete else data.decode("latin-1")

        def on_message_complete(self) -> None:
            if not self.is_complete:
                self.method, self.version = parser.get_method().decode(), parser.get_http_version()
            self.is_complete = True

    reader = Reader()
    parser = httptools.HttpRequestParser(reader)
    with suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):
        parser.feed_data(stream.encode("latin-1"))
    if not reader.is_complete:
        return None
    return Message(reader.method, reader.target, reader.version, reader.fields, reader.body)


@pytest.mark.parametrize("read", [read_by_h11, read_by_llhttp])
@examples
@given(sent=STREAMS, place=st.integers(0, 2000), removed=st.integers(0, 1), added=DANGEROUS)
def test_maintained_parsers_read_what_is_accepted_in_the_same_way(
    read: Callable[[str], Message | None],
    sent: list[tuple[str, Message]],
    place: int,
    removed: int,
    added: str,
) -> None:
    stream = "".join(text for text, _ in sent)
    place %= len(stream) + 1
    for streamed in (stream, stream[:place] + added + stream[place + removed :] + SMUGGLED):
        accepted, found = reference(streamed).messages, read(streamed)
        if not accepted or not found:
            continue
        # llhttp has the trailers among the fields, and h11 writes the transfer coding in lower case.
        own_fields = found.fields[: len(accepted[0].fields)]
        assert str(own_fields).lower() == str(accepted[0].fields).lower()
        assert reference_target(found.method, found.target) == accepted[0].target
        assert found._replace(target="", fields=[]) == accepted[0]._replace(target="", fields=[])
