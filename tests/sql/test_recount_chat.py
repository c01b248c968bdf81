"""parley.recount_chat: its results, and its cost on tables without statistics."""

import json
from typing import Any

import pytest

from tests.database import Connection, new_chat

MESSAGES = 4_000


def load_messages(dba: Connection, chat: str, first: int, last: int) -> None:
    """Insert messages without triggers, as a DBA loads them."""
    dba.execute("set session_replication_role = replica")
    dba.execute(
        "insert into parley.messages (chat_id, id, user_id, type, content, updated_at)"
        " select %s, parley.generate_uuid7(now() + n * interval '1 second', n), 'user ' || n %% 7,"
        "   case n %% 10 when 0 then 'code' else 'text' end, 'hello', now() from generate_series(%s::int, %s) n",
        [chat, first, last],
    )
    dba.execute("reset session_replication_role")


def recount(dba: Connection, chat: str) -> int:
    """Count a chat anew; return how many pages PostgreSQL has read."""
    row = dba.execute("explain (analyze, buffers, format json) select parley.recount_chat(%s)", [chat]).fetchone()
    assert row
    plan: dict[str, Any] = (row[0] if isinstance(row[0], list) else json.loads(row[0]))[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@pytest.mark.parametrize("messages", [0, 1, 1000, 2000, 3500])
def test_blocks_are_those_of_messages_that_were_sent(own_dba: Connection, messages: int) -> None:
    loaded, sent = new_chat(own_dba, "owner", "member"), new_chat(own_dba, "owner", "member")
    load_messages(own_dba, loaded, 1, messages)
    recount(own_dba, loaded)
    own_dba.execute("select set_config('parley.user_id', 'owner', false)")
    own_dba.execute(
        "insert into parley.messages (chat_id, type, content)"
        " select %s, case n %% 10 when 0 then 'code' else 'text' end, 'hello' from generate_series(1, %s) n",
        [sent, messages],
    )
    query = (
        "select c.message_count, c.member_count, (select count(*) from parley.message_blocks b where b.chat_id = c.id),"
        "  (select array_agg(b.by_type order by b.first_id) from parley.message_blocks b where b.chat_id = c.id),"
        "  c.counted_messages, c.last_message_id = (select max(m.id::text)::uuid from parley.messages m"
        "    where m.chat_id = c.id) from parley.chats c where c.id = %s"
    )
    counters = own_dba.execute(query, [loaded]).fetchone()
    assert counters
    assert counters[:2] == (messages, 2)
    assert counters == own_dba.execute(query, [sent]).fetchone()
    assert counters[2] == max(0, (messages - 1) // 1000)
    boundaries = (
        "select count(*) from parley.message_blocks b where b.chat_id = %s and b.messages <> ("
        "  select count(*) from parley.messages m"
        "  where m.chat_id = b.chat_id and m.id >= b.first_id and m.id < b.before_id)"
    )
    assert own_dba.execute(boundaries, [loaded]).fetchone() == (0,)
    markers = own_dba.execute("select from parley.read_markers where chat_id = %s", [loaded]).rowcount
    assert markers == min(messages, 7)


@pytest.mark.parametrize("is_analyzed_when_small", [False, True])
@pytest.mark.parametrize("small_chats", [0, 200])
def test_cost_is_linear_without_statistics(own_dba: Connection, is_analyzed_when_small: bool, small_chats: int) -> None:
    chat = new_chat(own_dba, "owner")
    for _ in range(small_chats):
        load_messages(own_dba, new_chat(own_dba, "owner"), 1, 5)
    if is_analyzed_when_small:
        own_dba.execute("analyze parley.messages")
    load_messages(own_dba, chat, 1, MESSAGES)
    recount(own_dba, chat)
    pages = recount(own_dba, chat)
    load_messages(own_dba, chat, MESSAGES + 1, 8 * MESSAGES)
    assert recount(own_dba, chat) < 12 * pages
