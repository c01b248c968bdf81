"""Pages of messages and of chats, by number and by cursor: the arithmetic, as properties."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dev.postgres import Postgres
from tests.database import Connection, call, connect_rolled_back, expect_error, new_chat
from tests.tokens import new_user
from tests.waiting import next_millisecond

TYPES = ("text", "code", "image")
COUNT = 3_500  # of messages, more than three blocks
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
LOAD = """
insert into parley.messages (chat_id, id, user_id, type, content, updated_at)
select %(chat)s, parley.generate_uuid7('2026-01-01Z'::timestamptz + n * interval '1 hour', n), %(user)s,
    case when n %% 7 < 4 then 'text' when n > 2000 then 'code' when n %% 500 = 6 then 'image' else 'text' end,
    case when n %% 3 = 0 then 'a word ' else 'nothing ' end || n, now()
from generate_series(1, %(count)s) n
"""


@dataclass(repr=False)
class Chat:
    """A chat with messages, one an hour, and what there must be in it, newest first."""

    connection: Connection
    user: str
    id: str
    messages: list[dict[str, Any]]

    def ask(self, **query: Any) -> Any:
        """What is listed."""
        return call(self.connection, self.user, "list_messages", self.id, **{k: v for k, v in query.items() if v})

    def matching(self, wanted: str | None = None, first: str = "", last: str = "9", search: str = "") -> list[str]:
        """The ids of those that a filter lets through."""
        return [
            m["id"]
            for m in self.messages
            if wanted in (None, m["type"]) and first <= m["time"] <= last and search in m["content"]
        ]


@pytest.fixture(scope="module")
def chat(postgres: Postgres, shared_database: str) -> Iterator[Chat]:
    """A chat that was loaded without triggers, then changed through the API."""
    with connect_rolled_back(postgres.url(shared_database)) as connection:
        user = new_user()
        chat = new_chat(connection, user)
        connection.execute("set local session_replication_role = replica")
        connection.execute(LOAD, {"chat": chat, "user": user, "count": COUNT})
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


def time_of(hours: int) -> str:
    """An instant near one of the messages'."""
    return (BEGIN + timedelta(hours=hours)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


TIMES = st.none() | st.integers(-10, COUNT + 10).map(time_of)
FILTERS = {
    "wanted": st.none() | st.sampled_from(TYPES),
    "first": TIMES,
    "last": TIMES,
    "search": st.sampled_from(["", "word"]),
}
LIMITS = st.integers(1, 100)


@given(page=st.integers(1, 80) | st.integers(1, 10**9), limit=LIMITS, **FILTERS)
def test_a_page_is_that_slice_and_total_is_all(
    chat: Chat, page: int, limit: int, wanted: str | None, first: str | None, last: str | None, search: str
) -> None:
    matching = chat.matching(wanted, first or "", last or "9", search)
    answer = chat.ask(
        page=str(page), limit=str(limit), type=wanted, start_date=first, end_date=last, search=search
    )  # fmt: skip
    assert [m["id"] for m in answer["messages"]] == matching[(page - 1) * limit : page * limit]
    assert (answer["total"], answer["page"], answer["limit"]) == (len(matching), page, limit)


@given(place=st.integers(0, COUNT - 30), limit=LIMITS, **FILTERS)
def test_a_cursor_is_between_the_messages_before_and_after_it(
    chat: Chat, place: int, limit: int, wanted: str | None, first: str | None, last: str | None, search: str
) -> None:
    matching = chat.matching(wanted, first or "", last or "9", search)
    cursor = chat.messages[place]["id"]
    query = {"limit": str(limit), "type": wanted, "start_date": first, "end_date": last, "search": search}
    older, newer = chat.ask(before=cursor, **query), chat.ask(after=cursor, **query)
    assert [m["id"] for m in older["messages"]] == [id_ for id_ in matching if id_ < cursor][:limit]
    assert [m["id"] for m in newer["messages"]] == [id_ for id_ in matching if id_ > cursor][-limit:]
    assert older["total"] == newer["total"] == len(matching)
    assert (older["page"], newer["page"]) == (None, None)


def links(connection: Connection) -> Any:
    """What the last call said of the pages next to the answered one."""
    row = connection.execute("select current_setting('response.links')").fetchone()
    assert row is not None
    return json.loads(row[0])


@pytest.mark.parametrize("query", [{}, {"type": "image"}, {"search": "word"}, {"search": "word", "type": "code"}])
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_the_links_lead_through_all_and_back(chat: Chat, query: dict[str, str], limit: int) -> None:
    if limit == 1:
        query = {**query, "start_date": chat.messages[60]["time"]}
    expected = chat.matching(query.get("type"), query.get("start_date", ""), "9", query.get("search", ""))
    seen: list[str] = []
    place: dict[str, str] = {}
    while True:
        answer = chat.ask(**query, limit=str(limit), **place)
        seen += [m["id"] for m in answer["messages"]]
        found = links(chat.connection)
        assert found["first"] == {}
        assert ("prev" in found) == bool(place)
        if "next" not in found:
            break
        place = found["next"]
    assert seen == expected
    while place:
        back = links(chat.connection).get("prev")
        if back is None:
            break
        answer = chat.ask(**query, limit=str(limit), **back)
        seen = [m["id"] for m in answer["messages"]]
        assert links(chat.connection)["next"] == {"before": seen[-1]}
    assert seen == expected[:limit]


def test_a_numbered_page_leads_on_by_cursors_that_stay(app: Connection) -> None:
    user = new_user()
    chat = new_chat(app, user)
    sent = [call(app, user, "send_message", chat, {"content": f"message {n}"})["id"] for n in range(10)]
    call(app, user, "list_messages", chat, page="2", limit="3")
    assert links(app) == {"next": {"before": sent[4]}, "prev": {"after": sent[6]}, "first": {}}
    call(app, user, "send_message", chat, {"content": "one more"})
    call(app, user, "delete_message", chat, sent[4])
    following = call(app, user, "list_messages", chat, before=sent[4], limit="3")
    assert [m["id"] for m in following["messages"]] == [sent[3], sent[2], sent[1]]
    call(app, user, "list_messages", chat, page="9", limit="3")
    assert links(app) == {"first": {}}


def test_relevance_has_numbered_pages(app: Connection) -> None:
    user = new_user()
    chat = new_chat(app, user)
    for n in range(5):
        call(app, user, "send_message", chat, {"content": "word " * (n + 1)})
    for page, expected in ((1, {"next": {"page": 2}}), (2, {"next": {"page": 3}, "prev": {"page": 1}}),
                           (3, {"prev": {"page": 2}})):  # fmt: skip
        answer = call(app, user, "list_messages", chat, search="word", sort="relevance", limit="2", page=str(page))
        assert len(answer["messages"]) == (1 if page == 3 else 2)
        assert links(app) == expected | {"first": {}}


@pytest.mark.parametrize("function", ["list_chats", "list_messages"])
def test_a_page_is_asked_for_in_one_way(app: Connection, function: str) -> None:
    user = new_user()
    chat = new_chat(app, user)
    where = [chat] if function == "list_messages" else []
    with expect_error(400) as error:
        call(app, user, function, *where, page="1", before=chat)
    assert error.fields == {"page": "can't go with before or after"}
    with expect_error(400) as error:
        call(app, user, function, *where, before=chat, after=chat)
    assert error.fields == {"after": "can't go with before"}
    with expect_error(400) as error:
        call(app, user, function, *where, before="1", after="x")
    assert error.fields == {"before": "must be an id", "after": "must be an id"}


def test_chats_page_by_their_latest_activity_while_it_moves(app: Connection) -> None:
    user = new_user()
    chats = []
    for n in range(9):
        next_millisecond()
        chats.append(new_chat(app, user, title=f"Chat {n}"))
    for chat in chats[::2]:
        next_millisecond()
        call(app, user, "send_message", chat, {"content": f"hello in {chat}"})
    order = [*chats[8::-2], *chats[7::-2]]
    first = call(app, user, "list_chats", limit="4")
    assert [c["id"] for c in first["chats"]] == order[:4]
    place = links(app)["next"]
    assert place == {"before": first["chats"][-1]["lastMessage"]["id"]}
    next_millisecond()
    call(app, user, "send_message", order[1], {"content": "again"})  # it goes up, nothing is seen twice
    second = call(app, user, "list_chats", limit="4", **place)
    assert [c["id"] for c in second["chats"]] == order[4:8]
    assert (second["total"], second["page"], second["limit"]) == (9, None, 4)
    back = links(app)["prev"]
    assert [c["id"] for c in call(app, user, "list_chats", limit="9", **back)["chats"]] == [
        order[1],
        order[0],
        *order[2:4],
    ]
    call(app, user, "list_chats", limit="4", **back)
    assert "prev" not in links(app)


def test_a_chat_shows_the_beginning_of_its_last_message(app: Connection) -> None:
    user = new_user()
    chat = new_chat(app, user)
    first = call(app, user, "send_message", chat, {"content": "hello"})
    last = call(app, user, "send_message", chat, {"content": "é" * 1000, "type": "code"})
    listed = call(app, user, "list_chats")["chats"][0]
    assert listed["lastMessage"] == last | {"content": "é" * 200}
    assert listed["lastMessageAt"] == last["createdAt"]
    assert call(app, user, "get_chat", chat) == listed
    call(app, user, "delete_message", chat, last["id"])
    assert call(app, user, "list_chats")["chats"][0]["lastMessage"] == first
    call(app, user, "delete_message", chat, first["id"])
    assert call(app, user, "list_chats")["chats"][0]["lastMessage"] is None


@pytest.mark.usefixtures("no_leftovers")
def test_a_chat_that_grows_is_counted_in_blocks(dba: Connection) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    dba.execute(
        "insert into parley.messages (chat_id, content, user_id, type)"
        " select %s, n, %s, (array['text', 'code'])[1 + n %% 2] from generate_series(1, 2500) n", [chat, user]
    )  # fmt: skip
    blocks = "select messages, by_type from parley.message_blocks where chat_id = %s order by first_id"
    halves = {"text": 500, "code": 500}
    assert dba.execute(blocks, [chat]).fetchall() == [(1000, halves), (1000, halves)]
    dba.execute(
        "delete from parley.messages where chat_id = %s and content::integer %% 10 = 0 and content::integer <= 1000",
        [chat],
    )
    dba.execute("update parley.messages set type = 'image' where chat_id = %s and content = '1500'", [chat])
    assert dba.execute(blocks, [chat]).fetchall() == [
        (900, {"text": 400, "code": 500}), (1000, {"text": 499, "code": 500, "image": 1}),
    ]  # fmt: skip
    counters = dba.execute("select message_count, counted_messages from parley.chats where id = %s", [chat]).fetchone()
    assert counters == (2400, 1900)
    assert call(dba, user, "list_messages", chat, type="code")["total"] == 1250
    call(dba, user, "delete_chat", chat)
    assert dba.execute("select listener.purge_deleted_chats(3000)").fetchone() == (2400 + 1,)
    assert dba.execute(blocks, [chat]).fetchall() == []
    assert dba.execute("select from parley.message_words where chat_id = %s", [chat]).rowcount == 0


def test_a_message_after_a_block_is_never_counted_in_it(dba: Connection) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    sent = (
        "insert into parley.messages (chat_id, content, user_id, type)"
        " select %s, n, %s, %s from generate_series(1, %s) n"
    )
    dba.execute(sent, [chat, user, "text", 2100])
    dba.execute("delete from parley.messages where chat_id = %s and content::integer > 1500", [chat])
    dba.execute(  # the clock is set back
        "create or replace function parley.now_ms() returns timestamptz language sql volatile as"
        " $$ select date_trunc('milliseconds', clock_timestamp()) - interval '1 hour' $$"
    )
    dba.execute(sent, [chat, user, "code", 30])
    assert call(dba, user, "list_messages", chat, type="code")["total"] == 30
    assert call(dba, user, "list_messages", chat, type="text", page="2", limit="50")["total"] == 1500
    dba.execute("delete from parley.messages where chat_id = %s", [chat])
    dba.execute("update parley.chats set last_message_id = null where id = %s", [chat])
    dba.execute(sent, [chat, user, "code", 1100])
    assert call(dba, user, "list_messages", chat, type="code", page="22")["total"] == 1100


def test_a_message_stays_in_its_chat(dba: Connection) -> None:
    user = new_user()
    chat, other = new_chat(dba, user), new_chat(dba, user)
    call(dba, user, "send_message", chat, {"content": "hello"})
    for change in ("chat_id = %s", "id = %s"):
        with pytest.raises(psycopg.errors.RaiseException), dba.transaction():
            dba.execute(f"update parley.messages set {change} where chat_id = %s", [other, chat])
