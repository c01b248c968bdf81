-- Cursors of the event log across chats: their format, what they are valid for, and when they expire.
--
--   parley.is_after_snapshot           whether a transaction is not visible in a snapshot
--   parley.assert_cursor_not_expired   raises "cursor expired" if events after a cursor may have been removed
--   parley.decode_cursor               parses a cursor
--   parley.encode_cursor               formats a cursor
--   parley.outbox_after_delete         trigger: records up to where events were removed, and removes them from the queue
--
-- In a chat, the seq identifies and orders the events. Across chats no such number exists, because ids are assigned before the
-- commit. So there a cursor is a snapshot, and all events of transactions that are not visible in it are new. A chat's events
-- are recorded under the lock of its row. Those that are visible in a snapshot are therefore the chat's first ones, without a
-- gap.
--
-- Until the last page, a cursor also has the snapshot of the first page, up to which all pages reach, and the position of the
-- next event. After the last of several pages, hasMore is true if events were committed since then.

-- A future transaction id comes from the cluster that this database was restored from, and counts as visible.
create or replace function parley.is_after_snapshot(transaction_id xid8, snapshot pg_snapshot) returns boolean
language sql stable parallel safe as $$
    select transaction_id >= pg_snapshot_xmin(snapshot) and not pg_visible_in_snapshot(transaction_id, snapshot)
        and transaction_id < pg_snapshot_xmax(pg_current_snapshot())
$$;

-- All transactions before the xmin of a snapshot are visible in it.
create or replace function parley.assert_cursor_not_expired(cursor_lineage text, snapshot pg_snapshot) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    if cursor_lineage <> parley.lineage() or exists (
        select from parley.outbox_state s where s.removed_until >= pg_snapshot_xmin(snapshot)
          and s.removed_until < pg_snapshot_xmax(pg_current_snapshot()))
    then
        perform parley.raise_error('PT410', 'The log does not reach back to this cursor.');
    end if;
end $$;

-- Returns null in `after_snapshot` for an invalid cursor.
create or replace function parley.decode_cursor(
    cursor text, out lineage text, out after_snapshot pg_snapshot, out until_snapshot pg_snapshot, out next_chat uuid,
    out next_seq bigint)
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
    fields text[];
begin
    if length(cursor) <= 20000 then
        fields := string_to_array(convert_from(parley.decode_base64url(cursor), 'UTF8'), ' ');
    end if;
    if cardinality(fields) in (2, 5) then
        until_snapshot := fields[3];
        next_chat := fields[4];
        next_seq := fields[5];
        lineage := fields[1];
        after_snapshot := fields[2];
    end if;
exception when data_exception then
    after_snapshot := null;
end $$;

create or replace function parley.encode_cursor(
    after_snapshot pg_snapshot, until_snapshot pg_snapshot default null, next_chat uuid default null,
    next_seq bigint default null) returns text
language sql stable as $$
    select parley.encode_base64url(convert_to(
        concat_ws(' ', parley.lineage(), after_snapshot, until_snapshot, next_chat, next_seq), 'UTF8'))
$$;

create or replace function parley.outbox_after_delete() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    this_transaction constant xid8 := pg_current_xact_id();
begin
    if tg_op = 'TRUNCATE' then
        delete from parley.outbox_queue;
        update parley.outbox_state set removed_until = this_transaction;
    else
        delete from parley.outbox_queue q where q.id = any (array(select r.id from removed_events r));
        update parley.outbox_state s
        set removed_until = greatest(g.latest, case when s.removed_until <= this_transaction then s.removed_until end)
        from (select max(r.transaction_id) as latest from removed_events r where r.transaction_id <= this_transaction) g
        where g.latest is not null;
    end if;
    return null;
end $$;
