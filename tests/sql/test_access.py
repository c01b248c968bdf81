"""Row-level security, who by verb by table: as the API's role with plain SQL, without the API's functions.

Each statement is tried by everybody, and by a DBA, whom nothing holds back: what is denied is there to be had.
"""

import psycopg
import pytest
from psycopg import sql

from api.dev.postgres import Postgres
from tests.database import Connection, call, expect_error, new_chat
from tests.tokens import new_user

WHO = ("owner", "member", "stranger", "intruder", "nobody")  # an intruder is a stranger who claims to be in the chat

# Rows that each of WHO may touch, and those that a DBA does. $ names are filled in by `world`.
MATRIX: dict[str, tuple[str, tuple[int, int, int, int, int], int]] = {
    "chats select": ("select from parley.chats where id = {chat}", (1, 1, 0, 0, 0), 1),
    "chats insert": ("insert into parley.chats (title) values ('new')", (1, 1, 1, 1, 0), 1),
    "chats update": ("update parley.chats set title = 'new' where id = {chat}", (1, 0, 0, 0, 0), 1),
    "chats update owner": ("update parley.chats set owner_id = {member} where id = {chat}", (0, 0, 0, 0, 0), 1),
    "chats delete": ("delete from parley.chats where id = {chat}", (1, 0, 0, 0, 0), 1),
    "members select": ("select from parley.members where chat_id = {chat}", (2, 2, 0, 0, 0), 2),
    "members insert other": (
        "insert into parley.members (chat_id, user_id) values ({chat}, {newcomer})", (1, 0, 0, 0, 0), 1),
    "members insert self": (
        "insert into parley.members (chat_id, user_id) values ({chat}, {stranger})", (1, 0, 0, 0, 0), 1),
    "members update": ("update parley.members set joined_at = now() where chat_id = {chat}", (0, 0, 0, 0, 0), 2),
    "members delete owner": (
        "delete from parley.members where chat_id = {chat} and user_id = {owner}", (0, 0, 0, 0, 0), 1),
    "members delete member": (
        "delete from parley.members where chat_id = {chat} and user_id = {member}", (1, 1, 0, 0, 0), 1),
    "members delete all": ("delete from parley.members where chat_id = {chat}", (1, 1, 0, 0, 0), 2),
    "messages select": ("select from parley.messages where chat_id = {chat}", (2, 2, 0, 0, 0), 2),
    "messages insert": (
        "insert into parley.messages (chat_id, content) values ({chat}, 'new')", (1, 1, 0, 0, 0), 1),
    "messages insert as": (
        "insert into parley.messages (chat_id, content, user_id) values ({chat}, 'new', {owner})",
        (0, 0, 0, 0, 0), 1),
    "messages update own": (
        "update parley.messages set content = 'new' where chat_id = {chat} and user_id = {me}", (1, 1, 0, 0, 0), 1),
    "messages update": ("update parley.messages set content = 'new' where chat_id = {chat}", (1, 1, 0, 0, 0), 2),
    "messages update user": ("update parley.messages set user_id = {me} where chat_id = {chat}", (0, 0, 0, 0, 0), 2),
    "messages delete": ("delete from parley.messages where chat_id = {chat}", (2, 1, 0, 0, 0), 2),
    "settings select": ("select from parley.settings where user_id = {owner}", (1, 0, 0, 0, 0), 1),
    "settings insert": (
        "insert into parley.settings (theme) values ('dark')", (0, 0, 0, 0, 0), 1),
    "settings update": ("update parley.settings set theme = 'dark' where user_id = {owner}", (1, 0, 0, 0, 0), 1),
    "settings update premium": (
        "update parley.settings set is_premium = true where user_id = {owner}", (0, 0, 0, 0, 0), 1),
    "settings delete": ("delete from parley.settings where user_id = {owner}", (0, 0, 0, 0, 0), 1),
    "users select": ("select from next_auth.users where id = {owner}", (1, 0, 0, 0, 0), 1),
    "users select all": ("select from next_auth.users where id in ({owner}, {member})", (1, 1, 0, 0, 0), 2),
    "users insert": ("insert into next_auth.users (id) values ('new user')", (0, 0, 0, 0, 0), 1),
    "users update": ("update next_auth.users set name = 'new' where id = {owner}", (0, 0, 0, 0, 0), 1),
    "users delete": ("delete from next_auth.users where id = {owner}", (0, 0, 0, 0, 0), 1),
    "accounts select": ('select from next_auth.accounts where "userId" = {owner}', (0, 0, 0, 0, 0), 1),
    "accounts insert": (
        'insert into next_auth.accounts ("userId", type, provider, "providerAccountId")'
        " values ({me}, 'oauth', 'x', 'new')", (0, 0, 0, 0, 0), 1),
    "accounts update": ('update next_auth.accounts set scope = null where "userId" = {owner}', (0, 0, 0, 0, 0), 1),
    "accounts delete": ('delete from next_auth.accounts where "userId" = {owner}', (0, 0, 0, 0, 0), 1),
    "sessions select": ('select from next_auth.sessions where "userId" = {owner}', (0, 0, 0, 0, 0), 1),
    "sessions insert": (
        'insert into next_auth.sessions ("userId", expires, "sessionToken") values ({me}, now(), \'new\')',
        (0, 0, 0, 0, 0), 1),
    "sessions update": ('update next_auth.sessions set expires = now() where "userId" = {owner}', (0, 0, 0, 0, 0), 1),
    "sessions delete": ('delete from next_auth.sessions where "userId" = {owner}', (0, 0, 0, 0, 0), 1),
    "verification_token select": (
        "select from next_auth.verification_token where identifier = {owner}", (0, 0, 0, 0, 0), 1),
    "verification_token insert": (
        "insert into next_auth.verification_token values ('new', now(), 'new')", (0, 0, 0, 0, 0), 1),
    "verification_token update": (
        "update next_auth.verification_token set token = 'new' where identifier = {owner}", (0, 0, 0, 0, 0), 1),
    "verification_token delete": (
        "delete from next_auth.verification_token where identifier = {owner}", (0, 0, 0, 0, 0), 1),
    "image_cleanup select": ("select from parley.image_cleanup where name = {owner}", (0, 0, 0, 0, 0), 1),
    "image_cleanup insert": ("insert into parley.image_cleanup (name) values ('new')", (0, 0, 0, 0, 0), 1),
    "image_cleanup update": ("update parley.image_cleanup set due = now() where name = {owner}", (0, 0, 0, 0, 0), 1),
    "image_cleanup delete": ("delete from parley.image_cleanup where name = {owner}", (0, 0, 0, 0, 0), 1),
    "outbox select": ("select from parley.outbox where chat_id = {chat}", (0, 0, 0, 0, 0), 4),
    "outbox insert": (
        "insert into parley.outbox (chat_id, seq, event, payload) values ({chat}, 99, 'new', '1')",
        (0, 0, 0, 0, 0), 1),
    "outbox update": ("update parley.outbox set payload = '1' where chat_id = {chat}", (0, 0, 0, 0, 0), 4),
    "outbox delete": ("delete from parley.outbox where chat_id = {chat}", (0, 0, 0, 0, 0), 4),
    "outbox_queue select": ("select from parley.outbox_queue where id = {event}", (0, 0, 0, 0, 0), 1),
    "outbox_queue insert": ("insert into parley.outbox_queue values (0, {chat})", (0, 0, 0, 0, 0), 1),
    "outbox_queue update": ("update parley.outbox_queue set id = 0 where id = {event}", (0, 0, 0, 0, 0), 1),
    "outbox_queue delete": ("delete from parley.outbox_queue where id = {event}", (0, 0, 0, 0, 0), 1),
    "message_words select": ("select from parley.message_words where chat_id = {chat}", (0, 0, 0, 0, 0), 2),
    "message_words insert": (
        "insert into parley.message_words values ({chat}, {other_chat}, 'text', 'new')", (0, 0, 0, 0, 0), 1),
    "message_words update": ("update parley.message_words set tsv = 'new' where chat_id = {chat}", (0, 0, 0, 0, 0), 2),
    "letter_variants select": ("select from parley.letter_variants where letter = 'a'", (0, 0, 0, 0, 0), 1),
    "letter_variants insert": ("insert into parley.letter_variants values ('x0', 'x')", (0, 0, 0, 0, 0), 1),
    "letter_variants update": (
        "update parley.letter_variants set variants = 'a' where letter = 'a'", (0, 0, 0, 0, 0), 1),
    "letter_variants delete": ("delete from parley.letter_variants where letter = 'a'", (0, 0, 0, 0, 0), 1),
    "message_words delete": ("delete from parley.message_words where chat_id = {chat}", (0, 0, 0, 0, 0), 2),
    "message_blocks select": ("select from parley.message_blocks where chat_id = {chat}", (0, 0, 0, 0, 0), 1),
    "message_blocks insert": (
        "insert into parley.message_blocks values ({chat}, {other_chat}, {other_chat}, 1, '{{}}')", (0, 0, 0, 0, 0), 1),
    "message_blocks update": (
        "update parley.message_blocks set messages = 9 where chat_id = {chat}", (0, 0, 0, 0, 0), 1),
    "message_blocks delete": ("delete from parley.message_blocks where chat_id = {chat}", (0, 0, 0, 0, 0), 1),
    "deleted_users select": ("select from parley.deleted_users where user_id = {deleted}", (0, 0, 0, 0, 0), 1),
    "deleted_users insert": ("insert into parley.deleted_users (user_id) values ('new')", (0, 0, 0, 0, 0), 1),
    "deleted_users update": (
        "update parley.deleted_users set deleted_at = now() where user_id = {deleted}", (0, 0, 0, 0, 0), 1),
    "deleted_users delete": ("delete from parley.deleted_users where user_id = {deleted}", (0, 0, 0, 0, 0), 1),
    "idempotency_keys select": ("select from parley.idempotency_keys where user_id = {owner}", (0, 0, 0, 0, 0), 1),
    "idempotency_keys insert": (
        "insert into parley.idempotency_keys (user_id, key, fingerprint, response) values ({me}, 'new', '', '1')",
        (0, 0, 0, 0, 0), 1),
    "idempotency_keys update": (
        "update parley.idempotency_keys set response = '1' where user_id = {owner}", (0, 0, 0, 0, 0), 1),
    "idempotency_keys delete": ("delete from parley.idempotency_keys where user_id = {owner}", (0, 0, 0, 0, 0), 1),
    "repeatable_migrations select": ("select from parley.repeatable_migrations limit 1", (0, 0, 0, 0, 0), 1),
    "repeatable_migrations insert": ("insert into parley.repeatable_migrations values ('new', '')", (0, 0, 0, 0, 0), 1),
    "repeatable_migrations update": (
        "update parley.repeatable_migrations set checksum = '' where name = 'functions'", (0, 0, 0, 0, 0), 1),
    "repeatable_migrations delete": (
        "delete from parley.repeatable_migrations where name = 'functions'", (0, 0, 0, 0, 0), 1),
}  # fmt: skip

