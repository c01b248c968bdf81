-- Rollups: what the analysts' views show, counted ahead, so that no view reads messages.
--
--   listener.roll_up                      counts what was sent; the listener calls both every minute
--   listener.roll_up_chats_and_settings   counts what there is, once an hour
--   parley.find_backfill_week             finds the next week with messages that were there before
--   parley.backfill_week                  counts those
--   parley.count_events                   counts messages that events tell of
--   parley.add_to_rollups                 adds messages to what is counted
--   parley.purge_seen                     forgets who was seen in periods that are over
--   parley.roll_up_chats                  counts chats by size and age anew
--   parley.roll_up_settings               counts settings anew
--   parley.last_counted_event             the last event that is counted: those after it must stay
--   parley.pseudonym                      a user or a chat as analysts know it
--   parley.recount_rollups                for a DBA: has all be counted anew
--
-- The outbox has each message that was sent, also one that was deleted since, and costs writers nothing more. Ids there are
-- given before the commit, so what is counted next is fixed first, and counted when every transaction of that time is over:
-- each takes its number before it reads the clock and records an event, since it locks the chat's row.
--
-- Messages that are older than the rollups are read week by week, all chats' in one week before the next, so that who was
-- seen need be known for one week only.

-- First an instant is fixed, then, when every transaction that may have read the clock before it is over, the last event, and
-- when every transaction that recorded one of these is over, they are counted. The clock and the last event are read before
-- this transaction takes its number, which is greater, then, than that of every transaction to be waited for.
create or replace function listener.roll_up(max_messages integer) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    is_late constant boolean := pg_current_xact_id_if_assigned() is not null;
    at constant timestamptz := date_trunc('milliseconds', clock_timestamp());  -- as messages have it
    last_event constant bigint := pg_sequence_last_value(pg_get_serial_sequence('parley.outbox', 'id'));
    state parley.rollup_state;
begin
    if is_late then
        raise exception 'listener.roll_up() must be the first to write in its transaction';
    elsif max_messages is null or max_messages < 1 then
        raise exception using errcode = 'invalid_parameter_value', message = 'max_messages must be 1 or more';
    end if;
    select s.* into state from parley.rollup_state s for update skip locked;
    if not found then
        return false;  -- somebody else is at it
    end if;
    -- A number that is still to come is of a cluster that this database was restored from.
    if state.next_transaction > pg_snapshot_xmin(pg_current_snapshot()) and state.next_transaction < pg_current_xact_id() then
        return false;
    end if;
    case
        when state.backfill_until is null then
            update parley.rollup_state
            set backfill_until = parley.min_uuid7(at), next_transaction = pg_current_xact_id();
        when state.backfill_chat is null then
            perform parley.find_backfill_week('00000000-0000-0000-0000-000000000000', state.backfill_until);
        when state.backfill_week is not null then
            perform parley.backfill_week(state, max_messages);
        when state.next_at is null then
            update parley.rollup_state set next_at = at, next_transaction = pg_current_xact_id();
        when state.next_event is null then
            update parley.rollup_state
            set next_event = coalesce(last_event, 0), next_transaction = pg_current_xact_id();
        else
            return parley.count_events(state, max_messages);
    end case;
    return true;
end $$;
comment on function listener.roll_up(integer) is
    'Counts what was sent, for the views of analytics, by up to so many messages; true when it is to be called again at once.';

create or replace function listener.roll_up_chats_and_settings() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from parley.rollup_state s
    where s.chats_and_settings_as_of > now() - interval '1 hour' is not true for update skip locked;
    if found then
        perform parley.roll_up_chats();
        perform parley.roll_up_settings();
        update parley.rollup_state set chats_and_settings_as_of = now();
    end if;
end $$;
comment on function listener.roll_up_chats_and_settings() is
    'Counts chats by size and age, and settings, for the views of analytics, if that was not done within the last hour.';

