-- depends: 0006_idempotency
--
-- Rollups: the counts that the analysts' views show. sql/functions/rollups.sql maintains them.
--
-- Users and chats are in them under pseudonyms, so that the rows can be kept after a deletion.

create table parley.pseudonym_key (
    id boolean primary key default true constraint pseudonym_key_is_one check (id),
    inner_key bytea not null,
    outer_key bytea not null
);

-- A UUIDv4 has 122 random bits.
insert into parley.pseudonym_key (inner_key, outer_key)
select uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid());

create table parley.rollup_state (
    id boolean primary key default true constraint rollup_state_is_one check (id),
    backfill_until uuid,
    backfill_week date,
    backfill_chat uuid,
    backfill_id uuid,
    last_counted_event bigint not null default 0,
    cutoff_at timestamptz,
    cutoff_event bigint,
    barrier_transaction xid8,
    as_of timestamptz,
    chats_and_settings_as_of timestamptz
);

insert into parley.rollup_state default values;

create table parley.rollup_periods (
    grain text constraint rollup_periods_grain check (grain in ('hour', 'day', 'week')),
    starts_at timestamptz,
    messages bigint not null,
    text_messages bigint not null,
    code_messages bigint not null,
    image_messages bigint not null,
    active_users bigint not null,
    active_chats bigint not null,
    primary key (grain, starts_at)
);

create table parley.rollup_active_keys (
    grain text,
    starts_at timestamptz,
    kind text,
    key uuid,
    primary key (grain, starts_at, kind, key)
);

create table parley.rollup_users (
    key uuid primary key,
    cohort date not null,
    last_message_on date not null,
    messages bigint not null
);

create table parley.rollup_chats (
    key uuid primary key,
    created_on date not null,
    last_message_on date not null,
    messages bigint not null
);

create table parley.rollup_retention (
    cohort date,
    week date,
    users bigint not null,
    primary key (cohort, week)
);

create table parley.rollup_responses (
    day date,
    bucket bigint,
    responses bigint not null,
    primary key (day, bucket)
);

