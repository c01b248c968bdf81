-- What the migration made goes.
-- squawk-ignore-file ban-drop-table, ban-drop-view

-- The listener goes on, and counts nothing, until an older checkout's `yoyo apply` loads its own functions.
create or replace function parley.last_counted_event() returns bigint
language sql stable as $$ select 9223372036854775807 $$;

create or replace function listener.roll_up(max_messages integer) returns boolean
language sql volatile as $$ select false $$;

create or replace function listener.roll_up_chats_and_settings() returns void
language sql volatile as $$ select $$;

drop view if exists analytics.activity_by_hour, analytics.activity_by_day, analytics.growth_by_week,
    analytics.retention_by_cohort, analytics.users, analytics.chats, analytics.chats_by_size_and_age,
    analytics.response_times, analytics.response_times_by_day, analytics.settings_in_use, analytics.event_health,
    analytics.search_health;

-- With the functions that take their rows.
drop table parley.rollup_settings, parley.rollup_chat_sizes, parley.rollup_responses, parley.rollup_retention, parley.rollup_chats,
    parley.rollup_users, parley.rollup_seen, parley.rollup_periods, parley.rollup_state, parley.pseudonym_key cascade;
