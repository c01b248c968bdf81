-- depends: 0002_users
--
-- Chats, their members and their messages.
--
-- Keys begin with chat_id, so that a chat can be the unit of sharding. Ids of chats and messages are UUIDv7, and created_at
-- is generated from them: the two cannot differ, and a range of time is a range of the primary key.

create table parley.chats (
    id uuid primary key,
    title text not null constraint chats_title_valid check (rules.validation_error('title', title) is null),
    owner_id text default nullif(current_setting('parley.user_id', true), ''),
    created_at timestamptz not null generated always as (rules.uuid7_timestamp(id)) stored,
    updated_at timestamptz not null,
    seq bigint not null default 0,
    message_count bigint not null default 0,
    counted_messages bigint not null default 0,
    last_message_id uuid,
    is_being_removed boolean not null default false
) with (fillfactor = 70);

create index chats_owner on parley.chats (owner_id);
create index chats_being_removed on parley.chats (id) where is_being_removed;

create table parley.members (
    chat_id uuid constraint members_chat_exists references parley.chats on delete cascade,
    user_id text,
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
    primary key (chat_id, id)
);

create index messages_type on parley.messages (chat_id, type, id);

create table parley.message_blocks (
    chat_id uuid constraint message_blocks_chat_exists references parley.chats on delete cascade,
    first_id uuid,
    before_id uuid not null,
    -- At most a thousand.
    -- squawk-ignore prefer-bigint-over-int
    messages integer not null,
    by_type jsonb not null,
    primary key (chat_id, first_id)
);

create table parley.limits (
    id boolean primary key default true constraint limits_is_one check (id),
    members_per_chat bigint not null default 5000
        constraint limits_members_per_chat_positive check (members_per_chat > 0)
);

insert into parley.limits default values;

create type parley.message_filter as (type text, first_id uuid, before_id uuid);
create type parley.page_request as (number bigint, size bigint, skip bigint, after_id uuid, before_id uuid, is_ascending boolean);

alter table parley.chats enable row level security;
alter table parley.members enable row level security;
alter table parley.messages enable row level security;
alter table parley.message_blocks enable row level security;
alter table parley.limits enable row level security;

comment on table parley.chats is 'Conversations. The owner is a member too.';
comment on column parley.chats.id is 'A UUIDv7.';
comment on column parley.chats.title is 'The title.';
comment on column parley.chats.owner_id is 'The user who may rename and delete the chat and manage its members; null when that account was deleted. No foreign key: an account that owns many chats is removed from them in the background.';
comment on column parley.chats.created_at is 'The time in the id.';
comment on column parley.chats.updated_at is 'When the title last changed.';
comment on column parley.chats.seq is 'The number of the chat''s last change. Each change increments it under the lock of the chat''s row, so changes are numbered in the order of commits.';
comment on column parley.chats.message_count is 'How many messages the chat has. Triggers maintain it, so the exact total needs no count.';
comment on column parley.chats.counted_messages is 'How many of message_count are in message_blocks.';
comment on column parley.chats.last_message_id is 'The newest message; null in an empty chat. coalesce(last_message_id, id) orders chats by latest activity.';
comment on column parley.chats.is_being_removed is 'Whether the chat is deleted for everybody while its messages are being removed: it has no owner and no members, and accepts none.';
comment on index parley.chats_being_removed is 'Deleted chats whose messages are being removed.';

comment on table parley.members is 'The members of chats, the owner included.';
comment on column parley.members.chat_id is 'The chat.';
comment on column parley.members.user_id is 'The user. No foreign key: an account that is in many chats is removed from them in the background. A trigger requires that a new member is a user.';
comment on column parley.members.joined_at is 'When the user became a member.';

comment on table parley.messages is 'Messages. The order of (chat_id, id) is the order in which a chat''s messages were committed.';
comment on column parley.messages.chat_id is 'The chat.';
comment on column parley.messages.id is 'A UUIDv7.';
comment on column parley.messages.user_id is 'The author. No foreign key: a message outlives its author''s account.';
comment on column parley.messages.type is 'text, code or image.';
comment on column parley.messages.content is 'The content, as it was sent.';
comment on column parley.messages.created_at is 'The time in the id.';
comment on column parley.messages.updated_at is 'When content or type last changed.';
comment on index parley.messages_type is 'The messages of a type, in their order.';

comment on table parley.message_blocks is 'Counts of messages in blocks, each of a thousand consecutive messages when it was first counted. They find a page without reading the messages before it. The newest messages of a chat are in no block yet.';
comment on column parley.message_blocks.chat_id is 'The chat.';
comment on column parley.message_blocks.first_id is 'The oldest message of the block when it was first counted.';
comment on column parley.message_blocks.before_id is 'The exclusive upper bound of the block''s ids: first_id of the next block.';
comment on column parley.message_blocks.messages is 'How many messages the block has now.';
comment on column parley.message_blocks.by_type is 'The same for each type.';

comment on table parley.limits is 'Limits that a DBA may change. A single row; changes apply from the next statement.';
comment on column parley.limits.id is 'Always true, so that there is one row.';
comment on column parley.limits.members_per_chat is 'How many members a chat may have, the owner included. A chat that has more keeps them, but accepts no further ones.';

comment on type parley.message_filter is 'A filter of messages: of one type, or null for all; with ids from first_id to before before_id.';
comment on type parley.page_request is 'A page of messages: the one with this number and size, or the one next to before_id or, of newer messages, to after_id.';
