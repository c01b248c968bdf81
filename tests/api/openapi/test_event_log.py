"""The event log over HTTP: the header with the position in the log, expired cursors, and concurrent writes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.api.route_examples import RouteExamples, new_route_examples
from tests.api.support import expect_error, unlimited_client
from tests.api_process import Api


@pytest.fixture
def route_examples(api: Api) -> Iterator[RouteExamples]:
    with new_route_examples(api) as route_examples:
        yield route_examples


@pytest.mark.parametrize("path", ["", "/members", "/messages", "/messages/<message_id>", "/events?after=0"])
def test_response_has_the_seq_of_the_last_event_that_it_reflects(route_examples: RouteExamples, path: str) -> None:
    chat = route_examples.fill("/api/chats/<chat_id>")
    for seq in ("3", "4"):
        for send in (route_examples.owner.get, route_examples.member.head):
            response = send(f"{chat}{route_examples.fill(path)}")
            assert (response.status_code, response.headers["x-chat-seq"]) == (200, seq)
        route_examples.owner.put(chat, json={"title": "Other plans"})
    not_found = route_examples.stranger.get(f"{chat}{route_examples.fill(path)}")
    assert (not_found.status_code, not_found.headers.get("x-chat-seq")) == (404, None)


def test_position_that_the_log_does_not_have_is_rejected(route_examples: RouteExamples) -> None:
    events = route_examples.fill("/api/chats/<chat_id>/events")
    assert expect_error(route_examples.owner.get(events, params={"after": 4}), 410)["message"]
    assert route_examples.owner.get(events, params={"after": 3}).json() == {"events": [], "next": 3, "hasMore": False}
    assert expect_error(route_examples.owner.get("/api/events", params={"after": "x"}), 400)["details"] == {
        "fields": {"after": "must be a cursor from an earlier response"}
    }


def test_reader_of_the_log_misses_and_repeats_nothing_during_writes(route_examples: RouteExamples, api: Api) -> None:
    chat = route_examples.fill("/api/chats/<chat_id>")
    start = route_examples.member.get("/api/events").json()["next"]

    def write(number: int) -> None:
        with unlimited_client(api, route_examples.ids["owner"]) as client:
            for n in range(15):
                sent = client.post(f"{chat}/messages", json={"content": f"{number} {n}"}).json()
                if n % 3 == 0:
                    assert client.delete(f"{chat}/messages/{sent['id']}").status_code == 204

    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write, number) for number in range(4)]
        by_seq, by_cursor = [], []  # type: list[Any], list[Any]
        seq, cursor = 3, start
        while True:
            is_finished = all(writer.done() for writer in writing)
            seq = read_log(route_examples.member, f"{chat}/events", seq, by_seq)
            cursor = read_log(route_examples.member, "/api/events", cursor, by_cursor)
            if is_finished:
                break
    assert [writer.result() for writer in writing] == [None] * 4
    assert [event["seq"] for event in by_seq] == list(range(4, 4 + 4 * (15 + 5)))
    assert [(event["seq"], event["event"]) for event in by_cursor] == [(e["seq"], e["event"]) for e in by_seq]
    left = {
        message["content"] for message in route_examples.member.get(f"{chat}/messages?limit=100").json()["messages"]
    }
    assert left == {"hello"} | {f"{number} {n}" for number in range(4) for n in range(15) if n % 3}


def read_log(client: httpx.Client, path: str, after: Any, events: list[Any]) -> Any:
    """Append all events after a position; return the new position."""
    has_more = True
    while has_more:
        body = client.get(path, params={"after": after, "limit": 7}).raise_for_status().json()
        events += body["events"]
        after, has_more = body["next"], body["hasMore"]
    return after
