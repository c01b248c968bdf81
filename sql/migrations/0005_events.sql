-- depends: 0004_search
--
-- The transactional outbox: each change in a chat is recorded as an event in the transaction of the change, for the listener
-- to publish and for clients to catch up on.
--
-- parley.outbox is an append-only log. The events that are not published yet are in parley.outbox_queue, so that publishing
-- deletes a row of the queue instead of updating the log. No foreign key connects the two, because it
-- would slow down each change.

create table parley.outbox (
    id bigint primary key generated always as identity,
    chat_id uuid not null,
    seq bigint not null,
    event text not null,
    payload json not null,
    recipients text[],
    removed_user text,
    transaction_id xid8 default pg_current_xact_id(),
    changed_at timestamptz,
    recorded_at timestamptz not null default clock_timestamp(),
    dead_lettered_at timestamptz,
    error text
);

-- Uncompressed, so that its size bounds the number of recipients.
alter table parley.outbox alter column recipients set storage external;

create index outbox_chat on parley.outbox (chat_id, seq);
create index outbox_deletions on parley.outbox using gin (recipients) where event = 'chat:deleted';
create index outbox_removals on parley.outbox (removed_user) where removed_user is not null;
create index outbox_dead_letters on parley.outbox (id) where dead_lettered_at is not null;

create table parley.outbox_queue (
    id bigint primary key,
    chat_id uuid not null
);

create index outbox_queue_chat on parley.outbox_queue (chat_id, id);

create table parley.outbox_state (
    id boolean primary key default true constraint outbox_state_is_one check (id),
    epoch uuid not null default gen_random_uuid(),
    removed_until xid8
);

insert into parley.outbox_state default values;

alter table parley.outbox enable row level security;
alter table parley.outbox_queue enable row level security;
alter table parley.outbox_state enable row level security;

comment on table parley.outbox is 'Events: the changes in chats, as the real-time API publishes them. Published events are kept for some days.';
comment on column parley.outbox.id is 'Rises within a chat in the order of commits. Assigned before the commit, so among chats a lower id may appear later.';
comment on column parley.outbox.chat_id is 'The chat. No foreign key: the deletion of a chat is an event too.';
comment on column parley.outbox.seq is 'The chat''s seq of the change: the order of the chat''s events.';
comment on column parley.outbox.event is 'message:sent, message:updated, message:deleted, chat:updated or chat:deleted. Two are not published: member:added, and member:removed, which terminates the connections of the removed user.';
comment on column parley.outbox.payload is 'What is published, of at most 10,000 bytes: a larger payload is recorded without content, and with "truncated": true.';
comment on column parley.outbox.recipients is 'For chat:deleted, the users who receive the event on their own channels: the members at that time. Null for chat:updated, which is published to the members when it is published, and for other events, which are published on the chat''s channel only.';
comment on column parley.outbox.removed_user is 'For member:removed, the user whose connections are terminated; null for all others.';
comment on column parley.outbox.transaction_id is 'The transaction that recorded the event.';
comment on column parley.outbox.changed_at is 'The time of the change: updatedAt of the message or chat, or joinedAt of the member. Null if that is recorded_at.';
comment on column parley.outbox.recorded_at is 'The clock when the event was recorded, within the transaction of the change.';
comment on column parley.outbox.dead_lettered_at is 'When the listener gave up publishing the event; null for all others.';
comment on column parley.outbox.error is 'Why the event was dead-lettered.';
comment on index parley.outbox_chat is 'A chat''s events in their order.';
comment on index parley.outbox_deletions is 'The deletions of chats by member.';
comment on index parley.outbox_removals is 'The removals of members by user.';
comment on index parley.outbox_dead_letters is 'The events that could not be published.';

comment on table parley.outbox_queue is 'The events that are not published yet.';
comment on column parley.outbox_queue.id is 'The event in parley.outbox.';
comment on column parley.outbox_queue.chat_id is 'The event''s chat, by which the listener finds the head of each chat''s queue.';

comment on table parley.outbox_state is 'From which point on the outbox is complete. A single row.';
comment on column parley.outbox_state.id is 'Always true, so that there is one row.';
comment on column parley.outbox_state.epoch is 'Replaced after each restore: cursors with another value are rejected.';
comment on column parley.outbox_state.removed_until is 'The latest transaction whose events were removed; null if none were.';