# What is counted for analysts, each table with a column of it and two rows: one that is there in `world`, and another.
ROLLUPS = {
    "rollup_periods": ("messages", "'day', '2026-01-01', 1, 1, 0, 0, 1, 1", "'day', '2026-01-02', 1, 1, 0, 0, 1, 1"),
    "rollup_active_keys": ("kind", "'day', '2026-01-01', 'user', {chat}", "'day', '2026-01-02', 'user', {chat}"),
    "rollup_users": (
        "messages",
        "{chat}, '2026-01-01', '2026-01-01', 1",
        "{other_chat}, '2026-01-01', '2026-01-01', 1",
    ),
    "rollup_chats": (
        "messages",
        "{chat}, '2026-01-01', '2026-01-01', 1",
        "{other_chat}, '2026-01-01', '2026-01-01', 1",
    ),
    "rollup_retention": ("users", "'2026-01-01', '2026-01-01', 1", "'2026-01-01', '2026-01-08', 1"),
    "rollup_responses": ("responses", "'2026-01-01', 1, 1", "'2026-01-01', 2, 1"),
    "rollup_chat_sizes": ("chats", "0, 0, 1, 0, 0, 0, 1", "0, 1, 1, 0, 1, 0, 1"),
    "rollup_settings": ("users", "'theme', 'dark', 5", "'theme', 'light', 5"),
    "rollup_state": ("as_of", "true", "true"),
    "pseudonym_key": ("inner_key", "true, '', ''", "true, '', ''"),
    "outbox_state": ("removed_until", "true", "true"),
    "limits": ("members_per_chat", "true", "true"),
}
for _table, (_column, _, _row) in ROLLUPS.items():
    _again = " on conflict (id) do update set id = true" if _row.startswith("true") else ""  # of these there is one row
    for _verb, _statement in {
        "select": f"select from parley.{_table}",
        "insert": f"insert into parley.{_table} values ({_row}){_again}",
        "update": f"update parley.{_table} set {_column} = {_column}",
        "delete": f"delete from parley.{_table}",
    }.items():
        MATRIX[f"{_table} {_verb}"] = (_statement, (0, 0, 0, 0, 0), 1)


