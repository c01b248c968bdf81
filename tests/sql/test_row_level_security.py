"""Row-level security by table and verb: plain SQL as the API's role, without the API's functions.

Every actor executes each statement, and so does a DBA, whom no policy restricts: so the denied rows exist.
"""

import psycopg
import pytest
from psycopg import sql

from tests.database import Connection
from tests.sql.access_matrix import ACTORS, MATRIX, affected_rows, authenticate_as


@pytest.mark.parametrize("name", MATRIX)
def test_actors_can_read_and_change_only_their_rows(dba: Connection, example_ids: dict[str, str], name: str) -> None:
    statement, expected, all_rows = MATRIX[name]
    found = []
    for actor in ACTORS:
        dba.execute("set local role app")
        me = authenticate_as(dba, actor, example_ids)
        found.append(affected_rows(dba, statement, example_ids | {"me": me}))
        dba.execute("reset role")
    assert dict(zip(ACTORS, found, strict=True)) == dict(zip(ACTORS, expected, strict=True))
    authenticate_as(dba, "newcomer", example_ids)
    me = example_ids["newcomer"] if "insert" in name else example_ids["owner"]
    assert affected_rows(dba, statement, example_ids | {"me": me}) == all_rows


@pytest.mark.parametrize("actor", ACTORS)
def test_no_actor_can_move_a_message_to_another_chat(dba: Connection, example_ids: dict[str, str], actor: str) -> None:
    move = "update parley.messages set chat_id = {other_chat} where chat_id = {chat}"
    with (
        pytest.raises(psycopg.errors.RaiseException),
        dba.transaction(),
    ):  # a DBA's attempt shows that there is a message
        dba.execute(sql.SQL(move).format(**{name: sql.Literal(value) for name, value in example_ids.items()}))
    dba.execute("set local role app")
    authenticate_as(dba, actor, example_ids)
    assert affected_rows(dba, move, example_ids) == 0


@pytest.mark.parametrize("name", MATRIX)
def test_web_app_can_access_only_the_tables_of_next_auth(
    dba: Connection, example_ids: dict[str, str], name: str
) -> None:
    statement, _, all_rows = MATRIX[name]
    values = example_ids | {"me": example_ids["newcomer"] if "insert" in name else example_ids["owner"]}
    authenticate_as(dba, "newcomer", example_ids)
    assert affected_rows(dba, statement, values) == all_rows
    dba.execute("set local role parley_web")
    assert affected_rows(dba, statement, values) == (all_rows if "next_auth." in statement else 0)


def test_matrix_covers_every_table_and_verb(dba: Connection) -> None:
    tables = dba.execute(
        "select relname from pg_class"
        " where relnamespace in ('parley'::regnamespace, 'next_auth'::regnamespace) and relkind in ('r', 'p')"
        " and not relispartition"
    ).fetchall()
    expected = {(table, verb) for (table,) in tables for verb in ("select", "insert", "update", "delete")}
    assert expected == {(name.split()[0], name.split()[1]) for name in MATRIX}
