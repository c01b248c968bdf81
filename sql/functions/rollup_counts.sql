-- The counts of the rollups: one table for each question that the views of schema analytics answer.
--
--   parley.add_to_rollups        adds messages to all counts of messages
--   parley.add_to_rollup_chats   adds messages to the counts of chats
--   parley.messages_with_keys    messages with the pseudonyms of their users and chats
--   parley.add_response_times    adds messages to the histogram of response times
--   parley.purge_active_keys     removes the keys of periods that are over
--   parley.roll_up_chats         counts chats by age and size
--   parley.roll_up_settings      counts users by setting
--
-- parley.rollup_active_keys has the users and chats of the current hour, day and week, so that each is counted once a period.

-- The arrays have one element for each message. JIT compilation would take longer than the statement.
create or replace function parley.add_to_rollups(chats uuid[], ids uuid[], users text[], types text[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan set jit = off as $$
begin
    with counted as materialized (
        select m.*, (m.sent_at at time zone 'UTC')::date as day, g.grain, date_trunc(g.grain, m.sent_at, 'UTC') as starts_at,
            (max(m.sent_at) over (partition by m.user_key) at time zone 'UTC')::date as last_day
        from parley.messages_with_keys(chats, ids, users, types) m cross join (values ('hour'), ('day'), ('week')) g (grain)
    ), new_keys as (
        insert into parley.rollup_active_keys (grain, starts_at, kind, key)
        select distinct c.grain, c.starts_at, k.kind, k.key
        from counted c cross join lateral (values ('user', c.user_key), ('chat', c.chat_key)) k (kind, key)
        on conflict do nothing returning grain, starts_at, kind, key
    ), active as (
        select k.grain, k.starts_at, count(*) filter (where k.kind = 'user') as users,
            count(*) filter (where k.kind = 'chat') as chats from new_keys k group by 1, 2
    ), sent as (
        select c.grain, c.starts_at, count(*) as messages, count(*) filter (where c.type = 'text') as texts,
            count(*) filter (where c.type = 'code') as codes, count(*) filter (where c.type = 'image') as images
        from counted c group by 1, 2
    ), periods as (
        insert into parley.rollup_periods as p
            (grain, starts_at, messages, text_messages, code_messages, image_messages, active_users, active_chats)
        select s.grain, s.starts_at, s.messages, s.texts, s.codes, s.images, coalesce(a.users, 0), coalesce(a.chats, 0)
        from sent s left join active a on a.grain = s.grain and a.starts_at = s.starts_at
        on conflict (grain, starts_at) do update set
            messages = p.messages + excluded.messages, text_messages = p.text_messages + excluded.text_messages,
            code_messages = p.code_messages + excluded.code_messages, image_messages = p.image_messages + excluded.image_messages,
            active_users = p.active_users + excluded.active_users, active_chats = p.active_chats + excluded.active_chats
    ), rolled_up_users as (
        insert into parley.rollup_users as u
            (key, cohort, last_message_on, previous_message_on, last_day_messages, messages)
        select c.user_key, (min(c.starts_at) at time zone 'UTC')::date, max(c.day), max(c.day) filter (where c.day < c.last_day),
            count(*) filter (where c.day = c.last_day), count(*)
        from counted c where c.grain = 'week' group by 1
        on conflict (key) do update set last_message_on = greatest(u.last_message_on, excluded.last_message_on),
            previous_message_on = greatest(u.previous_message_on, excluded.previous_message_on,
                nullif(least(u.last_message_on, excluded.last_message_on), greatest(u.last_message_on, excluded.last_message_on))),
            last_day_messages = case when excluded.last_message_on >= u.last_message_on then excluded.last_day_messages else 0 end
                + case when u.last_message_on >= excluded.last_message_on then u.last_day_messages else 0 end,
            messages = u.messages + excluded.messages
        returning u.key, u.cohort
    )
    insert into parley.rollup_retention as r (cohort, week, users)
    select u.cohort, (k.starts_at at time zone 'UTC')::date, count(*)
    from new_keys k join rolled_up_users u on u.key = k.key where k.kind = 'user' and k.grain = 'week' group by 1, 2
    on conflict (cohort, week) do update set users = r.users + excluded.users;
    perform parley.add_to_rollup_chats(chats, ids);
    perform parley.add_response_times(chats, ids, users);
end $$;

-- Here and for users, the previous day is the last one before the last day: of the row, or of the batch.
create or replace function parley.add_to_rollup_chats(chats uuid[], ids uuid[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan set jit = off as $$
begin
    insert into parley.rollup_chats as r (key, created_on, last_message_on, previous_message_on, last_day_messages, messages)
    select parley.pseudonym('chat', c.chat_id::text), (rules.uuid7_timestamp(c.chat_id) at time zone 'UTC')::date, max(c.day),
        max(c.day) filter (where c.day < c.last_day), count(*) filter (where c.day = c.last_day), count(*)
    from (
        select d.chat_id, d.day, max(d.day) over (partition by d.chat_id) as last_day
        from (
            select s.chat_id, (rules.uuid7_timestamp(s.id) at time zone 'UTC')::date as day
            from unnest(chats, ids) s (chat_id, id)) d) c
    group by c.chat_id
    on conflict (key) do update set last_message_on = greatest(r.last_message_on, excluded.last_message_on),
        previous_message_on = greatest(r.previous_message_on, excluded.previous_message_on,
            nullif(least(r.last_message_on, excluded.last_message_on), greatest(r.last_message_on, excluded.last_message_on))),
        last_day_messages = case when excluded.last_message_on >= r.last_message_on then excluded.last_day_messages else 0 end
            + case when r.last_message_on >= excluded.last_message_on then r.last_day_messages else 0 end,
        messages = r.messages + excluded.messages;
end $$;

-- The pseudonyms are computed once for each user and chat. The function has no settings of its own, so that it is inlined.
create or replace function parley.messages_with_keys(chats uuid[], ids uuid[], users text[], types text[])
returns table (chat_id uuid, type text, sent_at timestamptz, user_key uuid, chat_key uuid)
language sql stable as $$
    with sent as materialized (
        select s.chat_id, s.user_id, s.type, rules.uuid7_timestamp(s.id) as sent_at
        from unnest(chats, ids, users, types) s (chat_id, id, user_id, type)
    ), user_keys as materialized (
        select u.user_id, parley.pseudonym('user', u.user_id) as key from (select distinct s.user_id from sent s) u
    ), chat_keys as materialized (
        select c.chat_id, parley.pseudonym('chat', c.chat_id::text) as key from (select distinct s.chat_id from sent s) c
    )
    select s.chat_id, s.type, s.sent_at, u.key, c.key
    from sent s join user_keys u on u.user_id = s.user_id join chat_keys c on c.chat_id = s.chat_id
$$;

-- A response is a message whose predecessor in the chat is another user's and at most 7 days older. The predecessor is the one
-- that exists now: one that was deleted before counting does not count. Bucket n has the times up to 2 ^ (n / 8) seconds.
create or replace function parley.add_response_times(chats uuid[], ids uuid[], users text[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan set jit = off as $$
begin
    insert into parley.rollup_responses as r (day, bucket, responses)
    select t.day, ceil(8 * ln(greatest(t.seconds, 1)) / ln(2)), count(*)
    from (
        select (s.sent_at at time zone 'UTC')::date as day,
            extract(epoch from s.sent_at - rules.uuid7_timestamp(p.id))::float as seconds
        from (
            select m.chat_id, m.id, m.user_id, rules.uuid7_timestamp(m.id) as sent_at
            from unnest(chats, ids, users) m (chat_id, id, user_id) offset 0) s
        cross join lateral (
            select m.id, m.user_id from parley.messages m
            where m.chat_id = s.chat_id and m.id < s.id order by m.id desc limit 1) p
        where p.user_id <> s.user_id) t
    where t.seconds <= 7 * 86400
    group by 1, 2
    on conflict (day, bucket) do update set responses = r.responses + excluded.responses;
end $$;

-- An hour after the end of the period, because the clock may have been set back.
create or replace function parley.purge_active_keys() returns void
language sql volatile as $$
    delete from parley.rollup_active_keys k
    where k.starts_at at time zone 'UTC' + ('1 ' || k.grain)::interval
        < (select r.as_of at time zone 'UTC' - interval '1 hour' from parley.rollup_state r)
$$;

create or replace function parley.roll_up_chats() returns void
language sql volatile as $$
    delete from parley.rollup_chat_sizes;
    insert into parley.rollup_chat_sizes
        (min_age_days, min_messages, chats, inactive_chats, messages, inactive_messages, members)
    select o.min_age_days, o.min_messages, count(*), count(*) filter (where o.is_inactive), sum(o.messages),
        coalesce(sum(o.messages) filter (where o.is_inactive), 0), sum(o.members)
    from (
        select b.days[width_bucket(greatest(extract(day from now() - c.created_at), 0), b.days)] as min_age_days,
            b.messages[width_bucket(c.message_count, b.messages)] as min_messages, c.message_count as messages,
            coalesce(m.members, 0) as members,
            rules.uuid7_timestamp(parley.activity_key(c)) < now() - interval '30 days' as is_inactive
        from (values (array[0, 1, 7, 30, 90, 180, 365], array[0, 1, 10, 100, 1000, 10000, 100000]::bigint[])) b (days, messages)
            cross join parley.chats c
            left join (select chat_id, count(*) as members from parley.members group by 1) m on m.chat_id = c.id
        where not parley.is_being_removed(c)) o
    group by 1, 2
$$;

-- Users type some of the values. A value that fewer than five users have, or that is not a plain name, may identify them, so
-- it is counted as null.
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
