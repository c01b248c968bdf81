-- depends: 0003_next_auth
--
-- Chats, their members and their messages, and each user's settings.
--
-- chat_id is in every key, so that it can be the shard key. Ids of chats and messages are UUIDv7, and created_at is
-- read from them: the two can't differ, and a range of time is a range of the primary key.

create table parley.chats (
    id uuid primary key,
    title text not null constraint chats_title_valid check (rules.validation_error('title', title) is null),
    owner_id text default nullif(current_setting('parley.user_id', true), '')
        constraint chats_owner_exists references next_auth.users on delete set null,
    created_at timestamptz not null generated always as (rules.uuid7_timestamp(id)) stored,
    updated_at timestamptz not null,
    last_message_at timestamptz,
    seq bigint not null default 0,
    message_count bigint not null default 0
) with (fillfactor = 70);

create index chats_owner on parley.chats (owner_id);

create table parley.members (
    chat_id uuid constraint members_chat_exists references parley.chats on delete cascade,
    user_id text constraint members_user_exists references next_auth.users on delete cascade,
    joined_at timestamptz not null default date_trunc('milliseconds', clock_timestamp()),
    constraint members_once_per_chat primary key (chat_id, user_id)
);

create index members_user on parley.members (user_id, chat_id);

create table parley.messages (
    chat_id uuid constraint messages_chat_exists references parley.chats on delete cascade,
    id uuid,
    user_id text not null default nullif(current_setting('parley.user_id', true), ''),
    type text not null default 'text' constraint messages_type_valid check (rules.validation_error('type', type) is null),
    content text not null constraint messages_content_valid check (rules.validation_error('content', content) is null),
    created_at timestamptz not null generated always as (rules.uuid7_timestamp(id)) stored,
    updated_at timestamptz not null,
    tsv tsvector not null generated always as (to_tsvector('simple', rules.searchable(content))) stored,
    primary key (chat_id, id)
);

create table parley.settings (
    user_id text primary key default nullif(current_setting('parley.user_id', true), '')
        constraint settings_user_exists references next_auth.users on delete cascade,
    model text not null default 'default' constraint settings_model_valid check (rules.validation_error('model', model) is null),
    theme text not null default 'system' constraint settings_theme_valid check (rules.validation_error('theme', theme) is null),
    context text not null default '' constraint settings_context_valid check (rules.validation_error('context', context) is null),
    runtime text not null default 'default' constraint settings_runtime_valid check (rules.validation_error('runtime', runtime) is null),
    is_premium boolean not null default false,
    response_style text not null default 'detailed'
        constraint settings_response_style_valid check (rules.validation_error('responseStyle', response_style) is null),
    always_show_code boolean not null default false,
    updated_at timestamptz not null default date_trunc('milliseconds', clock_timestamp())
);

create index messages_search on parley.messages using gin (chat_id, tsv);

alter table parley.chats enable row level security;
alter table parley.members enable row level security;
alter table parley.messages enable row level security;
alter table parley.settings enable row level security;

comment on table parley.chats is 'Conversations. The owner is a member too.';
comment on column parley.chats.owner_id is 'Who may rename and delete the chat and manage its members; null when that account was deleted.';
comment on column parley.chats.updated_at is 'When the title last changed.';
comment on column parley.chats.last_message_at is 'created_at of the newest message; null in an empty chat.';
comment on column parley.chats.seq is 'Taken by each change in the chat: the order in which changes were committed.';
comment on column parley.chats.message_count is 'How many messages the chat has, kept by triggers: the exact total without a count.';
comment on table parley.members is 'Who is in which chat, the owner included.';
comment on table parley.messages is 'Messages. The order of (chat_id, id) is the order in which a chat''s messages were committed.';
comment on column parley.messages.user_id is 'The author. No foreign key: what somebody said outlives their account.';
comment on column parley.messages.tsv is 'The words of content, for search.';
comment on table parley.settings is 'What users chose; who has no row has the columns'' defaults.';
comment on column parley.settings.is_premium is 'Set by a DBA only.';
