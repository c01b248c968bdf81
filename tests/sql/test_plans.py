"""The plans of hot queries, as the API's role on a chat that is large beside the others: by an index, and no more rows
read than answered. How long that takes is for the benchmarks."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.support import Connection, call, new_chat, new_user

LARGE, SMALL = 20_000, 10
HITS = 8


@pytest.fixture(scope="module")
def large(postgres: Postgres, new_database: Callable[[str], str]) -> Iterator[tuple[Connection, str, str]]:
    """A connection that tells its plans, a user of 500 chats, and the largest of them."""
    name = new_database("parley_plans")
    with psycopg.connect(postgres.url(name), autocommit=True) as dba:
        user = new_user()
        chats = [new_chat(dba, user) for _ in range(500)]
        dba.execute("set session_replication_role = replica")  # no triggers: they are for one message at a time
        dba.execute(
            "insert into parley.messages (chat_id, id, user_id, content, updated_at)"
            " select c, parley.uuid7(now() - n * interval '1 minute', n), %s,"
            "   'message ' || n || case when c = %s and n %% (%s / %s) = 1 then ' needle' else '' end, now()"
            " from unnest(%s::uuid[]) c, generate_series(1, case when c = %s then %s else %s end) n",
            [user, chats[0], LARGE, HITS, chats, chats[0], LARGE, SMALL],
        )
        dba.execute(
            "update parley.chats c set message_count = n from"
            " (select chat_id, count(*) as n from parley.messages group by 1) m where m.chat_id = c.id"
        )
        dba.execute("reset session_replication_role")
        dba.execute("vacuum analyze")
        dba.execute("load 'auto_explain'")
        for setting, value in {
            "auto_explain.log_min_duration": "0",
            "auto_explain.log_analyze": "on",
            "auto_explain.log_timing": "off",
            "auto_explain.log_nested_statements": "on",
            "auto_explain.log_format": "json",
            "client_min_messages": "log",
        }.items():
            dba.execute("select set_config(%s, %s, false)", [setting, value])
        dba.execute("set session authorization app")
        yield dba, user, chats[0]


def plans(large: tuple[Connection, str, str], **arguments: str) -> tuple[Any, list[dict[str, Any]]]:
    """What list_messages answers, and each node that read messages on the way."""
    connection, user, chat = large
    nodes: list[dict[str, Any]] = []

    def collect(node: dict[str, Any]) -> None:
        if node.get("Relation Name") == "messages" or node.get("Index Name", "").startswith("messages"):
            nodes.append(node)
        for child in node.get("Plans", []):
            collect(child)

    def on_notice(diagnostic: psycopg.errors.Diagnostic) -> None:
        if found := re.search(r"plan:\n(.*)", diagnostic.message_primary or "", re.DOTALL):
            collect(json.loads(found[1])["Plan"])

    connection.add_notice_handler(on_notice)
    try:
        answer = call(connection, user, "list_messages", chat, **arguments)
    finally:
        connection.remove_notice_handler(on_notice)
    return answer, nodes


def rows_read(nodes: list[dict[str, Any]]) -> Any:
    """The most rows that one node read, what its filters threw away included."""
    removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    return max(n["Actual Rows"] * n["Actual Loops"] + sum(n.get(r, 0) for r in removed) for n in nodes)


@pytest.mark.parametrize(
    ("arguments", "answered", "total"),
    [
        ({}, 50, LARGE),
        ({"limit": "100"}, 100, LARGE),
        ({"search": "needle"}, HITS, HITS),
        ({"search": "absent"}, 0, 0),
    ],
)
def test_a_page_reads_no_more_than_it_answers(
    large: tuple[Connection, str, str], arguments: dict[str, str], answered: int, total: int
) -> None:
    answer, nodes = plans(large, **arguments)
    assert (len(answer["messages"]), answer["total"]) == (answered, total)
    assert nodes
    assert {node["Node Type"] for node in nodes} <= {
        "Index Scan", "Index Only Scan", "Bitmap Index Scan", "Bitmap Heap Scan",
    }  # fmt: skip
    assert rows_read(nodes) <= answered


def test_search_uses_its_index(large: tuple[Connection, str, str]) -> None:
    _, nodes = plans(large, search="needle")
    assert "messages_search" in {node.get("Index Name") for node in nodes}


def test_a_range_of_dates_is_a_range_of_the_key(large: tuple[Connection, str, str]) -> None:
    answer, _ = plans(large)
    day = answer["messages"][0]["createdAt"][:10]
    answer, nodes = plans(large, start_date=day, limit="1")
    assert 0 < answer["total"] < LARGE
    assert rows_read(nodes) <= answer["total"]
