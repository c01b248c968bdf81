"""Plans of the listener's fetch, as its role: it reads little more than it returns, however long the queue is."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.database import Connection
from tests.sql.plans import log_plans, plan_nodes, rows_read

QUEUED = 20_000
FIRST_CHAT = "00000000-0000-0000-0000-000000000000"
FETCH = "select id, chat_id::text, has_more from listener.ack_and_fetch_events(%s, %s, %s::uuid[], %s, %s, 200, 400000)"

Row = tuple[int, str, bool]


@pytest.fixture(scope="module")
def connection(postgres: Postgres, new_database: Callable[[str], str]) -> Iterator[Connection]:
    """A superuser's connection that logs plans."""
    with psycopg.connect(postgres.url(new_database("parley_outbox_plans")), autocommit=True) as dba:
        log_plans(dba)
        yield dba


@pytest.fixture
def dba(connection: Connection) -> Iterator[Connection]:
    """The connection, with an empty outbox and queue."""
    connection.execute("truncate parley.outbox, parley.outbox_queue")
    yield connection
    connection.execute("reset session authorization")


def queue_events(dba: Connection, chats: int, events: int, *, analyze: bool = True) -> None:
    """Queue events of so many chats, without the changes that would cause them."""
    dba.execute(
        "with recorded as ("
        "  insert into parley.outbox (chat_id, seq, event, payload)"
        "  select md5((n %% %s)::text)::uuid, n, 'message:sent', '{}' from generate_series(1, %s) n"
        "  returning id, chat_id)"
        " insert into parley.outbox_queue select id, chat_id from recorded",
        [chats, events],
    )
    if analyze:
        dba.execute("vacuum analyze parley.outbox, parley.outbox_queue")


def fetch(
    dba: Connection,
    after_chat: str | None,
    acked: list[int] | None = None,
    held: dict[str, int | None] | None = None,
    max_events: int = 1000,
) -> tuple[list[Row], list[dict[str, Any]]]:
    """Fetch as the listener's role; return the rows, and the plan nodes that read an index of the outbox."""
    held = held or {}
    dba.execute("set session authorization events")
    with plan_nodes(dba, "outbox") as nodes:
        arguments = [acked or [], after_chat, list(held), list(held.values()), max_events]
        rows = dba.execute(FETCH, arguments).fetchall()
    dba.execute("reset session authorization")
    assert "Seq Scan" not in {node["Node Type"] for node in nodes}
    return rows, [node for node in nodes if "Index Name" in node and node["Actual Loops"]]


@pytest.mark.parametrize("after_chat", [FIRST_CHAT, None])
@pytest.mark.parametrize("held", [0, 2000])
def test_fetch_reads_only_queued_events(dba: Connection, after_chat: str | None, held: int) -> None:
    queue_events(dba, 100, 10_000)
    dba.execute("delete from parley.outbox_queue where id < (select max(id) - 4 from parley.outbox_queue)")
    dba.execute("vacuum analyze parley.outbox_queue")
    others: dict[str, int | None] = {f"00000000-0000-0000-0000-{n:012}": n for n in range(held)}
    rows, nodes = fetch(dba, after_chat, held=others)
    assert len(rows) == 5
    assert rows_read(nodes) <= 6
    latest = set() if after_chat else {"outbox_queue_pkey"}
    assert {node["Index Name"] for node in nodes} == {"outbox_queue_chat", "outbox_pkey"} | latest


@pytest.mark.parametrize("chats", [1, 2000, QUEUED])
@pytest.mark.parametrize("after_chat", [FIRST_CHAT, None])
def test_fetch_of_a_long_queue_reads_only_what_it_returns(dba: Connection, chats: int, after_chat: str | None) -> None:
    queue_events(dba, chats, QUEUED)
    rows, nodes = fetch(dba, after_chat)
    assert len(rows) == min(1000, 200 * chats)
    assert rows[-1][2] == (chats > 1)
    assert rows_read(nodes) <= 1001


@pytest.mark.parametrize("after_chat", [FIRST_CHAT, None])
@pytest.mark.parametrize("queued", [0, 5, 300])
def test_plan_for_a_short_queue_is_efficient_for_a_long_one(
    dba: Connection, queued: int, after_chat: str | None
) -> None:
    queue_events(dba, 5, queued)
    for _ in range(2):
        fetch(dba, after_chat)
    queue_events(dba, 2000, QUEUED, analyze=False)
    rows, nodes = fetch(dba, after_chat)
    assert len(rows) == 1000
    assert rows_read(nodes) <= 1100  # PostgreSQL before 18 rounds the rows of each loop


def test_round_reads_the_first_event_of_each_chat_once(dba: Connection) -> None:
    queue_events(dba, QUEUED, QUEUED)
    position: str | None = FIRST_CHAT
    fetched: list[str] = []
    acked: list[int] = []
    read = 0
    while position:
        rows, nodes = fetch(dba, position, acked)
        read += sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes)
        fetched += [chat for _, chat, _ in rows]
        acked = [id_ for id_, _, _ in rows]
        position = rows[-1][1] if rows and rows[-1][2] else None
    assert fetched == sorted(set(fetched))
    assert len(fetched) == QUEUED
    # For each event: the chat and the id in the queue, the event in the log, and the removed row of the queue.
    assert read <= 4.1 * QUEUED


def test_fetch_between_rounds_does_not_read_acknowledged_events(dba: Connection) -> None:
    queue_events(dba, QUEUED, QUEUED)
    dba.execute("set auto_explain.log_buffers = on")
    dba.execute("delete from parley.outbox_queue where id < (select max(id) from parley.outbox_queue)")
    rows, nodes = fetch(dba, None)
    dba.execute("reset auto_explain.log_buffers")
    assert len(rows) == 1
    assert sum(node["Shared Hit Blocks"] + node["Shared Read Blocks"] for node in nodes) < 100
