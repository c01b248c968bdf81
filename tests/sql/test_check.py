"""`parley db check`: drift as a DBA makes it by accident is named, and the lines that are printed mend it."""

import itertools
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
import psycopg2
import pytest

from api.admin import drift as check
from api.admin.catalog import Inventory
from api.dev.postgres import Postgres
from tests.sql.support import numbered
from tests.support import ROOT, Connection, new_chat, wait_until, yoyo

DATABASE = "parley_drift"
RELOADED = "delete from parley.repeatable_migrations"


@dataclass
class Checked:
    """What `parley db check` answered."""

    status: int
    output: str

    @property
    def findings(self) -> list[str]:
        """What was found, without the lines that mend it."""
        lines = self.output.splitlines()[:-1]
        return [line for line in lines if not line.startswith(("    ", "remark: "))]

    @property
    def remarks(self) -> list[str]:
        """What was remarked, without the indexes that nobody used yet."""
        lines = [line.removeprefix("remark: ") for line in self.output.splitlines() if line.startswith("remark: ")]
        return [line for line in lines if " was not used since " not in line]

    @property
    def mends(self) -> list[str]:
        """The lines that mend it, in their order."""
        return [line.removeprefix("    ") for line in self.output.splitlines() if line.startswith("    ")]


Look = Callable[[], Checked]
Mend = Callable[[Checked], None]


@pytest.fixture(scope="module")
def drifting(postgres: Postgres, new_database: Callable[[str], str]) -> str:
    """The URL of a database that tests spoil and mend."""
    return postgres.url(new_database(DATABASE))


