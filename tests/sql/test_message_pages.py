"""Pages of messages, by number and by cursor: the arithmetic, as properties."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dev.postgres import Postgres
from tests.database import Connection, call, connect_rolled_back, expect_error, new_chat
from tests.sql.paging import response_links
from tests.tokens import new_user

MESSAGE_TYPES = ("text", "code", "image")
COUNT = 3_500  # messages: more than three blocks of 1,000
FIRST_HOUR = datetime(2026, 1, 1, tzinfo=UTC)
INSERT_MESSAGES = """
insert into parley.messages (chat_id, id, user_id, type, content, updated_at)
select %(chat)s, parley.generate_uuid7('2026-01-01Z'::timestamptz + n * interval '1 hour', n), %(user)s,
    case when n %% 7 < 4 then 'text' when n > 2000 then 'code' when n %% 500 = 6 then 'image' else 'text' end,
    case when n %% 3 = 0 then 'a word ' else 'nothing ' end || n, now()
from generate_series(1, %(count)s) n
"""


@dataclass(repr=False)
class Chat:
    """A chat with a message per hour, and the expected messages, newest first."""

    connection: Connection
    user: str
    id: str
    messages: list[dict[str, Any]]

    def list_messages(self, **query: Any) -> Any:
        """Call api.list_messages() with the parameters that are not empty."""
        return call(self.connection, self.user, "list_messages", self.id, **{k: v for k, v in query.items() if v})

    def matching_ids(self, type_: str | None = None, first: str = "", last: str = "9", search: str = "") -> list[str]:
        """Return the expected ids of the messages that match a filter."""
        return [
            m["id"]
            for m in self.messages
            if type_ in (None, m["type"]) and first <= m["time"] <= last and search in m["content"]
        ]


@pytest.fixture(scope="module")
def chat(postgres: Postgres, shared_database: str) -> Iterator[Chat]:
    """A chat whose messages were inserted without triggers, and then changed through the API."""
    with connect_rolled_back(postgres.url(shared_database)) as connection:
        user = new_user()
        chat = new_chat(connection, user)
        connection.execute("set local session_replication_role = replica")
        connection.execute(INSERT_MESSAGES, {"chat": chat, "user": user, "count": COUNT})
        connection.execute(
            "insert into parley.message_words select chat_id, id, type, (rules.search_document(content)).*"
            " from parley.messages where chat_id = %s", [chat]
        )  # fmt: skip
        connection.execute("set local session_replication_role = origin")
        connection.execute("select parley.recount_chat(%s)", [chat])
        assert connection.execute(
            "select count(*), sum(messages) from parley.message_blocks where chat_id = %s", [chat]
        ).fetchone() == (3, 3000)
        connection.execute("set local role app")
        ids = [row[0] for row in connection.execute(
            "select m.id::text from session.authenticate(%s) cross join parley.messages m"
            " where m.chat_id = %s order by 1",
            [json.dumps({"sub": user}), chat]).fetchall()]  # fmt: skip
        for id_ in (ids[0], ids[999], ids[1000], ids[1700], *ids[2100:2120], ids[3400]):
            call(connection, user, "delete_message", chat, id_)
        for id_ in (ids[5], ids[2500], ids[3499]):
            call(connection, user, "update_message", chat, id_, {"type": "image"})
        for number in range(5):
            call(connection, user, "send_message", chat, {"content": f"a new word {number}", "type": "code"})
        rows = connection.execute(
            "select json_agg(json_build_object('id', id, 'type', type, 'content', content,"
            " 'time', parley.iso8601(created_at)) order by id desc) from parley.messages where chat_id = %s", [chat]
        ).fetchone()  # fmt: skip
        assert rows is not None
        assert len(rows[0]) == COUNT - 25 + 5
        yield Chat(connection, user, chat, rows[0])


def time_after(hours: int) -> str:
    """Return the time so many hours after the first one."""
    return (FIRST_HOUR + timedelta(hours=hours)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


TIMES = st.none() | st.integers(-10, COUNT + 10).map(time_after)
FILTERS = {
    "type_": st.none() | st.sampled_from(MESSAGE_TYPES),
    "first": TIMES,
    "last": TIMES,
    "search": st.sampled_from(["", "word"]),
}
LIMITS = st.integers(1, 100)


@given(page=st.integers(1, 80) | st.integers(1, 10**9), limit=LIMITS, **FILTERS)
def test_page_is_a_slice_of_all_matching_messages(
    chat: Chat, page: int, limit: int, type_: str | None, first: str | None, last: str | None, search: str
) -> None:
    matching = chat.matching_ids(type_, first or "", last or "9", search)
    response = chat.list_messages(
        page=str(page), limit=str(limit), type=type_, start_date=first, end_date=last, search=search
    )  # fmt: skip
    assert [m["id"] for m in response["messages"]] == matching[(page - 1) * limit : page * limit]
    assert (response["total"], response["page"], response["limit"]) == (len(matching), page, limit)


@given(position=st.integers(0, COUNT - 30), limit=LIMITS, **FILTERS)
def test_pages_before_and_after_a_cursor_are_adjacent(
    chat: Chat, position: int, limit: int, type_: str | None, first: str | None, last: str | None, search: str
) -> None:
    matching = chat.matching_ids(type_, first or "", last or "9", search)
    cursor = chat.messages[position]["id"]
    query = {"limit": str(limit), "type": type_, "start_date": first, "end_date": last, "search": search}
    older, newer = chat.list_messages(before=cursor, **query), chat.list_messages(after=cursor, **query)
    assert [m["id"] for m in older["messages"]] == [id_ for id_ in matching if id_ < cursor][:limit]
    assert [m["id"] for m in newer["messages"]] == [id_ for id_ in matching if id_ > cursor][-limit:]
    assert older["total"] == newer["total"] == len(matching)
    assert (older["page"], newer["page"]) == (None, None)


@pytest.mark.parametrize("query", [{}, {"type": "image"}, {"search": "word"}, {"search": "word", "type": "code"}])
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_links_lead_through_all_pages_and_back(chat: Chat, query: dict[str, str], limit: int) -> None:
    if limit == 1:
        query = {**query, "start_date": chat.messages[60]["time"]}
    expected = chat.matching_ids(query.get("type"), query.get("start_date", ""), "9", query.get("search", ""))
    listed: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        response = chat.list_messages(**query, limit=str(limit), **cursor)
        listed += [m["id"] for m in response["messages"]]
        found = response_links(chat.connection)
        assert found["first"] == {}
        assert ("prev" in found) == bool(cursor)
        if "next" not in found:
            break
        cursor = found["next"]
    assert listed == expected
    while cursor:
        previous = response_links(chat.connection).get("prev")
        if previous is None:
            break
        response = chat.list_messages(**query, limit=str(limit), **previous)
        listed = [m["id"] for m in response["messages"]]
        assert response_links(chat.connection)["next"] == {"before": listed[-1]}
    assert listed == expected[:limit]


def test_links_of_a_numbered_page_are_cursors(app: Connection) -> None:
    user = new_user()
    chat = new_chat(app, user)
    sent = [call(app, user, "send_message", chat, {"content": f"message {n}"})["id"] for n in range(10)]
    call(app, user, "list_messages", chat, page="2", limit="3")
    assert response_links(app) == {"next": {"before": sent[4]}, "prev": {"after": sent[6]}, "first": {}}
    call(app, user, "send_message", chat, {"content": "one more"})
    call(app, user, "delete_message", chat, sent[4])
    following = call(app, user, "list_messages", chat, before=sent[4], limit="3")
    assert [m["id"] for m in following["messages"]] == [sent[3], sent[2], sent[1]]
    call(app, user, "list_messages", chat, page="9", limit="3")
    assert response_links(app) == {"first": {}}


def test_links_of_pages_by_relevance_have_page_numbers(app: Connection) -> None:
    user = new_user()
    chat = new_chat(app, user)
    for n in range(5):
        call(app, user, "send_message", chat, {"content": "word " * (n + 1)})
    for page, expected in ((1, {"next": {"page": 2}}), (2, {"next": {"page": 3}, "prev": {"page": 1}}),
                           (3, {"prev": {"page": 2}})):  # fmt: skip
        response = call(app, user, "list_messages", chat, search="word", sort="relevance", limit="2", page=str(page))
        assert len(response["messages"]) == (1 if page == 3 else 2)
        assert response_links(app) == expected | {"first": {}}


@pytest.mark.parametrize("function", ["list_chats", "list_messages"])
def test_page_before_and_after_exclude_each_other(app: Connection, function: str) -> None:
    user = new_user()
    chat = new_chat(app, user)
    arguments = [chat] if function == "list_messages" else []
    with expect_error(400) as error:
        call(app, user, function, *arguments, page="1", before=chat)
    assert error.fields == {"page": "cannot be combined with before or after"}
    with expect_error(400) as error:
        call(app, user, function, *arguments, before=chat, after=chat)
    assert error.fields == {"after": "cannot be combined with before"}
    with expect_error(400) as error:
        call(app, user, function, *arguments, before="1", after="x")
    assert error.fields == {"before": "must be an id", "after": "must be an id"}
