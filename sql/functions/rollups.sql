-- Rollups: counts that are maintained for the views of schema analytics, so that no view reads messages.
--
--   listener.roll_up                      counts the next batch of messages; the listener calls it each minute
--   listener.roll_up_chats_and_settings   counts chats and settings, at most once an hour
--   parley.roll_up_event_batch            counts a batch of messages by their events in the outbox
--   parley.roll_up_backfill_batch         counts a batch of messages that were sent before counting started
--   parley.advance_backfill_week          moves the backfill to the next week that has messages
--   parley.last_counted_event             the last counted event; the events after it must be kept
--   parley.reset_rollups                  for a DBA: makes the listener count everything again
--
-- rollup_counts.sql has the functions that write the counts, and pseudonyms.sql the keys of users and chats in them.
--
-- Messages are counted by their events: the outbox also has the messages that were deleted since, and sending a message costs
-- nothing more. Ids of events are assigned before the commit, so a batch is fixed first, and counted when all transactions that
-- may still add to it have ended. Each of those already had its transaction ID when it read the clock and recorded its event,
-- because it locks the chat's row before.
--
-- Messages that were sent before counting started are backfilled from parley.messages, since their events may have been removed.
-- The backfill goes week by week through all chats, so that parley.rollup_active_keys has the keys of one week only.

-- A batch of events takes three steps, each of which waits until all transactions before `barrier_transaction` have ended. First
-- cutoff_at is set, then cutoff_event, then the events up to that are counted: they include all messages sent before cutoff_at.
-- If a day has ended since cutoff_at, it is set again: the views of single users and chats would otherwise lack the rows of those
-- who have already written on the next day.
-- The clock and the last event are read before this transaction is assigned its ID, which therefore is higher than that of each
-- transaction to wait for.
create or replace function listener.roll_up(max_messages integer) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    has_transaction_id constant boolean := pg_current_xact_id_if_assigned() is not null;
    cutoff constant timestamptz := date_trunc('milliseconds', clock_timestamp());  -- the precision of messages
    last_event constant bigint := pg_sequence_last_value(pg_get_serial_sequence('parley.outbox', 'id'));
    state parley.rollup_state;
    is_next_day boolean;
begin
    if has_transaction_id then
        raise exception 'listener.roll_up() must be the first to write in its transaction';
    elsif max_messages is null or max_messages < 1 then
        raise exception using errcode = 'invalid_parameter_value', message = 'max_messages must be 1 or more';
    end if;
    select s.* into state from parley.rollup_state s for update skip locked;
    if not found then
        return false;  -- another transaction is counting
    end if;
    is_next_day := (state.cutoff_at at time zone 'UTC')::date < (clock_timestamp() at time zone 'UTC')::date;
    -- A barrier that is not below this transaction's ID was set in another cluster, before a restore, and is ignored.
    if state.barrier_transaction > pg_snapshot_xmin(pg_current_snapshot())
        and state.barrier_transaction < pg_current_xact_id()
    then
        return false;
    end if;
    case
        when state.backfill_until is null then
            update parley.rollup_state
            set backfill_until = parley.min_uuid7(cutoff), barrier_transaction = pg_current_xact_id();
        when state.backfill_chat is null then
            perform parley.advance_backfill_week('00000000-0000-0000-0000-000000000000', state.backfill_until);
        when state.backfill_week is not null then
            perform parley.roll_up_backfill_batch(state, max_messages);
        when state.cutoff_at is null or state.cutoff_event is null and is_next_day then
            update parley.rollup_state set cutoff_at = cutoff, barrier_transaction = pg_current_xact_id();
        when state.cutoff_event is null then
            update parley.rollup_state
            set cutoff_event = coalesce(last_event, 0), barrier_transaction = pg_current_xact_id();
        else
            return parley.roll_up_event_batch(state, max_messages);
    end case;
    return true;
end $$;
comment on function listener.roll_up(integer) is
    'Counts up to max_messages messages for the views of schema analytics. Returns true if it should be called again at once, false if everything is counted or a transaction has to end first. Must be the first statement that writes in its transaction.';

create or replace function listener.roll_up_chats_and_settings() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from parley.rollup_state s
    where s.chats_and_settings_as_of between now() - interval '1 hour' and now() is not true  -- later if the clock was set back
    for update skip locked;
    if found then
        perform parley.roll_up_chats();
        perform parley.roll_up_settings();
        update parley.rollup_state set chats_and_settings_as_of = now();
    end if;
end $$;
comment on function listener.roll_up_chats_and_settings() is
    'Counts chats by age and size, and users by setting, for the views of schema analytics. Has no effect within an hour of the last count.';

