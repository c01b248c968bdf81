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
from tests.api.http.http1_reference import Message, parse_stream
from tests.api.support import RawResponse, open_connection, parse_responses, patch_api, wait_until_received
from tests.api_process import Api, running

# The API, with a response to every request that echoes the request.
ECHO = """
from sanic import json
from api import server

create_app = server.create_app

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

server.create_app = create_echo
"""


@pytest.fixture(scope="module")
def echo_api(new_api: Callable[..., Api], shared_database: str) -> Iterator[Api]:
    with running(patch_api(new_api(shared_database, RATE_LIMIT_REQUESTS="1000000"), ECHO)) as api:
        yield api


@pytest.fixture(scope="module")
def second_connection(echo_api: Api) -> Iterator[socket.socket]:
    """A second connection."""
    with open_connection(echo_api) as connection:
        yield connection


def send_stream(
    echo_api: Api, second_connection: socket.socket, segments: list[bytes], *, closes: bool
) -> list[RawResponse]:
    """Send these segments; return the responses until the connection is closed or no more data comes."""
    received = b""
    with open_connection(echo_api) as connection:
        for segment in segments:
            connection.sendall(segment)
            wait_until_received(second_connection)
        wait_until_received(second_connection)  # after the responses to everything that was received before
        connection.setblocking(closes)
        if closes:
            connection.settimeout(5)
        try:
            while piece := connection.recv(65_536):
                received += piece
        except BlockingIOError:
            pass
    return parse_responses(received)


# An incomplete message is rejected as soon as no continuation could complete it, or if it declares too large a body.
ALLOWED: dict[str, list[list[int]]] = {
    "complete": [[]],
    "closed": [[]],
    "malformed": [[400]],
    "incomplete": [[], [400], [413]],
}


def check(echo_api: Api, second_connection: socket.socket, stream: str, cuts: set[int]) -> list[Message]:
    """Check that the API and the reference parser agree on a stream; return the requests in it."""
    messages, end, rest = parse_stream(stream)
    sent = stream.encode("latin-1")
    # Bytes after the last request arrive before or after the API closes the connection; they must not be executed.
    positions = sorted({cut % (len(sent) - len(rest)) for cut in cuts if sent})
    segments = [sent[begin:end] for begin, end in zip([0, *positions], [*positions, len(sent)], strict=True)]
    responses = send_stream(
        echo_api, second_connection, [s for s in segments if s], closes=end in {"closed", "malformed"}
    )
    echoes, refusals = responses[: len(messages)], responses[len(messages) :]
    assert [Message(**json.loads(response.text)) for response in echoes] == messages
    assert [response.status_code for response in refusals] in ALLOWED[end]
    assert all(response.headers["connection"] == "close" for response in refusals)
    return messages


@examples
@given(sent=STREAMS, cuts=CUTS)
def test_grammatical_requests_are_parsed_as_generated(
    echo_api: Api, second_connection: socket.socket, sent: list[tuple[str, Message]], cuts: set[int]
) -> None:
    received = check(echo_api, second_connection, "".join(text for text, _ in sent), cuts)
    assert received
    assert received == [message for _, message in sent][: len(received)]


@examples
@given(sent=STREAMS, cuts=CUTS, place=st.integers(0, 2000), removed=st.integers(0, 1), added=DANGEROUS)
def test_requests_with_one_changed_byte_are_parsed_by_the_grammar(
    echo_api: Api,
    second_connection: socket.socket,
    sent: list[tuple[str, Message]],
    cuts: set[int],
    place: int,
    removed: int,
    added: str,
) -> None:
    stream = "".join(text for text, _ in sent)
    place %= len(stream) + 1
    check(echo_api, second_connection, stream[:place] + added + stream[place + removed :] + SMUGGLED, cuts)