create table parley.rollup_chat_sizes (
    min_age_days bigint,
    min_messages bigint,
    chats bigint not null,
    inactive_chats bigint not null,
    messages bigint not null,
    inactive_messages bigint not null,
    members bigint not null,
    primary key (min_age_days, min_messages)
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
alter table parley.rollup_active_keys enable row level security;
alter table parley.rollup_users enable row level security;
alter table parley.rollup_chats enable row level security;
alter table parley.rollup_retention enable row level security;
alter table parley.rollup_responses enable row level security;
alter table parley.rollup_chat_sizes enable row level security;
alter table parley.rollup_settings enable row level security;

comment on table parley.pseudonym_key is 'The keys of the pseudonyms: anybody who reads them can compute the pseudonym of any id. A single row.';
comment on column parley.pseudonym_key.id is 'Always true, so that there is one row.';
comment on column parley.pseudonym_key.inner_key is 'The key of the inner hash of the HMAC.';
comment on column parley.pseudonym_key.outer_key is 'The key of the outer hash.';

comment on table parley.rollup_state is 'The progress of the rollups. A single row.';
comment on column parley.rollup_state.id is 'Always true, so that there is one row.';
comment on column parley.rollup_state.backfill_until is 'Messages with lower ids are counted from parley.messages, week by week; the others from the outbox.';
comment on column parley.rollup_state.backfill_week is 'The week that is being counted from parley.messages; null when all are counted.';
comment on column parley.rollup_state.backfill_chat is 'The chat in which that counting continues.';
comment on column parley.rollup_state.backfill_id is 'The last counted message of that chat.';
comment on column parley.rollup_state.last_counted_event is 'The last counted event.';
comment on column parley.rollup_state.cutoff_at is 'The value of as_of once the events up to cutoff_event are counted.';
comment on column parley.rollup_state.cutoff_event is 'The last event of the batch that is being counted.';
comment on column parley.rollup_state.barrier_transaction is 'Counting continues when all transactions before this one have ended.';
comment on column parley.rollup_state.as_of is 'All messages that were sent before this time are counted.';
comment on column parley.rollup_state.chats_and_settings_as_of is 'When rollup_chat_sizes and rollup_settings were computed.';

comment on table parley.rollup_periods is 'Messages by hour, day and week (from Monday), in UTC, including those deleted since.';
comment on column parley.rollup_periods.grain is 'hour, day or week.';
comment on column parley.rollup_periods.starts_at is 'When the period starts.';
comment on column parley.rollup_periods.messages is 'Messages that were sent in it.';
comment on column parley.rollup_periods.text_messages is 'Those of type text.';
comment on column parley.rollup_periods.code_messages is 'Those of type code.';
comment on column parley.rollup_periods.image_messages is 'Those of type image.';
comment on column parley.rollup_periods.active_users is 'Users who sent any.';
comment on column parley.rollup_periods.active_chats is 'Chats in which any were sent.';

comment on table parley.rollup_active_keys is 'The active users and chats of the periods that are not over yet, so that each is counted once.';
comment on column parley.rollup_active_keys.grain is 'hour, day or week.';
comment on column parley.rollup_active_keys.starts_at is 'When the period starts.';
comment on column parley.rollup_active_keys.kind is 'user or chat.';
comment on column parley.rollup_active_keys.key is 'The pseudonym.';

comment on table parley.rollup_users is 'All users who have sent a message.';
comment on column parley.rollup_users.key is 'The pseudonym.';
comment on column parley.rollup_users.cohort is 'The week of the first message.';
comment on column parley.rollup_users.last_message_on is 'The day of the last message.';
comment on column parley.rollup_users.messages is 'Messages that the user has sent.';

comment on table parley.rollup_chats is 'All chats in which a message was sent.';
comment on column parley.rollup_chats.key is 'The pseudonym.';
comment on column parley.rollup_chats.created_on is 'The day of creation.';
comment on column parley.rollup_chats.last_message_on is 'The day of the last message.';
comment on column parley.rollup_chats.messages is 'Messages that were sent in the chat.';

comment on table parley.rollup_retention is 'Active users by the week of their first message.';
comment on column parley.rollup_retention.cohort is 'The week of the first message: the cohort.';
comment on column parley.rollup_retention.week is 'That week or a later one.';
comment on column parley.rollup_retention.users is 'Users of the cohort who sent a message in that week.';

comment on table parley.rollup_responses is 'Responses by day and response time. A response is a message that follows another user''s in the same chat within 7 days.';
comment on column parley.rollup_responses.day is 'The day of the response.';
comment on column parley.rollup_responses.bucket is 'The response time on a logarithmic scale: at most 2 ^ (bucket / 8) seconds.';
comment on column parley.rollup_responses.responses is 'Responses with that time.';

comment on table parley.rollup_chat_sizes is 'Chats by age and size, recomputed each hour.';
comment on column parley.rollup_chat_sizes.min_age_days is 'The lower bound of the age in days.';
comment on column parley.rollup_chat_sizes.min_messages is 'The lower bound of the number of messages.';
comment on column parley.rollup_chat_sizes.chats is 'Chats of that age and size.';
comment on column parley.rollup_chat_sizes.inactive_chats is 'Those without activity for 30 days.';
comment on column parley.rollup_chat_sizes.messages is 'Messages in the chats.';
comment on column parley.rollup_chat_sizes.inactive_messages is 'Messages in the inactive chats.';
comment on column parley.rollup_chat_sizes.members is 'Members of the chats.';

comment on table parley.rollup_settings is 'Users by setting, recomputed each hour.';
comment on column parley.rollup_settings.setting is 'The setting.';
comment on column parley.rollup_settings.value is 'The value; null for all values that fewer than five users have or that are not plain names.';
comment on column parley.rollup_settings.users is 'Users who have it.';
