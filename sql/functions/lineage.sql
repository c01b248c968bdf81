-- Lineages: the history that a database belongs to. A restore, or the promotion of a replica that had not received all changes,
-- starts another one. Clients may have seen changes of the lost history, so their numbers must not be assigned again.
--
--   parley.lineage               identifies the current lineage: cluster, timeline, database, epoch
--   parley.current_seq           the seq of a chat or, in a new lineage, one above all that clients may have seen
--   parley.chats_before_change   trigger: advances the seq of a chat at its first change in a new lineage
--   parley.start_new_epoch       for a DBA: starts a new lineage where PostgreSQL does not
--
-- A chat stores the lineage of its last change. Its first change in another lineage skips the numbers after gap_after, up to
-- gap_until. So the log is complete for a client that has seen the changes up to gap_after, and has expired for a client whose
-- seq is in the gap. Until that first change, the seq of such a client is above the chat's, and has expired too. The gap before
-- the last one is not stored: a client that would have to cross both fetches the chat again.

-- PostgreSQL assigns transaction ids and seqs again on another timeline. A copy of a cluster's files keeps its timeline, so
-- start_new_epoch() must be called on it.
create or replace function parley.lineage() returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return left(md5(concat_ws(' ', parley.system_identifier(), parley.timeline(),
        (select d.oid from pg_database d where d.datname = current_database()), parley.epoch())), 12);
end $$;

-- Microseconds since 1970 are more than the changes of any chat, more than any earlier lineage has assigned, and less than 2^53,
-- the largest integer of JavaScript. The lower bound is for a clock that was set back.
create or replace function parley.current_seq(chat parley.chats) returns bigint
language sql volatile as $$
    select case when chat.lineage = parley.lineage() then chat.seq
        else greatest(chat.seq + 1000000, (extract(epoch from clock_timestamp()) * 1000000)::bigint) end
$$;

-- Fires first, so that the other triggers record their events with the new seq. The id of a new message contains its seq as a
-- counter, which starts anew: so that ids ascend, the message is dated a millisecond later.
create or replace function parley.chats_before_change() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    skipped_until constant bigint := parley.current_seq(old);
begin
    new.gap_after := old.seq;
    new.gap_until := skipped_until;
    new.seq := skipped_until + new.seq - old.seq;
    new.lineage := parley.lineage();
    if new.message_count > old.message_count then
        new.last_message_id := parley.generate_uuid7(
            rules.uuid7_timestamp(new.last_message_id) + interval '1 millisecond', new.seq);
    end if;
    return new;
end $$;

-- Numbers may have been assigned again before the call, so no earlier seq is known to be valid: chats have no gap, but a seq that
-- no event precedes. Transaction ids of the lost history may be assigned again, so events keep none.
create or replace function parley.start_new_epoch() returns void
language sql volatile as $$
    update parley.outbox_state set epoch = default, removed_until = null;
    update parley.outbox set transaction_id = null where transaction_id is not null;
    update parley.chats c
    set seq = parley.current_seq(c), lineage = parley.lineage(), gap_after = null, gap_until = null;
$$;
