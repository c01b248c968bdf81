"""Row-level security, who by verb by table: as the API's role with plain SQL, without the API's functions.

Each statement is tried by everybody, and by a DBA, whom nothing holds back: what is denied is there to be had.
"""

import psycopg
import pytest
from psycopg import sql

from tests.database import Connection
from tests.sql.access_matrix import MATRIX, WHO, become, touched


@pytest.mark.parametrize("name", MATRIX)
def test_row_level_security(dba: Connection, world: dict[str, str], name: str) -> None:
    statement, expected, everything = MATRIX[name]
    seen = []
    for who in WHO:
        dba.execute("set local role app")
        me = become(dba, who, world)
        seen.append(touched(dba, statement, world | {"me": me}))
        dba.execute("reset role")
    assert dict(zip(WHO, seen, strict=True)) == dict(zip(WHO, expected, strict=True))
    become(dba, "newcomer", world)
    own = world["newcomer"] if "insert" in name else world["owner"]
    assert touched(dba, statement, world | {"me": own}) == everything


@pytest.mark.parametrize("who", WHO)
def test_nobody_moves_a_message(dba: Connection, world: dict[str, str], who: str) -> None:
    moved = "update parley.messages set chat_id = {other_chat} where chat_id = {chat}"
    with pytest.raises(psycopg.errors.RaiseException), dba.transaction():  # there is something to move, even for a DBA
        dba.execute(sql.SQL(moved).format(**{name: sql.Literal(value) for name, value in world.items()}))
    dba.execute("set local role app")
    become(dba, who, world)
    assert touched(dba, moved, world) == 0


@pytest.mark.parametrize("name", MATRIX)
def test_the_web_app_has_its_own_tables(dba: Connection, world: dict[str, str], name: str) -> None:
    statement, _, everything = MATRIX[name]
    values = world | {"me": world["newcomer"] if "insert" in name else world["owner"]}
    become(dba, "newcomer", world)
    assert touched(dba, statement, values) == everything
    dba.execute("set local role parley_web")
    assert touched(dba, statement, values) == (everything if "next_auth." in statement else 0)


def test_the_matrix_has_every_table_and_verb(dba: Connection) -> None:
    tables = dba.execute(
        "select relname from pg_class"
        " where relnamespace in ('parley'::regnamespace, 'next_auth'::regnamespace) and relkind in ('r', 'p')"
        " and not relispartition"
    ).fetchall()
    wanted = {(table, verb) for (table,) in tables for verb in ("select", "insert", "update", "delete")}
    assert wanted == {(name.split()[0], name.split()[1]) for name in MATRIX}
