-- Drops what the migration created, with the functions and views that depend on it.
-- squawk-ignore-file ban-drop-table

drop table parley.rollup_settings, parley.rollup_chat_sizes, parley.rollup_responses, parley.rollup_retention, parley.rollup_chats,
    parley.rollup_users, parley.rollup_active_keys, parley.rollup_periods, parley.rollup_state, parley.pseudonym_key cascade;

-- The listener still calls these. Until the migration is applied again, nothing is counted, and events need not be kept for it.
create or replace function parley.last_counted_event() returns bigint
language sql stable as $$ select 9223372036854775807 $$;

create or replace function listener.roll_up(max_messages integer) returns boolean
language sql volatile as $$ select false $$;

create or replace function listener.roll_up_chats_and_settings() returns void
language sql volatile as $$ select $$;
