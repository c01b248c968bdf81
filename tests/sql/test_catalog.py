"""Rules for all objects of the database, read from the system catalogs."""

import re

from tests import ROOT
from tests.database import Connection

SCHEMAS = "('next_auth', 'rules', 'parley', 'session', 'api', 'listener', 'analytics')"


def names(connection: Connection, query: str) -> list[str]:
    """Return the first column of a query."""
    return [str(row[0]) for row in connection.execute(query).fetchall()]


def functions_query(where: str) -> str:
    """Return a query for the functions of Parley that match a condition."""
    return f"""
        select p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname in {SCHEMAS} and {where}"""


def test_every_table_has_row_level_security(dba: Connection) -> None:
    tables = (
        "select oid::regclass from pg_class"
        f" where relnamespace::regnamespace::text in {SCHEMAS} and relkind in ('r', 'p')"
    )
    assert len(names(dba, tables)) > 8
    assert names(dba, f"{tables} and not relrowsecurity") == []


def test_every_table_has_a_primary_key(dba: Connection) -> None:
    # Logical replication needs one to update and delete rows.
    tables = f"""
        select c.oid::regclass from pg_class c
        where relnamespace::regnamespace::text in {SCHEMAS} and relkind in ('r', 'p')"""
    assert len(names(dba, tables)) > 8
    key = "select from pg_index i where i.indrelid = c.oid and i.indisprimary and i.indisvalid"
    assert names(dba, f"{tables} and not exists ({key})") == []


def test_security_definer_functions_set_the_search_path(dba: Connection) -> None:
    assert len(names(dba, functions_query("prosecdef"))) > 5
    assert (
        names(
            dba,
            functions_query("prosecdef and not coalesce('search_path=pg_catalog, pg_temp' = any (proconfig), false)"),
        )
        == []
    )


def test_plpgsql_functions_set_the_search_path(dba: Connection) -> None:
    plpgsql = "prolang = (select oid from pg_language where lanname = 'plpgsql')"
    assert len(names(dba, functions_query(plpgsql))) > 20
    assert (
        names(
            dba,
            functions_query(f"{plpgsql} and not coalesce('search_path=pg_catalog, pg_temp' = any (proconfig), false)"),
        )
        == []
    )


def test_functions_of_constraints_and_generated_columns_are_plpgsql(dba: Connection) -> None:
    in_tables = f"""
        select distinct p.oid::regprocedure from pg_depend d join pg_proc p on p.oid = d.refobjid
            join pg_language l on l.oid = p.prolang
        where d.refclassid = 'pg_proc'::regclass and p.pronamespace::regnamespace::text in {SCHEMAS}
          and d.classid in ('pg_constraint'::regclass, 'pg_attrdef'::regclass)"""
    assert names(dba, f"{in_tables} and l.lanname = 'plpgsql' order by 1") == [
        "rules.validation_error(text,text)", "rules.uuid7_timestamp(uuid)",
    ]  # fmt: skip
    assert names(dba, f"{in_tables} and l.lanname = 'sql'") == []


def test_api_role_cannot_execute_trigger_functions(dba: Connection) -> None:
    triggers = "prorettype = 'trigger'::regtype"
    assert len(names(dba, functions_query(triggers))) > 5
    assert names(dba, functions_query(f"{triggers} and has_function_privilege('parley_api', p.oid, 'execute')")) == []


def test_repeatable_migrations_lock_every_table(dba: Connection) -> None:
    tables = names(
        dba,
        f"select relnamespace::regnamespace || '.' || relname from pg_class"
        f" where relnamespace::regnamespace::text in {SCHEMAS} and relkind in ('r', 'p') and not relispartition",
    )
    text = (ROOT / "sql" / "migrations" / "repeatable.py").read_text()
    locks = re.search(r"lock table (.*?)\s+in access", text, flags=re.DOTALL)
    assert locks
    assert set(re.split(r",\s+", locks[1])) == set(tables)


def test_every_function_of_api_and_listener_has_a_comment(dba: Connection) -> None:
    api = "n.nspname in ('api', 'listener')"
    assert len(names(dba, functions_query(api))) > 14
    assert names(dba, functions_query(f"{api} and obj_description(p.oid) is null")) == []


def test_comments_name_functions_with_their_parameters() -> None:
    # While functions are loaded, an older one of the same name may exist.
    for file in (ROOT / "sql" / "functions").glob("*.sql"):
        assert not re.findall(r"^comment on function [\w.]+ is", file.read_text(), flags=re.MULTILINE), file


def test_no_function_is_overloaded(dba: Connection) -> None:
    assert names(dba, f"""
        select n.nspname || '.' || p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname in {SCHEMAS} group by 1 having count(*) > 1""") == []  # fmt: skip


def test_reading_functions_of_api_are_stable(dba: Connection) -> None:
    # Except api.get_profile and api.get_settings, whose user may have been registered by the same statement.
    reads = names(dba, functions_query("n.nspname = 'api' and provolatile = 's'"))
    assert sorted(r.split(".")[1].split("_")[0].split("(")[0] for r in reads) == sorted(
        ["check", "get", "get", "get", "list", "list", "list", "list", "list", "parse", "search", "sync"]
    )


