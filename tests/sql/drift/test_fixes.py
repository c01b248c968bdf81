"""The lines that fix a finding: they keep rows, and fill derived tables again."""

import subprocess
from collections.abc import Callable

import psycopg
import psycopg2
import pytest

from api.admin import drift
from api.admin.catalog import Catalog
from api.dev.postgres import Postgres
from tests import ROOT
from tests.database import Connection, new_chat
from tests.servers import yoyo
from tests.sql.drift.support import Check, Fix


def test_table_with_rows_is_not_created_again(check: Check, dba: Connection) -> None:
    create_partition = "create table parley.message_words_3 partition of parley.message_words for values with"
    drop_partition = "drop table parley.message_words_3"
    enable_rls = "alter table parley.message_words_3 enable row level security"
    dba.execute(f"{drop_partition}; {create_partition} (modulus 32, remainder 3); {enable_rls}")
    dba.execute("create table parley.message_words_19 partition of parley.message_words"
                  " for values with (modulus 32, remainder 19)")  # fmt: skip
    dba.execute("grant select on parley.message_words_19 to parley_api")
    checked = check()
    dba.execute(
        "drop table parley.message_words_19;"
        f" {drop_partition}; {create_partition} (modulus 16, remainder 3); {enable_rls}"
    )
    assert check().status == 0
    assert checked.findings == [
        "extra: grant select on parley.message_words_19 to parley_api", "differs: table parley.message_words_3",
    ]  # fmt: skip
    assert checked.fixes == [
        "revoke select on parley.message_words_19 from parley_api;", "-- by hand, in a migration",
    ]  # fmt: skip


