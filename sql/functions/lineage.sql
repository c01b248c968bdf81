-- Lineages: the histories of a database. A restore, or the promotion of a replica that had not received all changes, starts
-- another one. Clients may have seen changes of the lost history, so their seqs must not be assigned again.
--
--   parley.next_seq              the seq of a chat after its next changes
--   parley.next_gap              the gap of a chat after its next change
--   parley.next_message_at       when a message that is sent now is dated: never before the chat's newest one
--   parley.advance_seq           a chat with the seq, lineage and gap after its next change
--   parley.skipped_until         the last seq that a chat skips at its first change in a lineage
--   parley.write_lineage         identifies the lineage of changes: cluster, timeline, database and table
--   parley.lineage               the same with the epoch, for cursors
--   parley.start_new_epoch       for a DBA: starts a new lineage where PostgreSQL starts no new timeline
--
-- A chat stores the lineage of its last change. Its first change in another lineage skips seqs, which the column `gap` records.
-- The log is complete for a client that has seen the changes before the gap, and has expired for a client whose seq is in the gap.
-- Until that first change, the seq of such a client is above the chat's, and has expired too. The gap before the last one is not
-- stored: a client that would have to cross both fetches the chat again.

-- A change: update parley.chats c set seq = parley.next_seq(c), lineage = parley.write_lineage(), gap = parley.next_gap(c).
-- These functions are inlined.
create or replace function parley.next_seq(chat parley.chats, changes bigint default 1) returns bigint
language sql stable as $$
    select case when chat.lineage = parley.write_lineage() then chat.seq else parley.skipped_until(chat) end + changes
$$;

create or replace function parley.next_gap(chat parley.chats) returns int8range
language sql stable as $$
    select case when chat.lineage = parley.write_lineage() then chat.gap
        else int8range(chat.seq, parley.skipped_until(chat), '(]') end
$$;

-- Ids of one millisecond ascend by the lowest 26 bits of the seq. These may be lower than in the newest id, after other changes of
-- the chat or if the chat skips seqs; the message is then later. allocate_message calls this function only if the chat's newest
-- message has the present millisecond or a later one, because a call costs 10 us.
create or replace function parley.next_message_at(chat parley.chats) returns timestamptz
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    sent_at constant timestamptz := parley.now_ms();
    last_at constant timestamptz := parley.last_message_at(chat);
begin
    if sent_at <= last_at then
        return last_at + case when parley.generate_uuid7(last_at, parley.next_seq(chat)) > chat.last_message_id
            then interval '0' else interval '1 millisecond' end;
    end if;
    return sent_at;
end $$;

-- For triggers.
create or replace function parley.advance_seq(chat parley.chats) returns parley.chats
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    chat.gap := parley.next_gap(chat);
    chat.seq := parley.next_seq(chat);
    chat.lineage := parley.write_lineage();
    return chat;
end $$;

-- Microseconds since 1970 are more than the changes of any chat, more than any earlier lineage has assigned, and less than 2^53,
-- the largest integer of JavaScript. The lower bound is for a clock that was set back.
create or replace function parley.skipped_until(chat parley.chats) returns bigint
language sql stable as $$
    select greatest(chat.seq + 1000000, (extract(epoch from statement_timestamp()) * 1000000)::bigint)
$$;

-- Immutable within a session that writes, and declared so that cached plans contain the value: a server never returns to
-- recovery. In a session that was opened during recovery, no plan may contain the value of that time, so the function raises the
-- error that PostgreSQL raises for the change. A restore into the same database creates the table anew, with another oid, and with
-- it all plans.
create or replace function parley.write_lineage() returns text
language plpgsql immutable security definer set search_path = pg_catalog, pg_temp as $$
begin
    if pg_is_in_recovery() then
        raise exception using errcode = 'read_only_sql_transaction', message = 'cannot change a chat during recovery';
    end if;
    return left(md5(concat_ws(' ', parley.system_identifier(), parley.timeline(),
        (select d.oid from pg_database d where d.datname = current_database()), 'parley.chats'::regclass::oid)), 12);
end $$;

-- PostgreSQL assigns transaction ids again on another timeline. A copy of a cluster's files keeps its timeline, so
-- start_new_epoch() must be called on it.
create or replace function parley.lineage() returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select left(md5(concat_ws(' ', parley.system_identifier(), parley.timeline(),
        (select oid from pg_database where datname = current_database()), 'parley.chats'::regclass::oid, parley.epoch())), 12)
$$;

-- Seqs may have been assigned again before the call. So every seq is advanced, and no earlier one is valid. Transaction ids of the
-- lost history may be assigned again, so events keep none.
create or replace function parley.start_new_epoch() returns void
language sql volatile as $$
    update parley.chats c
    set seq = parley.skipped_until(c), lineage = parley.write_lineage(), gap = null;
    update parley.outbox set transaction_id = null where transaction_id is not null;
    update parley.outbox_state set epoch = default, removed_until = null;
$$;
