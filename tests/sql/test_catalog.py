"""What must hold for every object, present and future: read from the catalogs."""

import re

from tests import ROOT
from tests.database import Connection

OURS = "('next_auth', 'rules', 'parley', 'session', 'api', 'listener', 'analytics')"


def names(connection: Connection, query: str) -> list[str]:
    """The first column of a query."""
    return [str(row[0]) for row in connection.execute(query).fetchall()]


def functions(where: str) -> str:
    """A query for functions of ours."""
    return f"""
        select p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname in {OURS} and {where}"""


def test_every_table_has_row_level_security(dba: Connection) -> None:
    tables = (
        f"select oid::regclass from pg_class where relnamespace::regnamespace::text in {OURS} and relkind in ('r', 'p')"
    )
    assert len(names(dba, tables)) > 8
    assert names(dba, f"{tables} and not relrowsecurity") == []


def test_a_definer_function_has_its_search_path_set(dba: Connection) -> None:
    assert len(names(dba, functions("prosecdef"))) > 5
    assert (
        names(dba, functions("prosecdef and not coalesce('search_path=pg_catalog, pg_temp' = any (proconfig), false)"))
        == []
    )


def test_a_plpgsql_function_has_its_search_path_set(dba: Connection) -> None:
    plpgsql = "prolang = (select oid from pg_language where lanname = 'plpgsql')"
    assert len(names(dba, functions(plpgsql))) > 20
    assert (
        names(dba, functions(f"{plpgsql} and not coalesce('search_path=pg_catalog, pg_temp' = any (proconfig), false)"))
        == []
    )


def test_what_a_table_checks_by_is_not_planned_at_each_insert(dba: Connection) -> None:
    in_tables = f"""
        select distinct p.oid::regprocedure from pg_depend d join pg_proc p on p.oid = d.refobjid
            join pg_language l on l.oid = p.prolang
        where d.refclassid = 'pg_proc'::regclass and p.pronamespace::regnamespace::text in {OURS}
          and d.classid in ('pg_constraint'::regclass, 'pg_attrdef'::regclass)"""
    assert names(dba, f"{in_tables} and l.lanname = 'plpgsql' order by 1") == [
        "rules.validation_error(text,text)", "rules.uuid7_timestamp(uuid)",
    ]  # fmt: skip
    assert names(dba, f"{in_tables} and l.lanname = 'sql'") == []


def test_nobody_may_put_a_trigger_function_of_ours_on_a_table_of_theirs(dba: Connection) -> None:
    triggers = "prorettype = 'trigger'::regtype"
    assert len(names(dba, functions(triggers))) > 5
    assert names(dba, functions(f"{triggers} and has_function_privilege('parley_api', p.oid, 'execute')")) == []


def test_repeatable_migrations_lock_every_table(dba: Connection) -> None:
    tables = names(
        dba,
        f"select relnamespace::regnamespace || '.' || relname from pg_class"
        f" where relnamespace::regnamespace::text in {OURS} and relkind in ('r', 'p') and not relispartition",
    )
    text = (ROOT / "sql" / "migrations" / "repeatable.py").read_text()
    locks = re.search(r"lock table (.*?)\s+in access", text, flags=re.DOTALL)
    assert locks
    assert set(re.split(r",\s+", locks[1])) == set(tables)


def test_every_function_of_an_interface_is_described(dba: Connection) -> None:
    api = "n.nspname in ('api', 'listener')"
    assert len(names(dba, functions(api))) > 14
    assert names(dba, functions(f"{api} and obj_description(p.oid) is null")) == []


def test_a_description_names_its_function_with_its_parameters() -> None:
    # While functions are loaded, there may be an older one of the same name.
    for file in (ROOT / "sql" / "functions").glob("*.sql"):
        assert not re.findall(r"^comment on function [\w.]+ is", file.read_text(), flags=re.MULTILINE), file


def test_no_name_stands_for_two_functions(dba: Connection) -> None:
    assert names(dba, f"""
        select n.nspname || '.' || p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname in {OURS} group by 1 having count(*) > 1""") == []  # fmt: skip


def test_a_read_is_stable_and_a_write_volatile(dba: Connection) -> None:
    # Except api.get_profile and api.get_settings, whose user may have been registered by the same statement.
    reads = names(dba, functions("n.nspname = 'api' and provolatile = 's'"))
    assert sorted(r.split(".")[1].split("_")[0].split("(")[0] for r in reads) == sorted(
        ["check", "get", "get", "get", "list", "list", "list", "list", "list", "parse", "search"]
    )


def test_every_table_and_schema_is_described(dba: Connection) -> None:
    assert names(dba, f"""
        select oid::regclass from pg_class
        where relnamespace::regnamespace::text in {OURS} and relkind in ('r', 'p', 'v')
          and not relispartition and obj_description(oid, 'pg_class') is null""") == []  # fmt: skip
    assert (
        names(dba, f"select nspname from pg_namespace where nspname in {OURS} and obj_description(oid) is null") == []
    )


