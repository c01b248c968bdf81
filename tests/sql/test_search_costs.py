"""The number of chunks of out-of-line values that searches of long messages read, by PostgreSQL's statistics.

The benchmarks measure how long searches take.
"""
# ruff: noqa: S311 (not for secrets)

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.database import Connection, call, new_chat
from tests.tokens import new_user

MESSAGES = 30
CHUNK = 1996  # bytes of a chunk of an out-of-line value: TOAST_MAX_CHUNK_SIZE
PHRASE = "𠮷𡈽𡌛𡑮𡢽𠮟𡚴𡸴𣇄𣗄"
RNG = random.Random(1)


@pytest.fixture(scope="module")
def long_messages(postgres: Postgres, new_database: Callable[[str], str]) -> Iterator[tuple[Connection, str, str]]:
    """A connection as the API's role, a user, and a chat of long messages, each of which is expensive to read."""
    name = new_database("parley_search_costs")
    with psycopg.connect(postgres.url(name), autocommit=True) as dba, dba.transaction(force_rollback=True):
        user = new_user()
        chat = new_chat(dba, user)
        filling = [chr(0x20000 + n) for n in range(0x9FFF)]
        for n in range(MESSAGES):
            text = "".join(RNG.sample(filling, 18_000))
            call(dba, user, "send_message", chat, {"content": f"hello {text[:9000]}{PHRASE}{text[9000:]} word{n}"})
        dba.execute("set local session authorization app")
        yield dba, user, chat


def chunks_read(connection: Connection, search: Callable[[], Any]) -> tuple[Any, int]:
    """Return the response of a search, and how many chunks of the messages' words it read."""

    def count() -> int:
        row = connection.execute(
            "select sum(t.idx_tup_fetch)::bigint from pg_class c"
            " join pg_stat_xact_all_tables t on t.relid = c.reltoastrelid where c.relname like 'message_words_%'"
        ).fetchone()
        assert row is not None
        return int(row[0] or 0)

    before = count()
    response = search()
    return response, count() - before


@pytest.mark.parametrize("search", ["hello", PHRASE, f'"{PHRASE}"', f'absent or "{PHRASE}"'])
def test_search_reads_no_long_values_of_other_users(long_messages: tuple[Connection, str, str], search: str) -> None:
    connection, user, _ = long_messages
    response, read = chunks_read(connection, lambda: call(connection, new_user(), "search", search=search))
    assert (response["total"], read) == (0, 0)
    assert call(connection, user, "search", search=search)["total"] == MESSAGES


@pytest.mark.parametrize("search", ["absent", '"absent words"', "word7", "-hello"])
def test_search_does_not_scan_long_messages(long_messages: tuple[Connection, str, str], search: str) -> None:
    connection, user, chat = long_messages
    total = int(search == "word7")
    for function, arguments in (("list_messages", [chat]), ("search", [])):
        response, read = chunks_read(connection, partial(call, connection, user, function, *arguments, search=search))
        assert response["total"] == total
        assert read <= 1_000_000 / CHUNK + 1  # up to parley.max_scan_bytes(), a tenth of all


@pytest.mark.parametrize("search", [PHRASE, f'hello "{PHRASE}"', f'-absent "{PHRASE}"', f'hello -"{PHRASE[::-1]}"'])
def test_phrase_search_reads_only_the_text(long_messages: tuple[Connection, str, str], search: str) -> None:
    connection, user, _ = long_messages
    row = connection.execute("select octet_length((rules.search_document(%s)).words)", [f"hello {'𠮷' * 18_000}"])
    size = row.fetchone()
    assert size is not None
    response, read = chunks_read(connection, lambda: call(connection, user, "search", search=search, limit="1"))
    assert response["total"] == MESSAGES
    assert MESSAGES <= read <= MESSAGES * (size[0] / CHUNK + 2)  # each once; tsv has three times as many
