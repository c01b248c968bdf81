"""Pages of messages: the arithmetic, as properties."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dev.postgres import Postgres
from tests.support import Connection, call, new_chat, new_user, rolled_back

TYPES = ("text", "code", "image")
COUNT = 57


@pytest.fixture(scope="module")
def chat(postgres: Postgres, shared_database: str) -> Iterator[tuple[Connection, str, str, list[tuple[str, str]]]]:
    """A chat of 57 messages, newest first as (id, type)."""
    with rolled_back(postgres.url(shared_database, "app", "app")) as connection:
        user = new_user()
        chat = new_chat(connection, user)
        sent = [
            call(connection, user, "send_message", chat, {"content": f"word m{n}", "type": TYPES[n * n % 3]})
            for n in range(COUNT)
        ]
        yield connection, user, chat, [(m["id"], m["type"]) for m in reversed(sent)]


@given(
    page=st.integers(1, 70) | st.integers(1, 10**9),
    limit=st.integers(1, 100),
    wanted=st.none() | st.sampled_from(TYPES),
    search=st.sampled_from([None, "word"]),
)
def test_a_page_is_that_slice_and_total_is_all(
    chat: tuple[Connection, str, str, list[tuple[str, str]]],
    page: int,
    limit: int,
    wanted: str | None,
    search: str | None,
) -> None:
    connection, user, chat_id, messages = chat
    matching = [id_ for id_, type_ in messages if wanted in (None, type_)]
    answer = call(
        connection, user, "list_messages", chat_id, page=str(page), limit=str(limit), type=wanted, search=search
    )
    assert [m["id"] for m in answer["messages"]] == matching[(page - 1) * limit : page * limit]
    assert (answer["total"], answer["page"], answer["limit"]) == (len(matching), page, limit)


@given(limit=st.integers(1, 100))
def test_pages_together_are_the_whole(chat: tuple[Connection, str, str, list[tuple[str, str]]], limit: int) -> None:
    connection, user, chat_id, messages = chat
    pages = -(-COUNT // limit)
    seen = [
        message["id"]
        for page in range(1, pages + 1)
        for message in call(connection, user, "list_messages", chat_id, page=str(page), limit=str(limit))["messages"]
    ]
    assert seen == [id_ for id_, _ in messages]
