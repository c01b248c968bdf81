"""h11 and llhttp, which clients, proxies and servers use, parse each accepted request as the reference parser does.

A request that two parsers parse differently can hide another request from one of them.
"""

from collections.abc import Callable
from contextlib import suppress

import h11
import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.http.http1_messages import DANGEROUS, SMUGGLED, STREAMS, examples
from tests.api.http.http1_reference import Message, parse_stream, parse_target


def parse_with_h11(stream: str) -> Message | None:
    """Return the first request in a stream as h11 parses it, or None if h11 rejects it or waits for more."""
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
    if not isinstance(event, h11.EndOfMessage):
        return None
    head = [part.decode("latin-1") for part in (request.method, request.target, request.http_version)]
    fields = [[name.decode(), value.decode("latin-1")] for name, value in request.headers]
    return Message(head[0], head[1], head[2], fields, body.decode("latin-1"))


def parse_with_llhttp(stream: str) -> Message | None:
    """Return the first request in a stream as llhttp parses it, or None if llhttp rejects it."""

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


@pytest.mark.parametrize("parse", [parse_with_h11, parse_with_llhttp])
@examples
@given(sent=STREAMS, place=st.integers(0, 2000), removed=st.integers(0, 1), added=DANGEROUS)
def test_other_parsers_agree_on_accepted_requests(
    parse: Callable[[str], Message | None],
    sent: list[tuple[str, Message]],
    place: int,
    removed: int,
    added: str,
) -> None:
    stream = "".join(text for text, _ in sent)
    place %= len(stream) + 1
    for streamed in (stream, stream[:place] + added + stream[place + removed :] + SMUGGLED):
        accepted, found = parse_stream(streamed).messages, parse(streamed)
        if not accepted or not found:
            continue
        # llhttp returns trailers among the fields, and h11 converts the transfer coding to lower case.
        own_fields = found.fields[: len(accepted[0].fields)]
        assert str(own_fields).lower() == str(accepted[0].fields).lower()
        assert parse_target(found.method, found.target) == accepted[0].target
        assert found._replace(target="", fields=[]) == accepted[0]._replace(target="", fields=[])
