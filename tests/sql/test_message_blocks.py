"""Blocks of messages: the stored counts are exact after every change."""

import pytest

from tests.database import Connection, call, new_chat
from tests.tokens import new_user


@pytest.mark.usefixtures("no_pending_removals")
def test_messages_are_counted_in_blocks_of_1000(dba: Connection) -> None:
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


def test_message_after_a_block_is_not_counted_in_it(dba: Connection) -> None:
    user = new_user()
    chat = new_chat(dba, user)
    sent = (
        "insert into parley.messages (chat_id, content, user_id, type)"
        " select %s, n, %s, %s from generate_series(1, %s) n"
    )
    dba.execute(sent, [chat, user, "text", 2100])
    dba.execute("delete from parley.messages where chat_id = %s and content::integer > 1500", [chat])
    dba.execute(  # as if the clock was set back
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
