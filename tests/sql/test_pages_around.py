"""The page around a message: what it contains, and its links to the adjacent pages."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dev.postgres import Postgres
from tests.database import NO_SUCH_ID, Connection, call, connect_rolled_back, expect_error, new_chat
from tests.sql.paging import response_links
from tests.sql.preconditions import call_with_preconditions
from tests.tokens import new_user

COUNT = 13


@dataclass(repr=False)
class Chat:
    """A chat with COUNT messages, and the messages, newest first: every third is code."""

    connection: Connection
    user: str
    id: str
    messages: list[dict[str, Any]]

    def list_messages(self, **query: str) -> Any:
        return call(self.connection, self.user, "list_messages", self.id, **query)


@pytest.fixture(scope="module")
def chat(postgres: Postgres, shared_database: str) -> Iterator[Chat]:
    with connect_rolled_back(postgres.url(shared_database)) as connection:
        user = new_user()
        chat = new_chat(connection, user)
        for n in range(COUNT):
            body = {"content": f"message {n}", "type": "text" if n % 3 else "code"}
            call(connection, user, "send_message", chat, body)
        messages = call(connection, user, "list_messages", chat)["messages"]
        assert len(messages) == COUNT
        yield Chat(connection, user, chat, messages)


def expected_page(messages: list[Any], id_: str, limit: int) -> tuple[list[Any], bool, bool]:
    """Return the page around a message, if there are newer messages than the page's, and if there are older ones."""
    newer = len(list(takewhile(lambda message: message["id"] > id_, messages)))
    start = max(0, min(newer - (limit - 1) // 2, len(messages) - limit))
    page = messages[start : start + limit]
    return page, start > 0, start + limit < len(messages)


@given(place=st.integers(0, COUNT - 1), limit=st.integers(1, COUNT + 2), type_=st.sampled_from(["text", "code", None]))
def test_page_has_the_message_in_its_middle(chat: Chat, place: int, limit: int, type_: str | None) -> None:
    id_ = chat.messages[place]["id"]
    matching = [message for message in chat.messages if type_ in (None, message["type"])]
    page, has_newer, has_older = expected_page(matching, id_, limit)
    filters = {"type": type_} if type_ else {}
    response = chat.list_messages(around=id_, limit=str(limit), **filters)
    if type_ in (None, chat.messages[place]["type"]):
        assert response["messages"] == page
        links: dict[str, dict[str, str]] = {"first": {}}
        links |= {"next": {"before": page[-1]["id"]}} if has_older else {}
        links |= {"prev": {"after": page[0]["id"]}} if has_newer else {}
        assert response_links(chat.connection) == links
    else:  # the messages around its place
        start = matching.index(response["messages"][0]) if response["messages"] else 0
        assert response["messages"] == matching[start:][: len(response["messages"])]
        assert min(limit - 1, len(matching)) <= len(response["messages"]) <= limit
    assert (response["total"], response["page"], response["limit"]) == (len(matching), None, limit)


def test_default_limit_is_that_of_other_pages(chat: Chat) -> None:
    response = chat.list_messages(around=chat.messages[5]["id"])
    assert (response["messages"], response["limit"]) == (chat.messages, 50)


def test_links_lead_to_all_other_messages(chat: Chat) -> None:
    middle = chat.list_messages(around=chat.messages[6]["id"], limit="3")["messages"]
    assert middle == chat.messages[5:8]
    links = response_links(chat.connection)
    older = chat.list_messages(limit="20", **links["next"])["messages"]
    newer = chat.list_messages(limit="20", **links["prev"])["messages"]
    assert newer + middle + older == chat.messages


def test_dates_apply_to_all_messages_of_the_page(chat: Chat) -> None:
    id_ = chat.messages[6]["id"]
    bounds = {"start_date": chat.messages[8]["createdAt"], "end_date": chat.messages[4]["createdAt"]}
    matching = [m for m in chat.messages if bounds["start_date"] <= m["createdAt"] <= bounds["end_date"]]
    response = chat.list_messages(around=id_, **bounds)
    assert (response["messages"], response["total"]) == (matching, len(matching))
    assert response_links(chat.connection).keys() == {"first"}
    response = chat.list_messages(around=id_, end_date="2020-01-01")
    assert (response["messages"], response["total"]) == ([], 0)


def test_page_around_a_message_can_include_users(chat: Chat) -> None:
    response = chat.list_messages(around=chat.messages[6]["id"], limit="1", include="users,etag")
    assert [user["id"] for user in response["users"]] == [chat.user]
    assert [message["id"] for message in response["messages"]] == [chat.messages[6]["id"]]
    assert response["messages"][0]["etag"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page", "1"), ("before", NO_SUCH_ID), ("after", NO_SUCH_ID), ("search", "message"), ("sort", "newest"),
        ("sort", "relevance"), ("page", "x"),
    ],
)  # fmt: skip
def test_position_search_and_order_are_excluded(chat: Chat, name: str, value: str) -> None:
    with expect_error(400) as error:
        chat.list_messages(around=chat.messages[6]["id"], **{name: value})
    assert error.fields == {name: "cannot be combined with around"}


def test_all_excluded_parameters_are_listed(chat: Chat) -> None:
    excluded = {"page": "1", "before": NO_SUCH_ID, "search": "message", "sort": "newest"}
    with expect_error(400) as error:
        chat.list_messages(around="x", limit="0", include="x", **excluded)
    assert error.fields.keys() == {*excluded, "around", "limit", "include"}
    assert error.fields["around"] == "must be an id"


def test_message_that_is_not_in_the_chat_is_not_found(chat: Chat) -> None:
    connection, user = chat.connection, chat.user
    other = new_chat(connection, user)
    message = call(connection, user, "send_message", other, {"content": "x"})["id"]
    response = call(connection, user, "list_messages", other, around=message)
    assert [found["id"] for found in response["messages"]] == [message]
    for id_ in (message, NO_SUCH_ID, chat.id):
        for if_none_match in (None, "*"):
            with expect_error(404) as error:
                arguments = [chat.id, *[None] * 10, id_]
                call_with_preconditions(connection, user, "list_messages", *arguments, if_none_match=if_none_match)
            assert error.message == "Message not found."
    call(connection, user, "delete_message", other, message)
    with expect_error(404) as error:
        call(connection, user, "list_messages", other, around=message)
    assert error.message == "Message not found."
    with expect_error(404) as error:
        call(connection, new_user(), "list_messages", chat.id, around=chat.messages[0]["id"])
    assert error.message == "Chat not found."
