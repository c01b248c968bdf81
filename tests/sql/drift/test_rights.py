"""Drift of row-level security, policies, grants, roles, and of logins that act for the roles."""

from collections.abc import Iterator

import psycopg
import pytest

from api.dev.postgres import Postgres
from tests.database import Connection
from tests.servers import yoyo
from tests.sql.drift.support import Check, Fix, assert_found_and_fixed

DRIFT = {
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
    "grant select (error) on analytics.dead_letter_events to parley_api": [
        "extra: grant select (error) on analytics.dead_letter_events to parley_api"],
    "grant select (tsv) on parley.message_words_3 to parley_api": [
        "extra: grant select (tsv) on parley.message_words_3 to parley_api"],
    "grant select (ctid) on parley.chats to public": ["extra: grant select (ctid) on parley.chats to public"],
    "alter role parley_api login": ["extra: alter role parley_api login"],
    "alter role parley_web superuser createdb": [
        "extra: alter role parley_web superuser", "extra: alter role parley_web createdb"],
    "grant pg_read_all_data to parley_analyst": ["extra: grant pg_read_all_data to parley_analyst"],
    "alter role app bypassrls": ["extra: login app of parley_api with bypassrls"],
    "alter role web superuser": ["extra: login web of parley_web with superuser"],
    "grant parley_api to postgres": [
        "extra: login postgres of parley_api that owns the tables or the cluster"],
    "alter table parley.outbox owner to web": ["extra: alter table parley.outbox owner to web"],
}  # fmt: skip


@pytest.mark.parametrize("change", DRIFT)
def test_drift_is_found_and_fixed(check: Check, dba: Connection, fix: Fix, change: str) -> None:
    assert_found_and_fixed(check, dba, fix, change, DRIFT[change])


def test_login_that_acts_for_a_role_through_another_is_found(check: Check, dba: Connection, fix: Fix) -> None:
    dba.execute("create role staff in role parley_analyst; grant staff to app; alter role app bypassrls")
    checked = check()
    assert checked.findings == [
        f"extra: login app of {role} with bypassrls" for role in ("parley_api", "parley_analyst")
    ]
    fix(checked)
    assert check().status == 0
    dba.execute("drop role staff")


@pytest.fixture
def superuser(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """A superuser's connection to another database; `check` runs as its owner `keeper`, which is not a superuser."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as dba:
        dba.execute("create role keeper login password 'keeper' createrole")
        dba.execute("create database kept owner keeper")
        url = postgres.url("kept", "keeper", "keeper")
        yoyo(url, "apply", "--batch")
        monkeypatch.setenv("DATABASE_URL", url)
        yield dba
        dba.execute("drop database kept with (force)")
        dba.execute("drop role keeper")


def test_login_that_can_act_for_an_owner_is_found(check: Check, superuser: Connection, fix: Fix) -> None:
    description = "that may act for the owner of the tables or the cluster"
    assert check().findings == []
    superuser.execute("create role staff; grant keeper to staff; grant staff to app")
    checked = check()
    assert checked.findings == [f"extra: login app of parley_api {description}"]
    fix(checked)
    assert check().status == 0
    superuser.execute("grant keeper to app; grant postgres to web")
    checked = check()
    assert checked.findings == [
        f"extra: login web of parley_web {description}",
        f"extra: login app of parley_api {description}",
    ]
    fix(checked)
    assert check().status == 0
    superuser.execute("drop role staff")


def test_login_that_can_only_grant_a_role_does_not_act_for_it(check: Check, dba: Connection) -> None:
    if dba.info.server_version < 160000:
        pytest.skip("before PostgreSQL 16, every member of a role can act for it")
    dba.execute("create role passer login bypassrls")
    dba.execute("grant parley_api to passer with admin true, inherit false, set false")
    dba.execute("grant postgres to app with admin true, inherit false, set false")
    assert check().findings == []
    dba.execute("revoke postgres from app; grant parley_api to passer with set true")
    assert check().findings == ["extra: login passer of parley_api with bypassrls"]
    dba.execute("drop role passer")


def test_owner_keeps_the_option_to_grant_a_role(check: Check, superuser: Connection, fix: Fix) -> None:
    if superuser.info.server_version < 160000:
        pytest.skip("before PostgreSQL 16, every member of a role can act for it")
    superuser.execute("grant parley_api to keeper with admin true, inherit false, set false")
    superuser.execute("set session authorization keeper; grant parley_api to keeper; reset session authorization")
    checked = check()
    assert checked.findings == ["extra: login keeper of parley_api that owns the tables or the cluster"]
    assert checked.fixes == ["revoke parley_api from keeper granted by keeper;"]
    fix(checked)
    assert check().status == 0
    superuser.execute(
        "set session authorization keeper; create role ada in role parley_api; reset session authorization"
    )
    superuser.execute("drop owned by ada; drop role ada")


def test_grant_is_revoked_in_the_name_of_its_grantor(check: Check, superuser: Connection, fix: Fix) -> None:
    superuser.execute("grant parley_api to keeper; grant pg_monitor to parley_api")
    checked = check()
    by = "" if superuser.info.server_version < 160000 else " granted by postgres"
    assert checked.findings == [
        "extra: login keeper of parley_api that owns the tables or the cluster",
        "extra: grant pg_monitor to parley_api",
    ]
    assert checked.fixes == [f"revoke parley_api from keeper{by};", f"revoke pg_monitor from parley_api{by};"]
    fix(checked)
    assert check().status == 0
