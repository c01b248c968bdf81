"""Plans of searches, as the API's role: which indexes they use, and how many rows they read."""

import json
import re

import pytest

from tests.database import call
from tests.sql.plans import HITS, LargeChat, list_messages, plan_nodes, plans, rows_read
from tests.tokens import new_user


def test_search_uses_the_gin_index(large_chat: LargeChat) -> None:
    _, nodes = list_messages(large_chat, search="needle")
    assert [node for node in nodes if re.fullmatch(r"message_words_\d+_chat_id_tsv_idx", node.get("Index Name", ""))]


@pytest.mark.parametrize("sort", ["newest", "relevance"])
@pytest.mark.parametrize(("search", "total"), [("needle", HITS), ("absent", 0), ("message", 50)])
def test_search_of_all_chats_reads_few_words_and_only_the_messages_of_its_page(
    large_chat: LargeChat, search: str, total: int, sort: str
) -> None:
    connection, user, chat = large_chat
    query = {"search": search, "sort": sort}
    if search == "message":  # a word that all messages have: the chats of the user are searched one by one
        user = new_user()
        connection.execute("reset session authorization")
        connection.execute("select session.authenticate(%s)", [json.dumps({"sub": user})])
        connection.execute(
            "insert into parley.members (chat_id, user_id)"
            " select id, %s from parley.chats where id <> %s order by id limit 5",
            [user, chat],
        )
        connection.execute("set session authorization app")
    with plan_nodes(connection, "message") as nodes:
        response = call(connection, user, "search", **query)
    assert response["total"] == total
    assert "Seq Scan" not in {node["Node Type"] for node in nodes}
    assert total == 0 or rows_read([node for node in nodes if node.get("Relation Name") == "messages"]) <= 51
    words = [node for node in nodes if node.get("Relation Name", "").startswith("message_words_")]
    read = sum(node["Actual Rows"] * node["Actual Loops"] for node in words)
    assert read <= (1001 if search == "message" else 0) + 3 * total


def test_parsing_a_search_is_estimated_to_be_cheap(large_chat: LargeChat) -> None:
    connection, _, _ = large_chat
    terms = "parley.parse_search_terms('needle') t, parley.build_term_forms(t.typed, t.is_phrase, t.is_unfinished) f"
    with plans(connection) as found:
        connection.execute(f"select string_agg(f.query, '' order by t.place) from {terms}")
        connection.execute("select parley.parse_highlight('needle -hay or \"a needle\"')")
    assert len(found) >= 3
    # From jit_above_cost on, PostgreSQL compiles the plan, which takes half a second.
    assert max(plan["Total Cost"] for plan in found) < 10_000


@pytest.mark.parametrize("search", ["message", "message 1", '"message 1"'])
def test_search_reads_a_limited_number_of_other_users_messages(large_chat: LargeChat, search: str) -> None:
    connection, _, _ = large_chat
    with plan_nodes(connection, "message") as nodes:
        assert call(connection, new_user(), "search", search=search)["total"] == 0
    assert 0 < sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes if "Relation Name" in node) <= 1001
