-- depends: 0012_index_of_chats_being_removed
--
-- Rollups: what the analysts' views show, counted ahead. sql/functions/rollups.sql says how.
--
-- Users and chats are in them by pseudonyms, so that they can be kept when those have gone.

create table parley.pseudonym_key (
    id boolean primary key default true constraint pseudonym_key_is_one check (id),
    inner_key bytea not null,
    outer_key bytea not null
);

create table parley.rollup_state (
    id boolean primary key default true constraint rollup_state_is_one check (id),
    backfill_until uuid,
    backfill_week date,
    backfill_chat uuid,
    backfill_id uuid,
    counted_event bigint not null default 0,
    next_at timestamptz,
    next_event bigint,
    next_transaction xid8,
    as_of timestamptz,
    chats_and_settings_as_of timestamptz
);

create table parley.rollup_periods (
    grain text constraint rollup_periods_grain check (grain in ('hour', 'day', 'week')),
    starts timestamptz,
    messages bigint not null,
    text_messages bigint not null,
    code_messages bigint not null,
    image_messages bigint not null,
    active_users bigint not null,
    active_chats bigint not null,
    primary key (grain, starts)
);

create table parley.rollup_seen (
    grain text,
    starts timestamptz,
    kind text,
    key uuid,
    primary key (grain, starts, kind, key)
);

create table parley.rollup_users (
    key uuid primary key,
    first_week date not null,
    last_day date not null,
    messages bigint not null
);

create table parley.rollup_chats (
    key uuid primary key,
    created_on date not null,
    last_day date not null,
    messages bigint not null
);

create table parley.rollup_retention (
    first_week date,
    week date,
    users bigint not null,
    primary key (first_week, week)
);

create table parley.rollup_responses (
    day date,
    step bigint,
    responses bigint not null,
    primary key (day, step)
);

create table parley.rollup_chat_sizes (
    days_from bigint,
    messages_from bigint,
    chats bigint not null,
    silent_chats bigint not null,
    messages bigint not null,
    silent_messages bigint not null,
    members bigint not null,
    primary key (days_from, messages_from)
);

create table parley.rollup_settings (
    setting text not null,
    value text,
    users bigint not null,
    constraint rollup_settings_once unique nulls not distinct (setting, value)
);

alter table parley.pseudonym_key enable row level security;
alter table parley.rollup_state enable row level security;
alter table parley.rollup_periods enable row level security;
alter table parley.rollup_seen enable row level security;
alter table parley.rollup_users enable row level security;
alter table parley.rollup_chats enable row level security;
alter table parley.rollup_retention enable row level security;
alter table parley.rollup_responses enable row level security;
alter table parley.rollup_chat_sizes enable row level security;
alter table parley.rollup_settings enable row level security;

-- A UUIDv4 has 122 bits of chance.
insert into parley.pseudonym_key (inner_key, outer_key)
select uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());

insert into parley.rollup_state default values;

comment on table parley.pseudonym_key is 'What pseudonyms are made with: who has it can tell whose a pseudonym is. One row.';
comment on table parley.rollup_state is 'How far the rollups have come. One row.';
comment on column parley.rollup_state.backfill_until is 'Messages with lesser ids are counted from parley.messages, week by week; the others from the outbox.';
comment on column parley.rollup_state.backfill_week is 'The week that is being counted from parley.messages; null when that is done.';
comment on column parley.rollup_state.backfill_chat is 'The chat that it has come to, and backfill_id the message there.';
comment on column parley.rollup_state.counted_event is 'Events up to this one are counted.';
comment on column parley.rollup_state.next_at is 'as_of once the events up to next_event are counted.';
comment on column parley.rollup_state.next_event is 'Events up to this one are counted next.';
comment on column parley.rollup_state.next_transaction is 'Nothing goes on while a transaction before this one is under way.';
comment on column parley.rollup_state.as_of is 'What was sent before this is counted.';
comment on column parley.rollup_state.chats_and_settings_as_of is 'When rollup_chat_sizes and rollup_settings were made.';
comment on table parley.rollup_periods is 'Messages by hour, day and week (from Monday), in UTC, with those deleted since.';
comment on table parley.rollup_seen is 'Who has sent a message and which chats have got one in the periods that are not over yet, so that each is counted once.';
comment on column parley.rollup_seen.kind is 'user or chat.';
comment on table parley.rollup_users is 'Everybody who has sent a message.';
comment on table parley.rollup_chats is 'Every chat that has got a message.';
comment on table parley.rollup_retention is 'How many of those who sent their first message in one week sent any in another.';
comment on table parley.rollup_responses is 'Responses by day and time. A response is a message after somebody else''s in the same chat, within 7 days.';
comment on column parley.rollup_responses.step is 'Eight steps double the time: it was up to 2 ^ (step / 8) seconds.';
comment on table parley.rollup_chat_sizes is 'Chats by size and age, made anew each hour.';
comment on table parley.rollup_settings is 'How many users have which settings, made anew each hour. What few have, or is no plain name, is null.';