@pytest.fixture
def world(dba: Connection) -> dict[str, str]:
    """A chat of an owner and a member with a message of each, and somebody outside it."""
    names = {name: new_user(name) for name in ("owner", "member", "stranger", "newcomer", "deleted")}
    chat = new_chat(dba, names["owner"], names["member"])
    other_chat = new_chat(dba, names["stranger"])
    for name in ("newcomer", "deleted"):
        call(dba, names[name], "list_chats")
    dba.execute("delete from next_auth.users where id = %s", [names["deleted"]])
    for author in ("owner", "member"):
        call(dba, names[author], "send_message", chat, {"content": f"a word of the {author}"})
    dba.execute("insert into parley.message_blocks values (%s, %s, %s, 2, '{}')", [chat, chat, chat])
    dba.execute("delete from parley.settings where user_id = %s", [names["newcomer"]])
    dba.execute("insert into parley.image_cleanup (name) values (%s)", [names["owner"]])
    answer = "insert into parley.idempotency_keys (user_id, key, fingerprint, response) values (%s, 'key', '', '1')"
    dba.execute(answer, [names["owner"]])
    dba.execute(
        'insert into next_auth.accounts ("userId", type, provider, "providerAccountId")'
        " values (%s, 'oauth', 'x', %s)",
        [names["owner"], names["owner"]],
    )
    dba.execute(
        'insert into next_auth.sessions ("userId", expires, "sessionToken") values (%s, now(), %s)',
        [names["owner"], names["owner"]],
    )
    dba.execute("insert into next_auth.verification_token values (%s, now(), 'token')", [names["owner"]])
    for table, (_, values, _) in ROLLUPS.items():
        query = sql.SQL(f"insert into parley.{table} values ({values}) on conflict do nothing")
        dba.execute(query.format(chat=sql.Literal(chat)))
    row = dba.execute("select max(id)::text from parley.outbox where chat_id = %s", [chat]).fetchone()
    assert row is not None
    return {**names, "chat": chat, "other_chat": other_chat, "event": row[0]}