-- Returns whether there are more events to count up to cutoff_event.
create or replace function parley.roll_up_event_batch(state parley.rollup_state, max_messages integer) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    batch record;
    is_last boolean;
begin
    with events as materialized (
        select o.id, o.chat_id, o.event, o.payload from parley.outbox o
        where o.id > state.last_counted_event and o.id <= state.cutoff_event order by o.id limit max_messages
    ), sent as (
        select e.id as event_id, e.chat_id, (e.payload ->> 'id')::uuid as id, e.payload ->> 'userId' as user_id,
            e.payload ->> 'type' as type
        from events e where e.event = 'message:sent'
    )
    select (select count(*) from events) as events, (select max(e.id) from events e) as last_event,
        array_agg(s.chat_id order by s.event_id) as chats, array_agg(s.id order by s.event_id) as ids,
        array_agg(s.user_id order by s.event_id) as users, array_agg(s.type order by s.event_id) as types
    into batch
    from sent s where s.id >= state.backfill_until;
    if batch.ids is not null then
        perform parley.add_to_rollups(batch.chats, batch.ids, batch.users, batch.types);
    end if;
    is_last := batch.events < max_messages;
    update parley.rollup_state
    set last_counted_event = case when is_last then state.cutoff_event else batch.last_event end,
        as_of = case when is_last then state.cutoff_at else state.as_of end,
        cutoff_at = case when is_last then null else state.cutoff_at end,
        cutoff_event = case when is_last then null else state.cutoff_event end;
    if is_last then
        perform parley.purge_active_keys();
    end if;
    return not is_last;
end $$;

create or replace function parley.roll_up_backfill_batch(state parley.rollup_state, max_messages integer) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    zero constant uuid := '00000000-0000-0000-0000-000000000000';
    next_week constant date := state.backfill_week + 7;
    first_id constant uuid := parley.min_uuid7(state.backfill_week::timestamp at time zone 'UTC');
    before_id constant uuid := least(parley.min_uuid7(next_week::timestamp at time zone 'UTC'), state.backfill_until);
    batch record;
begin
    select count(*) as messages, array_agg(s.chat_id) as chats, array_agg(s.id) as ids, array_agg(s.user_id) as users,
        array_agg(s.type) as types
    into batch
    from (
        select m.chat_id, m.id, m.user_id, m.type
        from parley.chats c cross join lateral (
            select n.chat_id, n.id, n.user_id, n.type from parley.messages n
            where n.chat_id = c.id and n.id >= first_id and n.id < before_id
              and n.id > case when c.id = state.backfill_chat then state.backfill_id else zero end
            order by n.id limit max_messages) m
        where c.id >= state.backfill_chat and c.last_message_id >= first_id
        order by c.id, m.id limit max_messages
    ) s;
    if batch.messages > 0 then
        perform parley.add_to_rollups(batch.chats, batch.ids, batch.users, batch.types);
    end if;
    if batch.messages = max_messages then
        update parley.rollup_state
        set backfill_chat = batch.chats[max_messages], backfill_id = batch.ids[max_messages];
    else
        update parley.rollup_state set as_of = rules.uuid7_timestamp(before_id);
        perform parley.advance_backfill_week(before_id, state.backfill_until);
        perform parley.purge_active_keys();
    end if;
end $$;

-- Sets backfill_week to null if no messages from first_id to before_id are left.
create or replace function parley.advance_backfill_week(first_id uuid, before_id uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    first_sent_at constant timestamptz := (
        select min(rules.uuid7_timestamp(m.id)) from parley.chats c cross join lateral (
            select f.id from parley.messages f
            where f.chat_id = c.id and f.id >= first_id and f.id < before_id order by f.id limit 1) m
        where c.last_message_id >= first_id);
begin
    update parley.rollup_state
    set backfill_week = date_trunc('week', first_sent_at, 'UTC') at time zone 'UTC',
        backfill_chat = '00000000-0000-0000-0000-000000000000', backfill_id = '00000000-0000-0000-0000-000000000000';
end $$;

create or replace function parley.last_counted_event() returns bigint
language sql stable as $$ select s.last_counted_event from parley.rollup_state s $$;

-- The existing messages are then backfilled. The counts of deleted ones are lost.
create or replace function parley.reset_rollups() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    delete from parley.rollup_state;
    insert into parley.rollup_state default values;
    delete from parley.rollup_periods;
    delete from parley.rollup_active_keys;
    delete from parley.rollup_users;
    delete from parley.rollup_chats;
    delete from parley.rollup_retention;
    delete from parley.rollup_responses;
end $$;
