"""Hypothesis strategies for HTTP/1.x requests by the grammar of RFC 9112, and for bytes that are likely to break them.

PARLEY_HTTP1_EXAMPLES sets the number of streams of each test; the default is 150.
"""

import os
import re
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st

from tests.api.http.http1_reference import TOKEN, VCHAR, Message

examples = settings(max_examples=int(os.environ.get("PARLEY_HTTP1_EXAMPLES", "150")))


class Field(NamedTuple):
    """A field line, with the spaces before and after the value."""

    name: str
    value: str
    spaces: tuple[str, str]

    def __str__(self) -> str:
        return f"{self.name}:{self.spaces[0]}{self.value}{self.spaces[1]}\r\n"


def characters(pattern: str) -> str:
    """Return all characters that the pattern matches."""
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


STREAMS = st.lists(messages(), min_size=1, max_size=2)
CUTS = st.sets(st.integers(0, 2000), max_size=3)
