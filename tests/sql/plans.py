"""Plans of statements, as auto_explain logs them, with the rows that each node read.

The database has a chat that is much larger than the others. The benchmarks measure how long statements take.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.database import Connection, call, new_chat
from tests.tokens import new_user

LARGE, SMALL = 20_000, 10  # messages of the large chat, and of each of the others
HITS = 8  # messages of the large chat with the word "needle"

LargeChat = tuple[Connection, str, str]  # a connection that logs plans, a user of 500 chats, the largest of them


def fill_database(dba: Connection) -> tuple[str, str]:
    """Insert 500 chats of a user and rows into all other tables that grow; return the user and the large chat."""
    user = new_user()
    chats = [new_chat(dba, user) for _ in range(500)]
    dba.execute("delete from parley.outbox_queue")  # The creation of the chats is published.
    dba.execute("set session_replication_role = replica")  # the triggers would process one message at a time
    dba.execute(
        "insert into parley.messages (chat_id, id, user_id, content, updated_at)"
        " select c, parley.generate_uuid7(now() - n * interval '1 minute', n), %s,"
        "   'message ' || n || case when c = %s and n %% (%s / %s) = 1 then ' needle' else '' end, now()"
        " from unnest(%s::uuid[]) c, generate_series(1, case when c = %s then %s else %s end) n",
        [user, chats[0], LARGE, HITS, chats, chats[0], LARGE, SMALL],
    )
    dba.execute(
        "insert into parley.message_words"
        " select chat_id, id, type, (rules.search_document(content)).tsv from parley.messages"
    )
    dba.execute("select parley.recount_chat(id) from parley.chats")
    dba.execute(
        "insert into next_auth.users (id, image)"
        " select n, 'https://x.org/images/' || encode(sha256(n::text::bytea), 'hex') || '.png'"
        " from generate_series(1, 10000) n"
    )
    dba.execute(
        "insert into parley.outbox (chat_id, seq, event, payload)"
        " select %s, n, 'message:sent', '{}' from generate_series(2, 10000) n",
        [chats[0]],
    )
    dba.execute("update parley.chats set seq = 10000 where id = %s", [chats[0]])
    dba.execute("insert into parley.outbox_queue select id, chat_id from parley.outbox order by id desc limit 5")
    dba.execute("update parley.rollup_state set last_counted_event = (select max(id) from parley.outbox)")
    dba.execute("insert into parley.settings (user_id) select n from generate_series(1, 10000) n")
    dba.execute(
        "insert into parley.image_cleanup (name) select right(image, 68) from next_auth.users order by 1 limit 20"
    )
    dba.execute(
        'insert into next_auth.sessions ("userId", expires, "sessionToken")'
        " select n, now() + interval '1 day', n from generate_series(1, 10000) n"
    )
    dba.execute(
        "insert into parley.idempotency_keys (user_id, key, fingerprint, response, created_at)"
        " select n % 100, n, '', '1', now() - n * interval '10 seconds' from generate_series(1, 10000) n"
    )
    dba.execute("reset session_replication_role")
    dba.execute("vacuum analyze")
    return user, chats[0]


def log_plans(connection: Connection) -> None:
    """Send the plan of each statement, also of those in functions, to this connection as a notice."""
    connection.execute("load 'auto_explain'")
    for setting, value in {
        "auto_explain.log_min_duration": "0",
        "auto_explain.log_analyze": "on",
        "auto_explain.log_timing": "off",
        "auto_explain.log_nested_statements": "on",
        "auto_explain.log_format": "json",
        "client_min_messages": "log",
    }.items():
        connection.execute("select set_config(%s, %s, false)", [setting, value])


@contextmanager
def plans(connection: Connection) -> Iterator[list[dict[str, Any]]]:
    """Collect the root nodes of the plans of all statements in the block."""
    roots: list[dict[str, Any]] = []

    def on_notice(diagnostic: psycopg.errors.Diagnostic) -> None:
        if found := re.search(r"plan:\n(.*)", diagnostic.message_primary or "", re.DOTALL):
            roots.append(json.loads(found[1])["Plan"])

    connection.add_notice_handler(on_notice)
    try:
        yield roots
    finally:
        connection.remove_notice_handler(on_notice)


@contextmanager
def plan_nodes(connection: Connection, table: str) -> Iterator[list[dict[str, Any]]]:
    """Collect the plan nodes, in the block, that read a table or an index whose name starts with `table`."""
    nodes: list[dict[str, Any]] = []

    def collect(node: dict[str, Any]) -> None:
        if node.get("Relation Name", "").startswith(table) or node.get("Index Name", "").startswith(table):
            nodes.append(node)
        for child in node.get("Plans", []):
            collect(child)

    with plans(connection) as roots:
        yield nodes
    for root in roots:
        collect(root)


def rows_read(nodes: list[dict[str, Any]]) -> Any:
    """Return the number of rows that one node read at most, including those that its filters removed."""
    removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    return max(n["Actual Rows"] * n["Actual Loops"] + sum(n.get(r, 0) for r in removed) for n in nodes)


def list_messages(large_chat: LargeChat, **arguments: str) -> tuple[Any, list[dict[str, Any]]]:
    """Return the response of api.list_messages, and the plan nodes that read messages or their words."""
    connection, user, chat = large_chat
    with plan_nodes(connection, "message") as nodes:
        return call(connection, user, "list_messages", chat, **arguments), nodes
