"""Functions in plain SQL, as the API's role or the web app's: none returns a chat to a user who is not a member."""

import psycopg
import pytest
from psycopg import sql

from api.dev.postgres import Postgres
from tests.database import Connection, call, expect_error, new_chat
from tests.sql.access_matrix import authenticate_as
from tests.tokens import new_user


def test_web_app_cannot_call_functions(dba: Connection) -> None:
    dba.execute("set local role parley_web")
    for function in (
        "api.list_chats()",
        "session.user_id()",
        "session.authenticate('{}')",
        "session.user_of_session('[]')",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), dba.transaction():
            dba.execute(f"select {function}")


LARGE_OBJECT_CALLS = (
    "lo_creat(-1)",
    "lo_create(1)",
    "lo_from_bytea(0, '\\x00')",
    "lo_put(1, 0, '\\x00')",
    "lo_open(1, 131072)",
    "lowrite(0, '\\x00')",
    "lo_truncate(0, 1)",
    "lo_import('/etc/hostname')",
    "lo_export(1, '/tmp/x')",
    "lo_get(1)",
)


@pytest.mark.parametrize("role", ["pg_monitor", "app", "events", "web", "parley_analyst"])
def test_only_superusers_can_use_large_objects(dba: Connection, role: str) -> None:
    functions = dba.execute(
        "select p.oid::regprocedure from pg_proc p where p.proname ~ '^lo_|^loread$|^lowrite$'"
        " and pg_function_is_visible(p.oid)"
    ).fetchall()
    assert len(functions) >= 18
    dba.execute(f"set local role {role}")
    for function in LARGE_OBJECT_CALLS:
        with pytest.raises(psycopg.errors.InsufficientPrivilege), dba.transaction():
            dba.execute(f"select {function}")
    for (function,) in functions:
        assert dba.execute("select has_function_privilege(%s, 'execute')", [function]).fetchone() == (False,)
    dba.execute("reset role")
    assert dba.execute("select lo_from_bytea(0, '\\x00') > 0::oid").fetchone() == (True,)


@pytest.mark.parametrize("actor", ["stranger", "intruder", "anonymous"])
def test_no_function_returns_a_chat_to_other_users_than_its_members(
    dba: Connection, example_ids: dict[str, str], actor: str
) -> None:
    queries = [
        "select session.selected_chat()",
        "select seq from parley.set_chat_seq_header()",
        "select from session.user_chats() c where c = {chat}::uuid",
        "select where session.is_chat_owner({chat})",
        "select from parley.members_json(array[{owner}, {member}])",
        "select unnest(users) from parley.find_member_page({page}, null)",
        "select where (parley.find_member_page({page}, null)).total > 0",
        "select unnest(ids) from parley.find_message_page({filter}, {page})",
        "select where (parley.find_message_page({filter}, {page})).total > 0",
        "select where parley.count_messages({chat}, {filter}) > 0",
        "select unnest(ids) from parley.search_chat(parley.parse_search('word'), {filter}, {page})",
        "select unnest(ids) from parley.search_chats(parley.parse_search('word'), {filter}, {page})",
        "select unnest(ids) from parley.search_by_relevance({chat}, parley.parse_search('word'), {filter}, {page})",
        "select unnest(chats) from parley.find_chat_page({page})",
        "select json_array_elements(events) from parley.find_chat_events(0, 100, null)",
        "select c from unnest((parley.find_new_events('1:1:', '701:701:', {chat}, 0, 9, null)).chats) c"
        " where c = {chat}",
    ]
    zero, high = "0" * 32, "f" * 32
    dba.execute("update parley.outbox set transaction_id = '700'")  # as if it had been committed
    values = example_ids | {"filter": f"(,{zero},{high})", "page": f"(1,100,0,{zero},{high},f)"}

    def count_results(name: str) -> list[int]:
        dba.execute("set local role app")
        authenticate_as(dba, name, example_ids)
        rows = []
        for text in queries:
            query = sql.SQL(text).format(**{k: sql.Literal(v) for k, v in values.items()})
            rows.append(len([row for row in dba.execute(query).fetchall() if row != (None,)]))
        dba.execute("reset role")
        return rows

    assert count_results("owner") == [1, 1, 1, 1, 2, 2, 1, 2, 1, 1, 2, 2, 2, 1, 4, 4]
    own_chats = 1 if actor in ("stranger", "intruder") else 0
    assert count_results(actor) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, own_chats, 0, 0]


def test_functions_reject_a_session_without_a_user(dba: Connection, example_ids: dict[str, str]) -> None:
    statements = {
        "select api.get_chat({chat})": 404,
        "select api.list_messages({chat})": 404,
        "select api.list_members({chat})": 404,
        'select api.send_message({chat}, \'{{"content": "x"}}\')': 404,
        'select api.create_chat(\'{{"title": "x"}}\')': None,
    }
    dba.execute("set local role app")
    for statement, status in statements.items():
        query = sql.SQL(statement).format(chat=sql.Literal(example_ids["chat"]))
        authenticate_as(dba, "owner", example_ids)
        with dba.transaction():
            assert dba.execute(query).rowcount == 1
        authenticate_as(dba, "anonymous", example_ids)
        if status:
            with expect_error(status), dba.transaction():
                dba.execute(query)
        else:
            with pytest.raises(psycopg.errors.InsufficientPrivilege), dba.transaction():
                dba.execute(query)
    assert dba.execute("select api.list_chats() ->> 'total'").fetchone() == ("0",)


def test_user_is_reset_at_the_end_of_the_transaction(postgres: Postgres, shared_database: str) -> None:
    user = new_user()
    with psycopg.connect(postgres.url(shared_database, "app", "app"), autocommit=True) as connection:
        with connection.transaction():
            new_chat(connection, user)
            assert connection.execute("select session.user_id()").fetchone() == (user,)
            assert connection.execute("select count(*) from parley.chats").fetchone() == (1,)
        assert connection.execute("select session.user_id()").fetchone() == (None,)
        assert connection.execute("select count(*) from parley.chats").fetchone() == (0,)


def test_temporary_types_do_not_shadow_those_of_postgresql(dba: Connection, example_ids: dict[str, str]) -> None:
    dba.execute("set local role app")
    authenticate_as(dba, "stranger", example_ids)
    dba.execute(
        "create function pg_temp.trap(v pg_catalog.uuid) returns boolean language plpgsql as"
        " $$ begin if current_user <> 'app' then raise 'trapped'; end if; return true; end $$"
    )
    dba.execute("create domain pg_temp.uuid as pg_catalog.uuid check (pg_temp.trap(value))")
    dba.execute("create domain pg_temp.text as pg_catalog.text check (pg_temp.trap(gen_random_uuid()))")
    dba.execute("select set_config('parley.selected_chat', %s, true)", [example_ids["chat"]])
    dba.execute("select session.selected_chat(), session.is_chat_owner(gen_random_uuid())")
    assert call(dba, example_ids["stranger"], "list_messages", example_ids["other_chat"], search="word")["total"] == 0
    call(dba, example_ids["stranger"], "send_message", example_ids["other_chat"], {"content": "word"})