def become(connection: Connection, who: str, world: dict[str, str]) -> str:
    """Sets the settings as this one could; answers the user's id."""
    user = {"intruder": world["stranger"], "nobody": ""}.get(who, world.get(who, ""))
    connection.execute("select set_config('parley.user_id', %s, true)", [user])
    chat = "" if who == "stranger" else world["chat"]
    connection.execute("select set_config('parley.selected_chat', %s, true)", [chat])
    return user


def touched(connection: Connection, statement: str, values: dict[str, str]) -> int:
    """How many rows a statement reads or writes; none if it is refused. It is rolled back."""
    query = sql.SQL(statement).format(**{name: sql.Literal(value) for name, value in values.items()})
    try:
        with connection.transaction(force_rollback=True):
            return connection.execute(query).rowcount
    except psycopg.errors.InsufficientPrivilege:
        return 0


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


def test_the_web_app_calls_no_function(dba: Connection) -> None:
    dba.execute("set local role parley_web")
    for function in (
        "api.list_chats()",
        "session.user_id()",
        "session.authenticate('{}')",
        "session.user_of_session('[]')",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), dba.transaction():
            dba.execute(f"select {function}")


def test_the_matrix_has_every_table_and_verb(dba: Connection) -> None:
    tables = dba.execute(
        "select relname from pg_class"
        " where relnamespace in ('parley'::regnamespace, 'next_auth'::regnamespace) and relkind in ('r', 'p')"
        " and not relispartition"
    ).fetchall()
    wanted = {(table, verb) for (table,) in tables for verb in ("select", "insert", "update", "delete")}
    assert wanted == {(name.split()[0], name.split()[1]) for name in MATRIX}