def test_every_table_view_and_schema_has_a_comment(dba: Connection) -> None:
    assert names(dba, f"""
        select oid::regclass from pg_class
        where relnamespace::regnamespace::text in {SCHEMAS} and relkind in ('r', 'p', 'v')
          and not relispartition and obj_description(oid, 'pg_class') is null""") == []  # fmt: skip
    assert (
        names(dba, f"select nspname from pg_namespace where nspname in {SCHEMAS} and obj_description(oid) is null")
        == []
    )


def test_every_column_has_a_comment(dba: Connection) -> None:
    columns = f"""
        select c.oid::regclass || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
        where c.relnamespace::regnamespace::text in {SCHEMAS} and c.relkind in ('r', 'p', 'v') and not c.relispartition
          and a.attnum > 0"""
    assert len(names(dba, columns)) > 5
    assert names(dba, f"{columns} and col_description(c.oid, a.attnum) is null") == []


def test_public_has_no_privileges(dba: Connection) -> None:
    assert names(dba, functions_query("has_function_privilege('public', p.oid, 'execute')")) == []
    assert names(dba, f"select nspname from pg_namespace where nspname in {SCHEMAS}"
                      " and has_schema_privilege('public', oid, 'usage')") == []  # fmt: skip


def test_roles_own_nothing_bypass_nothing_and_cannot_log_in(dba: Connection) -> None:
    roles = dba.execute(
        "select rolname from pg_roles where rolname ~ '^parley_' and not rolcanlogin and not rolsuper and not"
        " rolbypassrls and not rolcreaterole and not rolcreatedb and not rolreplication order by 1"
    ).fetchall()
    assert roles == [("parley_analyst",), ("parley_api",), ("parley_listener",), ("parley_web",)]
    owned = "select relname from pg_class where relowner in (select oid from pg_roles where rolname ~ '^parley_')"
    assert names(dba, owned) == []


def test_roles_have_privileges_only_on_their_tables(dba: Connection) -> None:
    def tables(role: str) -> set[str]:
        verbs = "'select,insert,update,references'"
        return set(names(dba, f"""
            select oid::regclass from pg_class
            where relnamespace::regnamespace::text in {SCHEMAS} and relkind in ('r', 'p', 'v')
              and (has_any_column_privilege('{role}', oid, {verbs})
                or has_table_privilege('{role}', oid, 'delete,truncate'))
        """))  # fmt: skip

    def schemas(role: str) -> set[str]:
        query = (
            "select nspname from pg_namespace"
            f" where nspname in {SCHEMAS} and has_schema_privilege('{role}', oid, 'usage')"
        )
        return set(names(dba, query))

    web = {f"next_auth.{name}" for name in ("users", "accounts", "sessions", "verification_token")}
    api = {
        "next_auth.users",
        *(f"parley.{name}" for name in ("chats", "members", "messages", "read_markers", "settings")),
    }
    assert (schemas("parley_web"), tables("parley_web")) == ({"next_auth"}, web)
    assert tables("parley_api") == api
    assert (schemas("parley_listener"), tables("parley_listener")) == ({"listener"}, set())
    assert schemas("parley_analyst") == {"analytics"}
    assert all(table.startswith("analytics.") for table in tables("parley_analyst"))
    assert not names(dba, "select policyname from pg_policies where 'public' = any (roles)")


def test_only_the_web_app_can_write_columns_of_users(dba: Connection) -> None:
    def columns(role: str, verb: str) -> set[str]:
        query = f"""
            select attname from pg_attribute where attrelid = 'next_auth.users'::regclass and attnum > 0
              and has_column_privilege('{role}', attrelid, attnum, '{verb}')"""
        return set(names(dba, query))

    updatable = {"name", "email", "emailVerified", "image"}
    assert (columns("parley_web", "insert"), columns("parley_web", "update")) == (updatable | {"id"}, updatable)
    assert (columns("parley_api", "insert"), columns("parley_api", "update")) == (set(), set())


def test_every_foreign_key_has_an_index(dba: Connection) -> None:
    assert names(dba, f"""
        select conname from pg_constraint c
        where contype = 'f' and connamespace::regnamespace::text in {SCHEMAS} and not exists (
            select from pg_index i where i.indrelid = c.conrelid and i.indkey[0] = c.conkey[1])""") == []  # fmt: skip


def test_public_schema_has_only_tables_of_yoyo(dba: Connection) -> None:
    relations = names(
        dba,
        """
        select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'm', 'S')""",
    )
    assert all("yoyo" in name for name in relations)


def test_unique_keys_of_tables_of_a_chat_include_the_chat(dba: Connection) -> None:
    # Except the outbox, whose ids are the order of all chats' events.
    keys = f"""
        select i.indexrelid::regclass from pg_index i join pg_class c on c.oid = i.indrelid
            join pg_attribute a on a.attrelid = c.oid and a.attname = 'chat_id'
        where c.relnamespace::regnamespace::text in {SCHEMAS} and not c.relispartition and i.indisunique"""
    assert len(names(dba, keys)) > 5
    assert names(dba, f"{keys} and a.attnum <> all (i.indkey) order by 1") == [
        "parley.outbox_pkey", "parley.outbox_queue_pkey",
    ]  # fmt: skip
