"""Plans of pages of messages and chats, as the API's role: which indexes they use, and how many rows they read."""

import json

import pytest

from tests.database import NO_SUCH_ID, call
from tests.sql.plans import HITS, LARGE, LargeChat, list_messages, plan_nodes, rows_read


def test_page_of_a_matching_entity_tag_is_not_read(large_chat: LargeChat) -> None:
    connection, user, chat = large_chat
    for if_none_match, is_read in (("*", False), ('"another"', True)):
        with plan_nodes(connection, "message") as nodes:
            connection.execute(
                "select api.list_messages(%s) from session.authenticate(%s, null, null, %s)",
                [chat, json.dumps({"sub": user}), if_none_match],
            )
        assert bool(nodes) == is_read


@pytest.mark.parametrize(
    ("arguments", "returned", "total", "max_rows"),
    [
        ({}, 50, LARGE, 51),  # one more than the page, to detect whether there are more
        ({"limit": "100"}, 100, LARGE, 101),
        ({"search": "needle"}, HITS, HITS, 510),  # the newest messages are scanned first
        ({"search": "absent"}, 0, 0, 510),
    ],
)
def test_page_reads_little_more_than_its_messages(
    large_chat: LargeChat, arguments: dict[str, str], returned: int, total: int, max_rows: int
) -> None:
    response, nodes = list_messages(large_chat, **arguments)
    assert (len(response["messages"]), response["total"]) == (returned, total)
    assert nodes
    assert {node["Node Type"] for node in nodes} <= {
        "Index Scan", "Index Only Scan", "Bitmap Index Scan", "Bitmap Heap Scan",
    }  # fmt: skip
    assert rows_read(nodes) <= max_rows


def test_page_without_a_type_filters_no_rows(large_chat: LargeChat) -> None:
    connection, _, _ = large_chat
    with connection.transaction(force_rollback=True):
        # Without the index, the planner has to choose a plan that it may also choose by other statistics.
        connection.execute("reset session authorization")
        connection.execute("drop index parley.messages_type")
        connection.execute("set session authorization app")
        assert rows_read(list_messages(large_chat)[1]) <= 51


@pytest.mark.parametrize("place", [{}, {"before": "ffffffff-0000-7000-8000-000000000000"}, {"after": NO_SUCH_ID}])
def test_rare_type_is_found_without_reading_the_whole_chat(large_chat: LargeChat, place: dict[str, str]) -> None:
    connection, _, chat = large_chat
    connection.execute("reset session authorization")
    try:
        with connection.transaction(force_rollback=True):
            for statement in (  # as after a bulk load: all messages are of one type, and the visibility map is empty
                "set local session_replication_role = replica",
                f"delete from parley.messages where chat_id <> '{chat}'",
                "reindex index parley.messages_pkey",
                "analyze parley.messages",
                "update pg_class set relallvisible = 0 where oid = 'parley.messages'::regclass",
                "set local role app",
            ):
                connection.execute(statement)
            response, nodes = list_messages(large_chat, type="image", **place)
    finally:
        connection.execute("set session authorization app")
    assert (response["total"], response["messages"]) == (0, [])
    assert rows_read(nodes) <= 1000  # the newest messages are in no block


def test_range_of_dates_reads_only_its_messages(large_chat: LargeChat) -> None:
    response, _ = list_messages(large_chat)
    day = response["messages"][0]["createdAt"][:10]
    response, nodes = list_messages(large_chat, start_date=day, limit="1")
    assert 0 < response["total"] < LARGE
    assert rows_read(nodes) <= response["total"]


@pytest.mark.parametrize(
    ("arguments", "returned", "max_rows"),
    [
        ({"page": "300"}, 50, 1051),  # a block, and then the page
        ({"page": "300", "type": "text"}, 50, 1051),
        ({"page": "300", "start_date": "2020-01-01"}, 50, 1051),
        ({"type": "image"}, 0, 20),  # the blocks
        ({"type": "image", "start_date": "2020-01-01"}, 0, 20),
        ({"before": "ffffffff-0000-7000-8000-000000000000"}, 50, 51),
        ({"after": "00000000-0000-7000-8000-000000000000"}, 50, 51),
        (
            {"after": "00000000-0000-7000-8000-000000000000", "type": "text"},
            50,
            1000,
        ),  # the newest messages are in no block
    ],
)
def test_page_does_not_read_the_pages_before_it(
    large_chat: LargeChat, arguments: dict[str, str], returned: int, max_rows: int
) -> None:
    response, nodes = list_messages(large_chat, **arguments)
    assert len(response["messages"]) == returned
    assert rows_read(nodes) <= max_rows


@pytest.mark.parametrize("filters", [{}, {"type": "text"}, {"start_date": "2020-01-01"}])
@pytest.mark.parametrize("place", [0, LARGE // 2, LARGE - 1])
def test_page_around_a_message_reads_little_more_than_its_messages(
    large_chat: LargeChat, place: int, filters: dict[str, str]
) -> None:
    connection, _, chat = large_chat
    connection.execute("reset session authorization")
    row = connection.execute(
        "select id::text from parley.messages where chat_id = %s order by id desc limit 1 offset %s", [chat, place]
    ).fetchone()
    connection.execute("set session authorization app")
    assert row is not None
    response, nodes = list_messages(large_chat, around=row[0], **filters)
    assert len(response["messages"]) == 50
    assert row[0] in [message["id"] for message in response["messages"]]
    assert rows_read(nodes) <= (1000 if filters else 51)  # to count, the newest messages are in no block


def test_page_of_chats_reads_only_the_last_messages(large_chat: LargeChat) -> None:
    connection, user, _ = large_chat
    with plan_nodes(connection, "messages") as nodes:
        response = call(connection, user, "list_chats", page="3")
    assert (len(response["chats"]), response["total"]) == (50, 500)
    assert {node.get("Index Name") for node in nodes} == {"messages_pkey"}
    assert rows_read(nodes) <= 51
    with plan_nodes(connection, "members") as nodes:
        call(connection, user, "list_chats")
    assert sum(n["Actual Rows"] * n["Actual Loops"] for n in nodes) <= 2 * 500 + 200  # for the page, and for the total