@pytest.mark.parametrize("who", ["stranger", "intruder", "nobody"])
def test_no_function_tells_of_a_chat_to_who_is_not_in_it(dba: Connection, world: dict[str, str], who: str) -> None:
    questions = [
        "select session.selected_chat()",
        "select parley.set_response_chat_seq()",
        "select from session.member_chats() c where c = {chat}::uuid",
        "select where session.is_chat_owner({chat})",
        "select from parley.members_json()",
        "select unnest(ids) from parley.find_message_page({filter}, {page})",
        "select where (parley.find_message_page({filter}, {page})).total > 0",
        "select where parley.count_messages({chat}, {filter}) > 0",
        "select unnest(ids) from parley.search_chat(parley.parse_search('word'), {filter}, {page})",
        "select unnest(ids) from parley.search_chats(parley.parse_search('word'), {filter}, {page})",
        "select unnest(ids) from parley.search_by_relevance({chat}, parley.parse_search('word'), {filter}, {page})",
        "select unnest(chats) from parley.find_chat_page({page})",
        "select json_array_elements(events) from parley.find_chat_events(0, 100)",
        "select c from unnest((parley.find_new_events('1:1:', '701:701:', {chat}, 0, 9)).chats) c where c = {chat}",
    ]
    zero, high = "0" * 32, "f" * 32
    dba.execute("update parley.outbox set transaction_id = '700'")  # as if it had been committed
    values = world | {"filter": f"(,{zero},{high})", "page": f"(1,100,0,{zero},{high},f)"}

    def answers(name: str) -> list[int]:
        dba.execute("set local role app")
        become(dba, name, world)
        rows = []
        for question in questions:
            query = sql.SQL(question).format(**{k: sql.Literal(v) for k, v in values.items()})
            rows.append(len([row for row in dba.execute(query).fetchall() if row != (None,)]))
        dba.execute("reset role")
        return rows

    assert answers("owner") == [1, 1, 1, 1, 2, 2, 1, 1, 2, 2, 2, 1, 4, 4]
    unseen = 1 if who in ("stranger", "intruder") else 0  # their own chat
    assert answers(who) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, unseen, 0, 0]


def test_a_session_without_a_user_calls_nothing(dba: Connection, world: dict[str, str]) -> None:
    statements = {
        "select api.get_chat({chat})": 404,
        "select api.list_messages({chat})": 404,
        "select api.list_members({chat})": 404,
        'select api.send_message({chat}, \'{{"content": "x"}}\')': 404,
        'select api.create_chat(\'{{"title": "x"}}\')': None,
    }
    dba.execute("set local role app")
    for statement, status in statements.items():
        query = sql.SQL(statement).format(chat=sql.Literal(world["chat"]))
        become(dba, "owner", world)
        with dba.transaction():
            assert dba.execute(query).rowcount == 1
        become(dba, "nobody", world)
        if status:
            with expect_error(status), dba.transaction():
                dba.execute(query)
        else:
            with pytest.raises(psycopg.errors.InsufficientPrivilege), dba.transaction():
                dba.execute(query)
    assert dba.execute("select api.list_chats() ->> 'total'").fetchone() == ("0",)


def test_the_user_is_forgotten_with_the_transaction(postgres: Postgres, shared_database: str) -> None:
    user = new_user()
    with psycopg.connect(postgres.url(shared_database, "app", "app"), autocommit=True) as connection:
        with connection.transaction():
            new_chat(connection, user)
            assert connection.execute("select session.user_id()").fetchone() == (user,)
            assert connection.execute("select count(*) from parley.chats").fetchone() == (1,)
        assert connection.execute("select session.user_id()").fetchone() == (None,)
        assert connection.execute("select count(*) from parley.chats").fetchone() == (0,)


def test_a_type_of_ones_own_is_not_taken_for_postgresqls(dba: Connection, world: dict[str, str]) -> None:
    dba.execute("set local role app")
    become(dba, "stranger", world)
    dba.execute(
        "create function pg_temp.trap(v pg_catalog.uuid) returns boolean language plpgsql as"
        " $$ begin if current_user <> 'app' then raise 'trapped'; end if; return true; end $$"
    )
    dba.execute("create domain pg_temp.uuid as pg_catalog.uuid check (pg_temp.trap(value))")
    dba.execute("create domain pg_temp.text as pg_catalog.text check (pg_temp.trap(gen_random_uuid()))")
    dba.execute("select set_config('parley.selected_chat', %s, true)", [world["chat"]])
    dba.execute("select session.selected_chat(), session.is_chat_owner(gen_random_uuid())")
    assert call(dba, world["stranger"], "list_messages", world["other_chat"], search="word")["total"] == 0
    call(dba, world["stranger"], "send_message", world["other_chat"], {"content": "word"})