def test_partitions_of_the_readme_are_kept(
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
    assert drift.main() == 1
    output = capsys.readouterr().out
    assert "drop " not in output
    assert "differs: table parley.messages\n    -- by hand, in a migration\n" in output


def test_finding_reports_that_rows_could_not_be_counted(
    check: Check, dba: Connection, postgres: Postgres, database: str
) -> None:
    dba.execute("create table parley.zoo as values (1)")
    with psycopg.connect(postgres.url(database)) as other:
        other.execute("lock table parley.zoo")
        dba.execute("alter role postgres set lock_timeout = '1ms'")
        checked = check()
        dba.execute("alter role postgres reset lock_timeout")
    dba.execute("drop table parley.zoo")
    assert checked.findings == [
        "extra: table parley.zoo (not counted: canceling statement due to lock timeout)"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("extra", "dependent", "name"),
    [
        ("view parley.zoo as select 1 as animals", "view reports.mine as select * from parley.zoo", "view parley.zoo"),
        ("type parley.zoo as (animals int)", "table reports.mine (zoo parley.zoo)", "type parley.zoo"),
        ("text search dictionary parley.zoo (template = simple)",
         "text search configuration reports.mine (copy = simple); alter text search configuration reports.mine"
         " alter mapping for word with parley.zoo", "text search dictionary parley.zoo"),
    ],
)  # fmt: skip
def test_object_that_others_depend_on_is_not_dropped(
    check: Check, dba: Connection, fix: Fix, extra: str, dependent: str, name: str
) -> None:
    dba.execute(f"create {extra}; create schema reports; create {dependent}")
    checked = check()
    assert (checked.findings, checked.fixes) == ([f"extra: {name}"], [f"drop {name};"])
    with pytest.raises(AssertionError, match=r"mine.* depends on"):
        fix(checked)
    dba.execute("drop schema reports cascade")
    fix(checked)
    assert check().status == 0


def test_no_fix_drops_with_cascade(dba_url: str) -> None:
    with psycopg2.connect(dba_url) as connection, connection.cursor() as cursor:
        assert not [line for line in Catalog.from_database(cursor).drop.values() if " cascade" in line]


def test_view_with_another_body_is_found_and_fixed_on_the_version_of_the_snapshot(
    check: Check, dba: Connection, fix: Fix
) -> None:
    dba.execute("create or replace view analytics.dead_letter_events with (security_barrier) as select o.id, o.event,"
                  " o.recorded_at, o.dead_lettered_at, octet_length(o.payload::text) as bytes, o.error"
                  " from parley.outbox o")  # fmt: skip
    checked = check()
    try:
        if any("bodies of views" in remark for remark in checked.remarks):
            pytest.skip("PostgreSQL deparses bodies differently on this version")
        assert (checked.status, checked.findings) == (1, ["differs: view analytics.dead_letter_events"])
    finally:
        fix(checked)
    assert check().status == 0


def test_invalid_index_is_found_and_fixed(check: Check, dba: Connection, fix: Fix) -> None:
    new_chat(dba, "owner", "member")
    with pytest.raises(psycopg.errors.UniqueViolation):
        dba.execute("create unique index concurrently zoo on parley.members (chat_id)")
    checked = check()
    assert checked.findings == ["extra: index parley.zoo on parley.members (0 bytes, 0 scans)"]
    assert checked.fixes == ["drop index concurrently parley.zoo;"]
    fix(checked)
    assert check().status == 0


def test_disabled_foreign_keys_are_found_and_fixed(check: Check, dba: Connection, fix: Fix) -> None:
    orphan = (
        "insert into parley.message_blocks values (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, '{}')"
    )
    dba_trigger = "create trigger zoo after insert on parley.message_blocks execute function reports.zoo()"
    dba.execute("create schema reports; create function reports.zoo() returns trigger language plpgsql"
                  f" as 'begin return null; end'; {dba_trigger}")  # fmt: skip
    dba.execute("alter table parley.message_blocks disable trigger all")
    dba.execute(f"{orphan}; delete from parley.message_blocks")
    checked = check()
    finding = "extra: alter table parley.message_blocks disable trigger all (foreign keys'; the fix also enables zoo)"
    assert finding in checked.findings
    assert "alter table parley.message_blocks enable trigger all /* by a superuser */;" in checked.fixes
    fix(checked)
    assert check().status == 0
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        dba.execute(orphan)
    dba.execute("alter table parley.message_blocks disable trigger zoo")
    assert check().status == 0
    dba.execute("drop schema reports cascade")
    dba.execute("alter table parley.message_blocks disable trigger all")
    checked = check()
    assert finding.replace("; the fix also enables zoo", "") in checked.findings
    fix(checked)
    assert check().status == 0


def test_identity_that_is_added_again_continues_its_sequence(check: Check, dba: Connection, fix: Fix) -> None:
    dba.execute("insert into parley.image_cleanup (name) values ('one'), ('two')")
    dba.execute("alter table parley.image_cleanup alter column id drop identity")
    fix(check())
    assert dba.execute("insert into parley.image_cleanup (name) values ('three') returning id").fetchone() == (3,)


@pytest.mark.parametrize("table", ["message_words", "message_blocks"])
def test_table_derived_from_messages_is_filled_again(check: Check, dba: Connection, fix: Fix, table: str) -> None:
    dba.execute("truncate parley.outbox_queue")
    chat = new_chat(dba, "owner", "member")
    dba.execute(
        "insert into parley.messages (chat_id, user_id, content)"
        " select %s, 'member', 'giraffe ' || i from generate_series(1, 2100) i",
        [chat],
    )
    count = f"select count(*) from parley.{table} where chat_id = %s"
    before = dba.execute(count, [chat]).fetchone()
    assert before
    assert before[0]
    dba.execute(f"drop table parley.{table} cascade")
    checked = check()
    assert f"to be refilled: parley.{table}" in checked.findings
    fix(checked)
    assert check().status == 0
    assert dba.execute(count, [chat]).fetchone() == before
    dba.execute("delete from parley.chats where id = %s", [chat])


def test_letter_variants_are_filled_again(check: Check, dba: Connection, fix: Fix) -> None:
    rows = "select letter, variants from parley.letter_variants order by letter"
    before = dba.execute(rows).fetchall()
    assert len(before) > 1000
    dba.execute("drop table parley.letter_variants")
    checked = check()
    assert "to be refilled: parley.letter_variants" in checked.findings
    fix(checked)
    assert check().status == 0
    assert dba.execute(rows).fetchall() == before
