"""Plans of the event log and the outbox: which indexes they use, and how many rows they read."""

import pytest

from tests.database import Connection, call, new_chat
from tests.sql.plans import LargeChat, plan_nodes, rows_read
from tests.tokens import new_user


@pytest.mark.parametrize("after", [0, 5000, 9999, 10_000])
def test_events_of_a_chat_reads_only_the_next_events(large_chat: LargeChat, after: int) -> None:
    connection, user, chat = large_chat
    with plan_nodes(connection, "outbox") as nodes:
        response = call(connection, user, "list_chat_events", chat, after=str(after), limit="10")
    assert len(response["events"]) == min(10, 10_000 - after)
    assert {node["Index Name"] for node in nodes} == {"outbox_chat"}
    read = sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes)
    assert 0 <= read - len(response["events"]) <= 1  # row_number() reads one row more before PostgreSQL 16


def test_new_events_are_found_by_the_newest_event_of_each_chat(large_chat: LargeChat) -> None:
    connection, user, _ = large_chat
    cursor = call(connection, user, "list_events")["next"]
    with plan_nodes(connection, "outbox") as nodes:
        assert call(connection, user, "list_events", after=cursor)["events"] == []
    used = {node["Index Name"] for node in nodes if "Index Name" in node}
    assert used == {"outbox_chat", "outbox_deletions", "outbox_removals"}
    assert not [node for node in nodes if (node["Node Type"], node.get("Relation Name")) == ("Seq Scan", "outbox")]
    assert sum(n["Actual Rows"] * n["Actual Loops"] for n in nodes if n.get("Index Name") == "outbox_chat") == 500


def test_fetch_of_a_rename_reads_the_members_it_is_published_to(listener_connection: Connection) -> None:
    members, renames = 5000, 9
    fetch = "select cardinality(channels) from listener.ack_and_fetch_events('{}', null, '{}', '{}', 100, 100, 200000)"
    listener_connection.execute("reset session authorization")
    with listener_connection.transaction(force_rollback=True):
        chat = new_chat(listener_connection, new_user())
        listener_connection.execute(
            "insert into parley.members (chat_id, user_id) select %s, n + 1000 from generate_series(1, %s) n",
            [chat, members - 1],
        )
        listener_connection.execute("delete from parley.outbox_queue")
        for n in range(renames):
            listener_connection.execute("update parley.chats set title = %s where id = %s", [n, chat])
        listener_connection.execute("set local session authorization events")
        with plan_nodes(listener_connection, "members") as nodes:
            assert listener_connection.execute(fetch).fetchall() == [(members + 1,)] * 2
        assert {node["Node Type"] for node in nodes} <= {"Index Only Scan", "Index Scan"}
        assert {node["Index Name"] for node in nodes} == {"members_once_per_chat"}
        # Two fit, since a channel takes up about 24 bytes.
        assert sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes) == 2 * members


def test_old_events_are_found_at_the_start_of_the_log(listener_connection: Connection) -> None:
    with plan_nodes(listener_connection, "outbox") as nodes, listener_connection.transaction(force_rollback=True):
        assert listener_connection.execute("select listener.purge_events('0 days', 100)").fetchone() == (100,)
    assert rows_read([node for node in nodes if node.get("Relation Name") == "outbox"]) <= 400


@pytest.mark.parametrize("is_removed", [False, True])
def test_events_that_are_not_returned_are_not_read(large_chat: LargeChat, is_removed: bool) -> None:
    connection, owner, member = large_chat[0], new_user(), new_user()
    connection.execute("reset session authorization")
    chat = new_chat(connection, owner, member)
    start = call(connection, member, "list_events")["next"]
    for _ in range(2):
        call(connection, owner, "send_message", chat, {"content": "hello"})
    second_page = call(connection, member, "list_events", after=start, limit="1")["next"]
    connection.execute(
        "insert into parley.outbox (chat_id, seq, event, payload)"
        " select id, seq + n, 'message:sent', '{}' from parley.chats, generate_series(1, 1000) n where id = %s",
        [chat],
    )
    connection.execute("update parley.chats set seq = seq + 1000 where id = %s", [chat])
    if is_removed:
        call(connection, owner, "remove_member", chat, member)
    connection.execute("set session authorization app")
    for cursor, is_returned in ((start, is_removed), (second_page, not is_removed)):
        with plan_nodes(connection, "outbox") as nodes:
            response = call(connection, member, "list_events", after=cursor, limit="10")
        assert bool(response["events"]) == is_returned or not is_removed
        assert max(n["Actual Rows"] + n.get("Rows Removed by Filter", 0) for n in nodes) <= 11
