-- depends: 0011_messages_image
--
-- The lineage of the last change of each chat, and the seqs that the chat skipped at its first change in that lineage.

-- Existing chats get the current lineage, by a default that rewrites no row. A new database has no chats, and not these functions.
-- The expression is that of parley.write_lineage(), which the version before does not have.
do $$
declare
    current_lineage text := '';
begin
    if to_regprocedure('parley.timeline()') is not null then
        current_lineage := left(md5(concat_ws(' ', parley.system_identifier(), parley.timeline(),
            (select d.oid from pg_database d where d.datname = current_database()), 'parley.chats'::regclass::oid)), 12);
    end if;
    execute format('alter table parley.chats add column lineage text not null default %L', current_lineage);
end $$;

-- Chats that are inserted before the functions are replaced, at the end of the run, have no lineage, and skip seqs at their next
-- change.
alter table parley.chats
    alter column lineage set default '',
    add column gap int8range;

comment on column parley.chats.seq is 'The number of the chat''s last change. Each change increments it under the lock of the chat''s row, so changes are numbered in the order of commits. The first change in a new lineage skips numbers.';
comment on column parley.chats.lineage is 'The lineage of the last change: cluster, timeline, database and table. Empty if it is unknown.';
comment on column parley.chats.gap is 'The seqs that the first change in this lineage skipped, because clients may have seen changes with these numbers in a history that was then lost. Null if it skipped none.';