@pytest.fixture
def look(drifting: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Look:
    """Checks it."""
    monkeypatch.setenv("DATABASE_URL", drifting)

    def run() -> Checked:
        status = check.main()
        return Checked(status, capsys.readouterr().out)

    return run


@pytest.fixture
def owner(drifting: str) -> Iterator[Connection]:
    """A DBA's connection."""
    with psycopg.connect(drifting, autocommit=True) as connection:
        yield connection


@pytest.fixture
def mend(postgres: Postgres, drifting: str) -> Mend:
    """Runs what was printed, as somebody would who copies it: SQL in psql, and what is after `$ ` in the shell."""
    folders = [str(postgres.get_program("psql").parent), sysconfig.get_path("scripts"), os.environ["PATH"]]
    environment = os.environ | {"DATABASE_URL": drifting, "PATH": os.pathsep.join(folders)}
    psql = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", drifting]

    def run(checked: Checked) -> None:
        for is_shells, lines in itertools.groupby(checked.mends, lambda line: line.startswith("$ ")):
            text = "\n".join(line.removeprefix("$ ") for line in lines)
            done = subprocess.run(
                ["bash", "-e"] if is_shells else psql,
                input=text, cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr

    return run


def test_a_fresh_database_is_clean(look: Look, postgres: Postgres) -> None:
    checked = look()
    assert (checked.status, checked.findings, checked.mends) == (0, [], [])
    other_major = ["bodies of views are not compared: the snapshot is PostgreSQL 18's"]
    assert checked.remarks == ([] if postgres.major == 18 else other_major)
    assert checked.output.splitlines()[-1].startswith("findings: 0, ")


DRIFT = {
    "drop index parley.members_user": ["missing: index parley.members_user on parley.members"],
    "create index zoo on parley.messages (user_id)": [
        "extra: index parley.zoo on parley.messages (8192 bytes, 0 scans)"],
    "alter table parley.chats drop constraint chats_title_valid": [
        "missing: constraint chats_title_valid on parley.chats"],
    "alter table parley.chats add constraint zoo check (seq >= 0)": ["extra: constraint zoo on parley.chats"],
    "alter table parley.settings drop constraint settings_user_exists": [
        "missing: constraint settings_user_exists on parley.settings"],
    "alter table parley.settings drop constraint settings_user_exists; alter table parley.settings"
    " add constraint settings_user_exists foreign key (user_id) references next_auth.users": [
        "differs: constraint settings_user_exists on parley.settings"],
    "alter table parley.chats drop constraint chats_title_valid; alter table parley.chats add constraint"
    " chats_title_valid check (rules.validation_error('title', title) is null) not valid": [
        "differs: constraint chats_title_valid on parley.chats"],
    "alter table parley.message_blocks drop constraint message_blocks_pkey": [
        "missing: constraint message_blocks_pkey on parley.message_blocks"],
    "drop function api.get_chat": ["missing: function api.get_chat(text)"],
    "create or replace function parley.iso8601(instant timestamptz) returns text language sql as $$ select 'now' $$": [
        "differs: function parley.iso8601(timestamp with time zone)"],
    "alter function session.is_chat_owner security invoker": ["differs: function session.is_chat_owner(uuid)"],
    "alter function api.get_chat reset search_path": ["differs: function api.get_chat(text)"],
    "create or replace function rules.can_be_blank(field text) returns boolean language sql immutable parallel safe"
    " return true": ["differs: function rules.can_be_blank(text)"],
    "create function api.zoo() returns int language sql as 'select 1'": ["extra: function api.zoo()"],
    "drop trigger chats_before_update on parley.chats": ["missing: trigger chats_before_update on parley.chats"],
    "alter table parley.chats disable trigger chats_before_update": [
        "extra: alter table parley.chats disable trigger chats_before_update"],
    "create trigger zoo before update on parley.members execute function parley.members_reject_key_update()": [
        "extra: trigger zoo on parley.members"],
    "drop trigger chats_before_update on parley.chats; create trigger chats_before_update after update on parley.chats"
    " for each row execute function parley.chats_before_update()": [
        "differs: trigger chats_before_update on parley.chats"],
    "drop policy chats_select on parley.chats": ["missing: policy chats_select on parley.chats"],
    "alter policy chats_select on parley.chats using (true)": ["differs: policy chats_select on parley.chats"],
    "create policy zoo on parley.outbox to public using (true)": ["extra: policy zoo on parley.outbox"],
    "alter table parley.outbox disable row level security": [
        "missing: alter table parley.outbox enable row level security"],
    "alter table parley.message_words_3 disable row level security": [
        "missing: alter table parley.message_words_3 enable row level security"],
    "alter table parley.outbox force row level security": ["extra: alter table parley.outbox force row level security"],
    "revoke execute on function api.get_chat from parley_api": [
        "missing: grant execute on function api.get_chat(text) to parley_api"],
    "grant select on next_auth.sessions to public": ["extra: grant select on next_auth.sessions to public"],
    "grant update (owner_id) on parley.chats to parley_api": [
        "extra: grant update (owner_id) on parley.chats to parley_api"],
    "revoke insert (title) on parley.chats from parley_api": [
        "missing: grant insert (title) on parley.chats to parley_api"],
    "revoke usage on schema listener from parley_listener": [
        "missing: grant usage on schema listener to parley_listener"],
    "grant create on schema api to public": ["extra: grant create on schema api to public"],
    "grant usage on sequence parley.outbox_id_seq to parley_api": [
        "extra: grant usage on sequence parley.outbox_id_seq to parley_api"],
    "grant select on parley.chats to parley_analyst with grant option": [
        "extra: grant select on parley.chats to parley_analyst with grant option"],
    "alter default privileges grant execute on functions to public": [
        "extra: alter default privileges grant execute on functions to public"],
    "alter default privileges in schema rules grant execute on functions to parley_api": [
        "extra: alter default privileges in schema rules grant execute on functions to parley_api"],
    "grant select (error) on analytics.set_aside_events to parley_api": [
        "extra: grant select (error) on analytics.set_aside_events to parley_api"],
    "grant select (tsv) on parley.message_words_3 to parley_api": [
        "extra: grant select (tsv) on parley.message_words_3 to parley_api"],
    "grant select (ctid) on parley.chats to public": ["extra: grant select (ctid) on parley.chats to public"],
    "alter table parley.outbox set unlogged": ["extra: alter table parley.outbox set unlogged"],
    "create rule zoo as on insert to parley.messages do instead nothing": ["extra: rule zoo on parley.messages"],
    "create rule zoo as on delete to analytics.users do instead nothing": ["extra: rule zoo on analytics.users"],
    "alter table parley.chats add column zoo text not null default 'x'": ["extra: column parley.chats.zoo"],
    "alter table parley.image_cleanup drop column is_being_removed": [
        "missing: column parley.image_cleanup.is_being_removed",
        "missing: default of parley.image_cleanup.is_being_removed",
        "missing: not null of parley.image_cleanup.is_being_removed",
        "missing: index parley.image_cleanup_being_removed on parley.image_cleanup"],
    "alter table next_auth.accounts alter column scope type varchar(9)": ["differs: column next_auth.accounts.scope"],
    "alter table parley.messages drop column created_at; alter table parley.messages add column created_at timestamptz"
    " not null generated always as (rules.uuid7_timestamp(chat_id)) stored": [
        "differs: column parley.messages.created_at"],
    "alter table parley.outbox alter column id drop identity": ["missing: identity of parley.outbox.id"],
    "alter table parley.outbox alter column id set generated by default": ["differs: identity of parley.outbox.id"],
    "alter table parley.chats alter column seq set default 1": ["differs: default of parley.chats.seq"],
    "alter table parley.chats alter column seq drop default": ["missing: default of parley.chats.seq"],
    "alter table parley.chats alter column last_message_id set default gen_random_uuid()": [
        "extra: default of parley.chats.last_message_id"],
    "alter table parley.messages alter column user_id drop not null": ["missing: not null of parley.messages.user_id"],
    "alter table parley.chats alter column owner_id set not null": ["extra: not null of parley.chats.owner_id"],
    "alter table parley.outbox alter column recipients set storage extended": [
        "missing: storage of parley.outbox.recipients"],
    "alter table parley.chats reset (fillfactor)": ["missing: option fillfactor of parley.chats"],
    "alter table parley.chats set (fillfactor = 90)": ["differs: option fillfactor of parley.chats"],
    "create table parley.zoo (id int primary key, chat uuid references parley.chats);"
    " create index on parley.zoo (chat);"
    " grant select on parley.zoo to parley_api; alter table parley.zoo enable row level security": [
        "extra: table parley.zoo"],
    "create table parley.zoo as values (1), (2)": ["extra: table parley.zoo (rows: 2)"],
    "alter table parley.pseudonym_key add column zoo int default 1": [
        "extra: column parley.pseudonym_key.zoo (values: 1)"],
    "drop table parley.image_cleanup": ["missing: table parley.image_cleanup", *[
        f"missing: {kind} parley.image_cleanup.{column}"
        for kind, columns in {
            "column": ("due", "id", "is_being_removed", "name"),
            "default of": ("due", "is_being_removed"),
            "not null of": ("due", "id", "is_being_removed", "name")}.items()
        for column in columns],
        "missing: identity of parley.image_cleanup.id",
        "missing: constraint image_cleanup_pkey on parley.image_cleanup",
        "missing: index parley.image_cleanup_being_removed on parley.image_cleanup",
        "missing: index parley.image_cleanup_due on parley.image_cleanup",
        "missing: alter table parley.image_cleanup enable row level security"],
    "create function parley.zoo() returns uuid language sql as 'select gen_random_uuid()';"
    " alter table parley.chats alter column last_message_id set default parley.zoo()": [
        "extra: default of parley.chats.last_message_id", "extra: function parley.zoo()"],
    "create function parley.zoo() returns int language sql as 'select 1';"
    " alter table parley.chats alter column seq set default parley.zoo(); drop function api.get_chat": [
        "differs: default of parley.chats.seq", "missing: function api.get_chat(text)",
        "extra: function parley.zoo()"],
    "create function rules.zoo(text) returns boolean language sql immutable as 'select true';"
    " alter table parley.chats add constraint zoo check (rules.zoo(title))": [
        "extra: constraint zoo on parley.chats", "extra: function rules.zoo(text)"],
    "create table parley.zoo (id int); create function parley.zoo_of(z parley.zoo) returns int language sql"
    " as 'select 1'": ["extra: function parley.zoo_of(parley.zoo)", "extra: table parley.zoo"],
    "alter table parley.members rename joined_at to zoo": [
        *(f"missing: {key} parley.members.joined_at" for key in ("column", "default of", "not null of")),
        "extra: column parley.members.zoo"],
    "create view analytics.zoo as select 1 as animals; grant select on analytics.zoo to public": [
        "extra: view analytics.zoo"],
    "drop view analytics.set_aside_events": ["missing: view analytics.set_aside_events"],
    "alter view analytics.set_aside_events reset (security_barrier)": [
        "missing: option security_barrier of analytics.set_aside_events"],
    "alter view analytics.users set (security_invoker)": ["extra: option security_invoker of analytics.users"],
    "drop type parley.message_filter cascade": ["missing: type parley.message_filter"],
    "create type rules.zoo as enum ('giraffe')": ["extra: type rules.zoo"],
    "create sequence parley.zoo": ["extra: sequence parley.zoo"],
    "drop schema listener cascade": [
        "missing: schema listener", "missing: grant usage on schema listener to parley_listener"],
    "drop function rules.validation_error cascade": [
        "missing: function rules.validation_error(text,text)", "missing: constraint chats_title_valid on parley.chats"],
    "drop table parley.message_words_3": [
        "missing: table parley.message_words_3",
        "missing: alter table parley.message_words_3 enable row level security",
        "to be filled again: parley.message_words"],
    "drop table parley.message_words cascade": [
        "missing: table parley.message_words", "missing: table parley.message_words_15",
        "missing: index parley.message_words_search on parley.message_words",
        "to be filled again: parley.message_words"],
    "drop extension btree_gin cascade": [
        "missing: extension btree_gin", "missing: index parley.message_words_search on parley.message_words"],
    "update pg_index set indisvalid = false where indexrelid = 'parley.members_user'::regclass": [
        "differs: index parley.members_user on parley.members"],
    "alter text search configuration rules.stems drop mapping for asciiword": [
        "differs: text search configuration rules.stems"],
    "alter role parley_api login": ["extra: alter role parley_api login"],
    "alter role parley_web superuser createdb": [
        "extra: alter role parley_web superuser", "extra: alter role parley_web createdb"],
    "grant pg_read_all_data to parley_analyst": ["extra: grant pg_read_all_data to parley_analyst"],
    "alter role app bypassrls": ["extra: login app of parley_api with bypassrls"],
    "alter role web superuser": ["extra: login web of parley_web with superuser"],
    "grant parley_api to postgres": [
        "extra: login postgres of parley_api that owns the tables or the cluster"],
    "alter table parley.outbox owner to web": ["extra: alter table parley.outbox owner to web"],
    "insert into parley.repeatable_migrations values ('views', '') on conflict (name) do update set checksum = ''": [
        "pending: views, grants.sql"],
}  # fmt: skip


@pytest.mark.parametrize("by_accident", DRIFT)
def test_drift_is_named_and_mended(look: Look, owner: Connection, mend: Mend, by_accident: str) -> None:
    owner.execute(by_accident)
    checked = look()
    assert checked.status == 1
    # A dropped type or view takes functions and grants with it: those are found as well.
    assert set(DRIFT[by_accident]) <= set(checked.findings)
    if "cascade" not in by_accident:
        assert sorted(checked.findings) == sorted(DRIFT[by_accident])
    mend(checked)
    checked = look()
    assert (checked.status, checked.findings) == (0, []), checked.output


def test_a_table_is_never_made_anew_with_its_rows(look: Look, owner: Connection) -> None:
    three = "create table parley.message_words_3 partition of parley.message_words for values with"
    bare = "drop table parley.message_words_3"
    rls = "alter table parley.message_words_3 enable row level security"
    owner.execute(f"{bare}; {three} (modulus 32, remainder 3); {rls}")
    owner.execute("create table parley.message_words_19 partition of parley.message_words"
                  " for values with (modulus 32, remainder 19)")  # fmt: skip
    owner.execute("grant select on parley.message_words_19 to parley_api")
    checked = look()
    owner.execute(f"drop table parley.message_words_19; {bare}; {three} (modulus 16, remainder 3); {rls}")
    assert look().status == 0
    assert checked.findings == [
        "extra: grant select on parley.message_words_19 to parley_api", "differs: table parley.message_words_3",
    ]  # fmt: skip
    assert checked.mends == [
        "revoke select on parley.message_words_19 from parley_api;", "-- by hand, in a migration",
    ]  # fmt: skip


def test_partitions_made_as_the_readme_has_it_are_left(
    postgres: Postgres, new_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    url = postgres.url(new_database("parley_partitioned"))
    readme = (ROOT / "sql" / "README.md").read_text()
    script = readme[readme.index("begin;\nlock table parley.messages ") :].split("\nSQL\n")[0]
    psql = [str(postgres.get_program("psql")), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url]
    subprocess.run(psql, input=script, capture_output=True, text=True, check=True)
    yoyo(url, "apply", "--batch")
    monkeypatch.setenv("DATABASE_URL", url)
    assert check.main() == 1
    output = capsys.readouterr().out
    assert "drop " not in output
    assert "differs: table parley.messages\n    -- by hand, in a migration\n" in output


def test_rows_that_could_not_be_counted_are_told(look: Look, owner: Connection, postgres: Postgres) -> None:
    owner.execute("create table parley.zoo as values (1)")
    with psycopg.connect(postgres.url(DATABASE)) as other:
        other.execute("lock table parley.zoo")
        owner.execute("alter role postgres set lock_timeout = '1ms'")
        checked = look()
        owner.execute("alter role postgres reset lock_timeout")
    owner.execute("drop table parley.zoo")
    assert checked.findings == [
        "extra: table parley.zoo (not counted: canceling statement due to lock timeout)"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("made", "theirs", "what"),
    [
        ("view parley.zoo as select 1 as animals", "view reports.mine as select * from parley.zoo", "view parley.zoo"),
        ("type parley.zoo as (animals int)", "table reports.mine (zoo parley.zoo)", "type parley.zoo"),
        ("text search dictionary parley.zoo (template = simple)",
         "text search configuration reports.mine (copy = simple); alter text search configuration reports.mine"
         " alter mapping for word with parley.zoo", "text search dictionary parley.zoo"),
    ],
)  # fmt: skip
def test_what_is_built_on_it_elsewhere_is_not_dropped(
    look: Look, owner: Connection, mend: Mend, made: str, theirs: str, what: str
) -> None:
    owner.execute(f"create {made}; create schema reports; create {theirs}")
    checked = look()
    assert (checked.findings, checked.mends) == ([f"extra: {what}"], [f"drop {what};"])
    with pytest.raises(AssertionError, match=r"mine.* depends on"):
        mend(checked)
    owner.execute("drop schema reports cascade")
    mend(checked)
    assert look().status == 0


def test_nothing_is_dropped_with_what_depends_on_it(drifting: str) -> None:
    with psycopg2.connect(drifting) as connection, connection.cursor() as cursor:
        assert not [line for line in Inventory.of(cursor).remove.values() if " cascade" in line]


def test_a_view_with_another_body_is_named_and_mended_on_the_version_of_the_snapshot(
    look: Look, owner: Connection, mend: Mend
) -> None:
    owner.execute("create or replace view analytics.set_aside_events with (security_barrier) as select o.id, o.event,"
                  " o.recorded_at, o.set_aside_at, octet_length(o.payload::text) as bytes, o.error"
                  " from parley.outbox o")  # fmt: skip
    checked = look()
    try:
        if any("bodies of views" in remark for remark in checked.remarks):
            pytest.skip("another version writes bodies otherwise")
        assert (checked.status, checked.findings) == (1, ["differs: view analytics.set_aside_events"])
    finally:
        mend(checked)
    assert look().status == 0


def test_an_index_that_came_to_nothing_is_named_and_mended(look: Look, owner: Connection, mend: Mend) -> None:
    new_chat(owner, "owner", "member")
    with pytest.raises(psycopg.errors.UniqueViolation):
        owner.execute("create unique index concurrently zoo on parley.members (chat_id)")
    checked = look()
    assert checked.findings == ["extra: index parley.zoo on parley.members (0 bytes, 0 scans)"]
    assert checked.mends == ["drop index concurrently parley.zoo;"]
    mend(checked)
    assert look().status == 0


def test_a_login_that_acts_for_a_role_through_another_is_found(look: Look, owner: Connection, mend: Mend) -> None:
    owner.execute("create role staff in role parley_analyst; grant staff to app; alter role app bypassrls")
    checked = look()
    assert checked.findings == [
        f"extra: login app of {role} with bypassrls" for role in ("parley_api", "parley_analyst")
    ]
    mend(checked)
    assert look().status == 0
    owner.execute("drop role staff")


@pytest.fixture
def keeper(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """A superuser's connection to another database, whose owner `keeper` is none and is who checks."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        dba.execute("create role keeper login password 'keeper' createrole")
        dba.execute("create database kept owner keeper")
        url = postgres.url("kept", "keeper", "keeper")
        yoyo(url, "apply", "--batch")
        monkeypatch.setenv("DATABASE_URL", url)
        yield dba
        dba.execute("drop database kept with (force)")
        dba.execute("drop role keeper")


def test_a_login_that_may_act_for_an_owner_is_found(look: Look, keeper: Connection, mend: Mend) -> None:
    acts = "that may act for the owner of the tables or the cluster"
    assert look().findings == []
    keeper.execute("create role staff; grant keeper to staff; grant staff to app")
    checked = look()
    assert checked.findings == [f"extra: login app of parley_api {acts}"]
    mend(checked)
    assert look().status == 0
    keeper.execute("grant keeper to app; grant postgres to web")
    checked = look()
    assert checked.findings == [f"extra: login web of parley_web {acts}", f"extra: login app of parley_api {acts}"]
    mend(checked)
    assert look().status == 0
    keeper.execute("drop role staff")


def test_who_may_only_pass_a_role_on_does_not_act_for_it(look: Look, owner: Connection) -> None:
    if owner.info.server_version < 160000:
        pytest.skip("who has a role may act for it there")
    owner.execute("create role passer login bypassrls")
    owner.execute("grant parley_api to passer with admin true, inherit false, set false")
    owner.execute("grant postgres to app with admin true, inherit false, set false")
    assert look().findings == []
    owner.execute("revoke postgres from app; grant parley_api to passer with set true")
    assert look().findings == ["extra: login passer of parley_api with bypassrls"]
    owner.execute("drop role passer")


def test_an_owner_keeps_what_lets_it_pass_a_role_on(look: Look, keeper: Connection, mend: Mend) -> None:
    if keeper.info.server_version < 160000:
        pytest.skip("who has a role may act for it there")
    keeper.execute("grant parley_api to keeper with admin true, inherit false, set false")
    keeper.execute("set session authorization keeper; grant parley_api to keeper; reset session authorization")
    checked = look()
    assert checked.findings == ["extra: login keeper of parley_api that owns the tables or the cluster"]
    assert checked.mends == ["revoke parley_api from keeper granted by keeper;"]
    mend(checked)
    assert look().status == 0
    keeper.execute("set session authorization keeper; create role ada in role parley_api; reset session authorization")
    keeper.execute("drop owned by ada; drop role ada")


def test_what_another_granted_is_revoked_as_theirs(look: Look, keeper: Connection, mend: Mend) -> None:
    keeper.execute("grant parley_api to keeper; grant pg_monitor to parley_api")
    checked = look()
    by = "" if keeper.info.server_version < 160000 else " granted by postgres"
    assert checked.findings == [
        "extra: login keeper of parley_api that owns the tables or the cluster",
        "extra: grant pg_monitor to parley_api",
    ]
    assert checked.mends == [f"revoke parley_api from keeper{by};", f"revoke pg_monitor from parley_api{by};"]
    mend(checked)
    assert look().status == 0


def test_foreign_keys_that_are_not_enforced_are_found(look: Look, owner: Connection, mend: Mend) -> None:
    orphan = (
        "insert into parley.message_blocks values (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, '{}')"
    )
    theirs = "create trigger zoo after insert on parley.message_blocks execute function reports.zoo()"
    owner.execute("create schema reports; create function reports.zoo() returns trigger language plpgsql"
                  f" as 'begin return null; end'; {theirs}")  # fmt: skip
    owner.execute("alter table parley.message_blocks disable trigger all")
    owner.execute(f"{orphan}; delete from parley.message_blocks")
    checked = look()
    found = "extra: alter table parley.message_blocks disable trigger all (foreign keys'; mended, zoo is on as well)"
    assert found in checked.findings
    assert "alter table parley.message_blocks enable trigger all /* by a superuser */;" in checked.mends
    mend(checked)
    assert look().status == 0
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        owner.execute(orphan)
    owner.execute("alter table parley.message_blocks disable trigger zoo")
    assert look().status == 0
    owner.execute("drop schema reports cascade")
    owner.execute("alter table parley.message_blocks disable trigger all")
    checked = look()
    assert found.replace("; mended, zoo is on as well", "") in checked.findings
    mend(checked)
    assert look().status == 0


def test_numbers_go_on_after_a_lost_identity(look: Look, owner: Connection, mend: Mend) -> None:
    owner.execute("insert into parley.image_cleanup (name) values ('one'), ('two')")
    owner.execute("alter table parley.image_cleanup alter column id drop identity")
    mend(look())
    assert owner.execute("insert into parley.image_cleanup (name) values ('three') returning id").fetchone() == (3,)


def test_what_is_a_dbas_to_choose_is_a_remark(look: Look, owner: Connection) -> None:
    owner.execute("alter table parley.settings alter column model set default 'large'")
    owner.execute("alter table parley.messages set (autovacuum_vacuum_scale_factor = 0.01)")
    owner.execute("create policy dbas on parley.chats to pg_monitor using (true)")
    owner.execute("grant select on parley.chats to pg_monitor")
    checked = look()
    assert (checked.status, checked.findings) == (0, [])
    assert [line for line in checked.remarks if "own" in line] == [
        "default of parley.settings.model is this database's own: alter table parley.settings alter column model"
        " set default 'large'::text;",
        "option autovacuum_vacuum_scale_factor of parley.messages is this database's own: alter table parley.messages"
        " set (autovacuum_vacuum_scale_factor = '0.01');",
    ]


def test_a_foreign_key_without_an_index_is_remarked(look: Look, owner: Connection) -> None:
    owner.execute("create table parley.zoo (user_id text constraint zoo_user references next_auth.users)")
    assert "no index for constraint zoo_user on parley.zoo: create index concurrently on parley.zoo (user_id);" in (
        look().remarks
    )
    owner.execute("create index zoo_user on parley.zoo (user_id)")
    assert not any("zoo" in remark for remark in look().remarks)
    owner.execute("update pg_index set indisvalid = false where indexrelid = 'parley.zoo_user'::regclass")
    assert any("zoo" in remark for remark in look().remarks)
    owner.execute("drop table parley.zoo")


def test_what_is_unused_is_remarked_until_it_is_used(look: Look, owner: Connection) -> None:
    unused = "remark: index parley.outbox_queue_chat on parley.outbox_queue (16 kB) was not used since"
    owner.execute("insert into parley.outbox_queue select i, gen_random_uuid() from generate_series(1000, 1099) i")
    assert unused in look().output
    owner.execute("set enable_seqscan = off; set enable_bitmapscan = off")
    owner.execute("select from parley.outbox_queue where chat_id = gen_random_uuid()")
    owner.execute("set enable_seqscan = on; set enable_bitmapscan = on")
    owner.execute("select pg_stat_force_next_flush()")
    wait_until(lambda: unused not in look().output)


def test_what_is_unused_and_keeps_rows_unique_is_not_remarked(look: Look, owner: Connection) -> None:
    unused = owner.execute(
        "select s.indexrelid::regclass::text from pg_stat_user_indexes s join pg_index i using (indexrelid)"
        " where i.indisunique and s.idx_scan = 0 and s.schemaname = 'parley'"
    ).fetchall()
    assert unused
    output = look().output
    assert [name for (name,) in unused if f"remark: index {name} on" in output] == []


@pytest.mark.parametrize("rows", [10_000, 10_001])
def test_a_large_table_that_is_read_from_end_to_end_is_remarked(look: Look, owner: Connection, rows: int) -> None:
    owner.execute("truncate parley.deleted_users")
    owner.execute("insert into parley.deleted_users select i::text from generate_series(1, %s) i", [rows])
    owner.execute("select pg_stat_force_next_flush()")
    owner.execute("analyze parley.deleted_users")
    owner.execute("select count(deleted_at) from parley.deleted_users")
    owner.execute("select pg_stat_force_next_flush()")
    remarked = "table parley.deleted_users is mostly read from end to end: "
    assert any(line.startswith(remarked) for line in look().remarks) == (rows > 10_000)


@pytest.mark.parametrize("table", ["message_words", "message_blocks"])
def test_what_is_made_of_messages_is_filled_again(look: Look, owner: Connection, mend: Mend, table: str) -> None:
    owner.execute("truncate parley.outbox_queue")
    chat = new_chat(owner, "owner", "member")
    owner.execute(
        "insert into parley.messages (chat_id, user_id, content)"
        " select %s, 'member', 'giraffe ' || i from generate_series(1, 2100) i",
        [chat],
    )
    count = f"select count(*) from parley.{table} where chat_id = %s"
    before = owner.execute(count, [chat]).fetchone()
    assert before
    assert before[0]
    owner.execute(f"drop table parley.{table} cascade")
    checked = look()
    assert f"to be filled again: parley.{table}" in checked.findings
    mend(checked)
    assert look().status == 0
    assert owner.execute(count, [chat]).fetchone() == before
    owner.execute("delete from parley.chats where id = %s", [chat])


def test_what_is_to_be_applied_comes_first(look: Look, owner: Connection, drifting: str, mend: Mend) -> None:
    last = numbered()[-1]
    yoyo(drifting, "unmark", "--batch", "--revision", last)
    owner.execute("drop index parley.members_user")
    checked = look()
    assert (checked.status, checked.findings, checked.mends) == (1, [f"pending: {last}"], ["$ yoyo apply --batch"])
    assert checked.remarks == ["the schema is compared when that is done"]
    yoyo(drifting, "mark", "--batch", "--revision", last)
    mend(look())
    checked = look()
    assert checked.findings == ["missing: index parley.members_user on parley.members"]
    mend(checked)
    assert look().status == 0


def test_a_database_of_a_newer_checkout_is_not_compared(look: Look, owner: Connection) -> None:
    owner.execute("insert into _yoyo_migration values ('zoo', '0999_zoo', now())")
    checked = look()
    assert (checked.status, checked.findings, checked.mends) == (
        1, ["applied by a newer checkout, which is the one to check with: 0999_zoo"], [],
    )  # fmt: skip
    owner.execute("delete from _yoyo_migration where migration_id = '0999_zoo'")


def command(url: str | None) -> subprocess.CompletedProcess[str]:
    """`parley db check` as a process."""
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    arguments = [sys.executable, "-m", "api.cli", "db", "check"]
    given = {} if url is None else {"DATABASE_URL": url}
    return subprocess.run(arguments, cwd=ROOT, env=environment | given, capture_output=True, text=True, check=False)


def test_an_empty_database_has_all_pending_and_is_left_empty(url: str) -> None:
    checked = command(url)
    assert (checked.returncode, checked.stderr) == (1, "")
    assert checked.stdout.startswith(f"pending: {', '.join(numbered())}\n    $ yoyo apply --batch\n")
    with psycopg.connect(url) as connection:
        assert connection.execute("select from pg_class where relname ~ 'yoyo'").rowcount == 0


def test_it_checks_where_nothing_may_be_written(drifting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
    assert command(drifting).returncode == 0


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "DATABASE_URL is not set"),
        ("not a url", "DATABASE_URL is malformed"),
        ("postgresql://nobody:secret@127.0.0.1:1/x", "DATABASE_URL: no connection"),
    ],
)
def test_what_could_not_be_checked_is_one_line(url: str | None, message: str) -> None:
    checked = command(url)
    assert (checked.returncode, checked.stdout) == (2, "")
    assert checked.stderr.startswith(f"parley db check: {message}")
    assert checked.stderr.count("\n") == 1
    assert "secret" not in checked.stderr


def test_who_may_not_look_is_told_so(postgres: Postgres, drifting: str) -> None:
    assert drifting
    checked = command(postgres.url(DATABASE, "app", "app"))
    assert (checked.returncode, checked.stdout) == (2, "")
    assert checked.stderr == "parley db check: permission denied for table _yoyo_migration\n"
