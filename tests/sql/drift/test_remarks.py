"""Remarks of `parley db check`: a DBA's own choices, and hints for tuning."""

import pytest

from tests.database import Connection
from tests.sql.drift.support import Check
from tests.waiting import wait_until


def test_property_overridden_by_a_dba_is_a_remark(check: Check, dba: Connection) -> None:
    dba.execute("alter table parley.settings alter column model set default 'large'")
    dba.execute("alter table parley.messages set (autovacuum_vacuum_scale_factor = 0.01)")
    dba.execute("create policy dbas on parley.chats to pg_monitor using (true)")
    dba.execute("grant select on parley.chats to pg_monitor")
    checked = check()
    assert (checked.status, checked.findings) == (0, [])
    assert [line for line in checked.remarks if "overridden" in line] == [
        "default of parley.settings.model is overridden: alter table parley.settings alter column model"
        " set default 'large'::text;",
        "option autovacuum_vacuum_scale_factor of parley.messages is overridden: alter table parley.messages"
        " set (autovacuum_vacuum_scale_factor = '0.01');",
    ]


def test_foreign_key_without_an_index_is_remarked(check: Check, dba: Connection) -> None:
    dba.execute("create table parley.zoo (user_id text constraint zoo_user references next_auth.users)")
    assert "no index for constraint zoo_user on parley.zoo: create index concurrently on parley.zoo (user_id);" in (
        check().remarks
    )
    dba.execute("create index zoo_user on parley.zoo (user_id)")
    assert not any("zoo" in remark for remark in check().remarks)
    dba.execute("update pg_index set indisvalid = false where indexrelid = 'parley.zoo_user'::regclass")
    assert any("zoo" in remark for remark in check().remarks)
    dba.execute("drop table parley.zoo")


def test_unused_index_is_remarked_until_it_is_used(check: Check, dba: Connection) -> None:
    unused = "remark: index parley.outbox_queue_chat on parley.outbox_queue (16 kB) has not been used since"
    dba.execute("insert into parley.outbox_queue select i, gen_random_uuid() from generate_series(1000, 1099) i")
    assert unused in check().output
    dba.execute("set enable_seqscan = off; set enable_bitmapscan = off")
    dba.execute("select from parley.outbox_queue where chat_id = gen_random_uuid()")
    dba.execute("set enable_seqscan = on; set enable_bitmapscan = on")
    dba.execute("select pg_stat_force_next_flush()")
    wait_until(lambda: unused not in check().output)


def test_unused_unique_index_is_not_remarked(check: Check, dba: Connection) -> None:
    unused = dba.execute(
        "select s.indexrelid::regclass::text from pg_stat_user_indexes s join pg_index i using (indexrelid)"
        " where i.indisunique and s.idx_scan = 0 and s.schemaname = 'parley'"
    ).fetchall()
    assert unused
    output = check().output
    assert [name for (name,) in unused if f"remark: index {name} on" in output] == []


def test_large_object_functions_of_public_are_remarked(check: Check, dba: Connection) -> None:
    assert not any("large objects" in remark for remark in check().remarks)
    dba.execute("grant execute on function lo_create(oid), lowrite(integer, bytea) to public")
    fix = "revoke execute on function lo_create(oid), lowrite(integer,bytea) from public;"
    assert f"every login can store large objects; as a superuser: {fix}" in check().remarks
    dba.execute(fix)
    assert not any("large objects" in remark for remark in check().remarks)


@pytest.mark.parametrize("rows", [10_000, 10_001])
def test_large_table_with_sequential_scans_is_remarked(check: Check, dba: Connection, rows: int) -> None:
    dba.execute("truncate parley.deleted_users")
    dba.execute("insert into parley.deleted_users select i::text from generate_series(1, %s) i", [rows])
    dba.execute("select pg_stat_force_next_flush()")
    dba.execute("analyze parley.deleted_users")
    dba.execute("select count(deleted_at) from parley.deleted_users")
    dba.execute("select pg_stat_force_next_flush()")
    remarked = "table parley.deleted_users is mostly read by sequential scans: "
    assert any(line.startswith(remarked) for line in check().remarks) == (rows > 10_000)
