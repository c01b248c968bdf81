"""The API parses generated requests, as they are and with one byte changed, exactly as the reference parser does.

Each stream arrives in any segments. See tests/api/http/http1_messages.py for the number of streams.
"""

import json
import socket
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.http.http1_messages import CUTS, DANGEROUS, SMUGGLED, STREAMS, examples
from tests.api.http.http1_reference import Message, reference
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


# An incomplete message is refused as soon as no rest could complete it, or if its body is declared too large.
ALLOWED: dict[str, list[list[int]]] = {
    "complete": [[]],
    "closed": [[]],
    "malformed": [[400]],
    "incomplete": [[], [400], [413]],
}


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
