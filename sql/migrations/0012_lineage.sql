-- depends: 0011_messages_image
--
-- The lineage in which each chat last took a seq, and the numbers that it has skipped at the start of that lineage.

-- Existing chats have the current lineage, by a default that adds no work per row. A new database has no such function yet, and
-- no chats.
do $$
declare
    current_lineage text := '';
begin
    if to_regprocedure('parley.lineage()') is not null then
        current_lineage := parley.lineage();
    end if;
    execute format('alter table parley.chats add column lineage text not null default %L', current_lineage);
end $$;

-- Chats that are inserted before the functions are replaced, at the end of the run, have no lineage. They skip numbers at their
-- next change.
alter table parley.chats
    alter column lineage set default '',
    add column gap_after bigint,
    add column gap_until bigint;

comment on column parley.chats.seq is 'The number of the chat''s last change. Each change increments it under the lock of the chat''s row, so changes are numbered in the order of commits. The first change in a new lineage skips numbers.';
comment on column parley.chats.lineage is 'The lineage in which seq was last changed; empty if that is unknown.';
comment on column parley.chats.gap_after is 'The last seq of the lineage before; null if the chat has skipped no numbers. Clients may have seen changes with higher numbers that were then lost.';
comment on column parley.chats.gap_until is 'The last number that was skipped. Numbers after gap_after, up to this one, belong to no event.';
