-- depends: 0007_analytics
--
-- Read markers, and columns for publishing events on users' channels.

-- First, because the foreign key below locks chats, and in the order in which requests lock the tables, to avoid deadlocks.
lock table parley.members, parley.chats, parley.messages, parley.outbox in access exclusive mode;

-- No foreign key to the user: a deleted account is removed from its chats in the background. Updates are frequent and change
-- no indexed column, so pages have room for them.
create table parley.read_markers (
    chat_id uuid constraint read_markers_chat_exists references parley.chats on delete cascade,
    user_id text,
    last_read_message_id uuid not null,
    primary key (chat_id, user_id)
) with (fillfactor = 80);

create index read_markers_user on parley.read_markers (user_id);

create type parley.read_state as (last_read_message_id uuid, unread_count bigint);
create type parley.publication as (name text, payload text, channels text[], terminated_user text);

alter table parley.chats
    add column member_count bigint not null default 0,
    add column read_events bigint not null default 0;

alter table parley.members
    add column joined_seq bigint not null default 0,
    -- Authorizations of existing members are not known, so each of them may have one.
    add column was_authorized boolean not null default true;
alter table parley.members alter column was_authorized set default false;

alter table parley.outbox
    add column on_user_channels boolean not null default false,
    add column terminates_connections boolean not null default false,
    add column nonce text;

alter table parley.read_markers enable row level security;

comment on table parley.read_markers is 'How far users have read chats. A marker outlives the membership: a member who returns continues where they stopped.';
comment on column parley.read_markers.chat_id is 'The chat.';
comment on column parley.read_markers.user_id is 'The user.';
comment on column parley.read_markers.last_read_message_id is 'The newest message that the user has read or sent, which may be deleted by now. Later messages are unread, and none of them is the user''s own.';
comment on index parley.read_markers_user is 'The markers of a user, to remove them with the account.';

comment on type parley.read_state is 'How far a member has read a chat: the last read message or null, and how many messages are unread.';

comment on type parley.publication is 'A request to Pusher for an event: publish the payload under the name on the channels; or, without channels, terminate the connections of a user, by their id at Pusher.';

comment on column parley.chats.member_count is 'How many members the chat has. Triggers maintain it.';
comment on column parley.chats.read_events is 'How many of the chat''s events are chat:read. They change nothing that other members see of the chat and its messages, so versions do not count them.';
comment on column parley.members.joined_seq is 'The seq of the event member:added: the first one that is published on the member''s channel. 0 for memberships that are older than the column.';
comment on column parley.members.was_authorized is 'Whether the member was authorized to subscribe to a channel of the chat. If so, the end of the membership terminates the user''s connections.';
comment on column parley.outbox.event is 'message:sent, message:updated, message:deleted, chat:updated, chat:deleted, chat:read, member:added, member:updated or member:removed; or user:updated, which belongs to no chat.';
comment on column parley.outbox.chat_id is 'The chat. For user:updated, the user''s queue: an id derived from that of the user. No foreign key: the deletion of a chat is an event too.';
comment on column parley.outbox.removed_user is 'For member:removed, the former member; null for all others.';
comment on column parley.outbox.on_user_channels is 'Whether the event is published on the channel of each member: the chat was small when the event was recorded.';
comment on column parley.outbox.terminates_connections is 'For member:removed, whether the connections of the former member are terminated.';
comment on column parley.outbox.nonce is 'For message:sent, the sender''s own identifier of the message, returned to the sender only.';

-- Counts the changes, and marks messages as read by their authors, until the functions are replaced, at the end of the run. The next migration counts the existing members.
create function parley.members_after_change() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from parley.chats c where c.id in (select m.chat_id from changed_members m) order by c.id for no key update;
    update parley.chats c
    set member_count = c.member_count + case tg_op when 'INSERT' then d.members else -d.members end
    from (select m.chat_id, count(*) as members from changed_members m group by m.chat_id) d
    where c.id = d.chat_id;
    return null;
end $$;

create trigger members_after_change_insert after insert on parley.members
    referencing new table as changed_members for each statement execute function parley.members_after_change();

create trigger members_after_change_delete after delete on parley.members
    referencing old table as changed_members for each statement execute function parley.members_after_change();

create function parley.messages_after_change() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into parley.read_markers (chat_id, user_id, last_read_message_id) values (new.chat_id, new.user_id, new.id)
    on conflict (chat_id, user_id) do update set last_read_message_id = excluded.last_read_message_id;
    return null;
end $$;

create trigger messages_after_change after insert on parley.messages
    for each row execute function parley.messages_after_change();