create or replace function parley.find_backfill_week(first_id uuid, before_id uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    first_sent constant timestamptz := (
        select min(rules.uuid7_timestamp(m.id)) from parley.chats c cross join lateral (
            select f.id from parley.messages f
            where f.chat_id = c.id and f.id >= first_id and f.id < before_id order by f.id limit 1) m
        where c.last_message_id >= first_id);
begin
    update parley.rollup_state
    set backfill_week = date_trunc('week', first_sent, 'UTC') at time zone 'UTC',
        backfill_chat = '00000000-0000-0000-0000-000000000000', backfill_id = '00000000-0000-0000-0000-000000000000';
end $$;

create or replace function parley.backfill_week(state parley.rollup_state, max_messages integer) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    zero constant uuid := '00000000-0000-0000-0000-000000000000';
    next_week constant date := state.backfill_week + 7;
    first_id constant uuid := parley.min_uuid7(state.backfill_week::timestamp at time zone 'UTC');
    before_id constant uuid := least(parley.min_uuid7(next_week::timestamp at time zone 'UTC'), state.backfill_until);
    found record;
begin
    select count(*) as messages, array_agg(h.chat_id) as chats, array_agg(h.id) as ids, array_agg(h.user_id) as users,
        array_agg(h.type) as types
    into found
    from (
        select m.chat_id, m.id, m.user_id, m.type
        from parley.chats c cross join lateral (
            select n.chat_id, n.id, n.user_id, n.type from parley.messages n
            where n.chat_id = c.id and n.id >= first_id and n.id < before_id
              and n.id > case when c.id = state.backfill_chat then state.backfill_id else zero end
            order by n.id limit max_messages) m
        where c.id >= state.backfill_chat and c.last_message_id >= first_id
        order by c.id, m.id limit max_messages
    ) h;
    if found.messages > 0 then
        perform parley.add_to_rollups(found.chats, found.ids, found.users, found.types);
    end if;
    if found.messages = max_messages then
        update parley.rollup_state
        set backfill_chat = found.chats[max_messages], backfill_id = found.ids[max_messages];
    else
        update parley.rollup_state set as_of = rules.uuid7_timestamp(before_id);
        perform parley.find_backfill_week(before_id, state.backfill_until);
        perform parley.purge_seen();
    end if;
end $$;

create or replace function parley.count_events(state parley.rollup_state, max_messages integer) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    found record;
    is_end boolean;
begin
    with piece as materialized (
        select o.id, o.chat_id, o.event, o.payload from parley.outbox o
        where o.id > state.counted_event and o.id <= state.next_event order by o.id limit max_messages
    ), sent as (
        select p.id as event_id, p.chat_id, (p.payload ->> 'id')::uuid as id, p.payload ->> 'userId' as user_id,
            p.payload ->> 'type' as type
        from piece p where p.event = 'message:sent'
    )
    select (select count(*) from piece) as events, (select max(p.id) from piece p) as last_event,
        array_agg(s.chat_id order by s.event_id) as chats, array_agg(s.id order by s.event_id) as ids,
        array_agg(s.user_id order by s.event_id) as users, array_agg(s.type order by s.event_id) as types
    into found
    from sent s where s.id >= state.backfill_until;
    if found.ids is not null then
        perform parley.add_to_rollups(found.chats, found.ids, found.users, found.types);
    end if;
    is_end := found.events < max_messages;
    update parley.rollup_state
    set counted_event = case when is_end then state.next_event else found.last_event end,
        as_of = case when is_end then state.next_at else state.as_of end,
        next_at = case when is_end then null else state.next_at end,
        next_event = case when is_end then null else state.next_event end;
    if is_end then
        perform parley.purge_seen();
    end if;
    return not is_end;
end $$;

-- A response is measured from the message before it that is still there. To compile this takes longer than to run it.
create or replace function parley.add_to_rollups(chats uuid[], ids uuid[], users text[], types text[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan set jit = off as $$
begin
    with sent as materialized (
        select s.chat_id, s.id, s.user_id, s.type, rules.uuid7_timestamp(s.id) as sent_at
        from unnest(chats, ids, users, types) s (chat_id, id, user_id, type)
    ), user_keys as materialized (
        select u.user_id, parley.pseudonym('user', u.user_id) as key from (select distinct s.user_id from sent s) u
    ), chat_keys as materialized (
        select c.chat_id, parley.pseudonym('chat', c.chat_id::text) as key from (select distinct s.chat_id from sent s) c
    ), counted as materialized (
        select s.chat_id, s.type, u.key as user_key, c.key as chat_key, g.grain, (s.sent_at at time zone 'UTC')::date as day,
            date_trunc(g.grain, s.sent_at, 'UTC') as starts
        from sent s join user_keys u on u.user_id = s.user_id join chat_keys c on c.chat_id = s.chat_id
            cross join (values ('hour'), ('day'), ('week')) g (grain)
    ), seen as (
        insert into parley.rollup_seen (grain, starts, kind, key)
        select distinct c.grain, c.starts, k.kind, k.key
        from counted c cross join lateral (values ('user', c.user_key), ('chat', c.chat_key)) k (kind, key)
        on conflict do nothing
        returning grain, starts, kind, key
    ), seen_in_periods as (
        select s.grain, s.starts, count(*) filter (where s.kind = 'user') as users, count(*) filter (where s.kind = 'chat') as chats
        from seen s group by 1, 2
    ), counted_in_periods as (
        select c.grain, c.starts, count(*) as messages, count(*) filter (where c.type = 'text') as texts,
            count(*) filter (where c.type = 'code') as codes, count(*) filter (where c.type = 'image') as images
        from counted c group by 1, 2
    ), periods as (
        insert into parley.rollup_periods as p
            (grain, starts, messages, text_messages, code_messages, image_messages, active_users, active_chats)
        select c.grain, c.starts, c.messages, c.texts, c.codes, c.images, coalesce(s.users, 0), coalesce(s.chats, 0)
        from counted_in_periods c left join seen_in_periods s on s.grain = c.grain and s.starts = c.starts
        on conflict (grain, starts) do update set
            messages = p.messages + excluded.messages,
            text_messages = p.text_messages + excluded.text_messages,
            code_messages = p.code_messages + excluded.code_messages,
            image_messages = p.image_messages + excluded.image_messages,
            active_users = p.active_users + excluded.active_users,
            active_chats = p.active_chats + excluded.active_chats
    ), their_users as (
        insert into parley.rollup_users as u (key, first_week, last_day, messages)
        select c.user_key, (min(c.starts) at time zone 'UTC')::date, max(c.day), count(*)
        from counted c where c.grain = 'week' group by 1
        on conflict (key) do update set
            last_day = greatest(u.last_day, excluded.last_day), messages = u.messages + excluded.messages
        returning u.key, u.first_week
    ), their_chats as (
        insert into parley.rollup_chats as r (key, created_on, last_day, messages)
        select c.chat_key, (rules.uuid7_timestamp(c.chat_id) at time zone 'UTC')::date, max(c.day), count(*)
        from counted c where c.grain = 'week' group by 1, 2
        on conflict (key) do update set
            last_day = greatest(r.last_day, excluded.last_day), messages = r.messages + excluded.messages
    ), retention as (
        insert into parley.rollup_retention as r (first_week, week, users)
        select u.first_week, (s.starts at time zone 'UTC')::date, count(*)
        from seen s join their_users u on u.key = s.key where s.kind = 'user' and s.grain = 'week' group by 1, 2
        on conflict (first_week, week) do update set users = r.users + excluded.users
    )
    insert into parley.rollup_responses as r (day, step, responses)
    select w.day, ceil(8 * ln(greatest(w.seconds, 1)) / ln(2)), count(*)
    from (
        select (s.sent_at at time zone 'UTC')::date as day, extract(epoch from s.sent_at - rules.uuid7_timestamp(b.id))::float as seconds
        from sent s cross join lateral (
            select m.id, m.user_id from parley.messages m
            where m.chat_id = s.chat_id and m.id < s.id order by m.id desc limit 1) b
        where b.user_id <> s.user_id) w
    where w.seconds <= 7 * 86400
    group by 1, 2
    on conflict (day, step) do update set responses = r.responses + excluded.responses;
end $$;

-- An hour later, in case a clock was set back.
create or replace function parley.purge_seen() returns void
language sql volatile as $$
    delete from parley.rollup_seen s
    where s.starts at time zone 'UTC' + ('1 ' || s.grain)::interval
        < (select r.as_of at time zone 'UTC' - interval '1 hour' from parley.rollup_state r)
$$;

create or replace function parley.roll_up_chats() returns void
language sql volatile as $$
    delete from parley.rollup_chat_sizes;
    insert into parley.rollup_chat_sizes (days_from, messages_from, chats, silent_chats, messages, silent_messages, members)
    select o.days_from, o.messages_from, count(*), count(*) filter (where o.is_silent), sum(o.messages),
        coalesce(sum(o.messages) filter (where o.is_silent), 0), sum(o.members)
    from (
        select b.days[width_bucket(greatest(extract(day from now() - c.created_at), 0), b.days)] as days_from,
            b.messages[width_bucket(c.message_count, b.messages)] as messages_from, c.message_count as messages,
            coalesce(m.members, 0) as members, rules.uuid7_timestamp(parley.last_activity(c)) < now() - interval '30 days' as is_silent
        from (values (array[0, 1, 7, 30, 90, 180, 365], array[0, 1, 10, 100, 1000, 10000, 100000]::bigint[])) b (days, messages)
            cross join parley.chats c
            left join (select chat_id, count(*) as members from parley.members group by 1) m on m.chat_id = c.id
        where not parley.is_being_removed(c)) o
    group by 1, 2
$$;

-- Users type some of these, so what fewer than five have, and what is no plain name, stays theirs.
create or replace function parley.roll_up_settings() returns void
language sql volatile as $$
    delete from parley.rollup_settings;
    insert into parley.rollup_settings (setting, value, users)
    select v.setting, case when v.users >= 5 and v.value ~ '^[[:alnum:]][[:alnum:] ._:/+-]{0,63}$' then v.value end, sum(v.users)
    from (
        select v.setting, v.value, count(*) as users from parley.settings s cross join lateral (values
            ('model', s.model), ('theme', s.theme), ('runtime', s.runtime), ('responseStyle', s.response_style),
            ('alwaysShowCode', s.always_show_code::text), ('isPremium', s.is_premium::text)) v (setting, value)
        group by 1, 2) v
    group by 1, 2
$$;

create or replace function parley.last_counted_event() returns bigint
language sql stable as $$ select s.counted_event from parley.rollup_state s $$;

-- HMAC with two keys that don't depend on each other.
create or replace function parley.pseudonym(kind text, subject text) returns uuid
language sql stable as $$
    select encode(substr(sha256(k.outer_key || sha256(k.inner_key || convert_to(kind || ':' || subject, 'UTF8'))), 1, 16), 'hex')::uuid
    from parley.pseudonym_key k
$$;

create or replace function parley.recount_rollups() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    delete from parley.rollup_state;
    insert into parley.rollup_state default values;
    delete from parley.rollup_periods;
    delete from parley.rollup_seen;
    delete from parley.rollup_users;
    delete from parley.rollup_chats;
    delete from parley.rollup_retention;
    delete from parley.rollup_responses;
end $$;