def test_every_column_of_a_table_or_view_is_described(dba: Connection) -> None:
    columns = f"""
        select c.oid::regclass || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
        where c.relnamespace::regnamespace::text in {OURS} and c.relkind in ('r', 'p', 'v') and not c.relispartition
          and a.attnum > 0"""
    assert len(names(dba, columns)) > 5
    assert names(dba, f"{columns} and col_description(c.oid, a.attnum) is null") == []


def test_public_has_nothing(dba: Connection) -> None:
    assert names(dba, functions("has_function_privilege('public', p.oid, 'execute')")) == []
    assert names(dba, f"select nspname from pg_namespace where nspname in {OURS}"
                      " and has_schema_privilege('public', oid, 'usage')") == []  # fmt: skip


def test_the_roles_own_nothing_bypass_nothing_and_cant_log_in(dba: Connection) -> None:
    roles = dba.execute(
        "select rolname from pg_roles where rolname ~ '^parley_' and not rolcanlogin and not rolsuper and not"
        " rolbypassrls and not rolcreaterole and not rolcreatedb and not rolreplication order by 1"
    ).fetchall()
    assert roles == [("parley_analyst",), ("parley_api",), ("parley_listener",), ("parley_web",)]
    owned = "select relname from pg_class where relowner in (select oid from pg_roles where rolname ~ '^parley_')"
    assert names(dba, owned) == []


def test_a_role_has_rights_on_the_tables_that_it_is_for(dba: Connection) -> None:
    def tables(role: str) -> set[str]:
        verbs = "'select,insert,update,references'"
        return set(names(dba, f"""
            select oid::regclass from pg_class
            where relnamespace::regnamespace::text in {OURS} and relkind in ('r', 'p', 'v')
              and (has_any_column_privilege('{role}', oid, {verbs})
                or has_table_privilege('{role}', oid, 'delete,truncate'))
        """))  # fmt: skip

    def schemas(role: str) -> set[str]:
        query = (
            f"select nspname from pg_namespace where nspname in {OURS} and has_schema_privilege('{role}', oid, 'usage')"
        )
        return set(names(dba, query))

    web = {f"next_auth.{name}" for name in ("users", "accounts", "sessions", "verification_token")}
    api = {"next_auth.users", *(f"parley.{name}" for name in ("chats", "members", "messages", "settings"))}
    assert (schemas("parley_web"), tables("parley_web")) == ({"next_auth"}, web)
    assert tables("parley_api") == api
    assert (schemas("parley_listener"), tables("parley_listener")) == ({"listener"}, set())
    assert schemas("parley_analyst") == {"analytics"}
    assert all(table.startswith("analytics.") for table in tables("parley_analyst"))
    assert not names(dba, "select policyname from pg_policies where 'public' = any (roles)")


def test_who_may_write_what_of_users(dba: Connection) -> None:
    def columns(role: str, verb: str) -> set[str]:
        query = f"""
            select attname from pg_attribute where attrelid = 'next_auth.users'::regclass and attnum > 0
              and has_column_privilege('{role}', attrelid, attnum, '{verb}')"""
        return set(names(dba, query))

    own = {"name", "email", "emailVerified", "image"}
    assert (columns("parley_web", "insert"), columns("parley_web", "update")) == (own | {"id"}, own)
    assert (columns("parley_api", "insert"), columns("parley_api", "update")) == (set(), set())


def test_every_foreign_key_has_an_index(dba: Connection) -> None:
    assert names(dba, f"""
        select conname from pg_constraint c
        where contype = 'f' and connamespace::regnamespace::text in {OURS} and not exists (
            select from pg_index i where i.indrelid = c.conrelid and i.indkey[0] = c.conkey[1])""") == []  # fmt: skip


def test_everything_in_sql_is_in_a_schema_of_ours(dba: Connection) -> None:
    strays = names(
        dba,
        """
        select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'm', 'S')""",
    )
    assert all("yoyo" in name for name in strays)


def test_what_belongs_to_a_chat_has_the_chat_in_its_keys(dba: Connection) -> None:
    # Except the outbox, whose ids are the order of all chats' events.
    keys = f"""
        select i.indexrelid::regclass from pg_index i join pg_class c on c.oid = i.indrelid
            join pg_attribute a on a.attrelid = c.oid and a.attname = 'chat_id'
        where c.relnamespace::regnamespace::text in {OURS} and not c.relispartition and i.indisunique"""
    assert len(names(dba, keys)) > 5
    assert names(dba, f"{keys} and a.attnum <> all (i.indkey) order by 1") == [
        "parley.outbox_pkey", "parley.outbox_queue_pkey",
    ]  # fmt: skip
