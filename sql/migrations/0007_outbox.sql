-- depends: 0006_profiles
--
-- The outbox: what changed in chats, recorded in the transaction of the change, for the listener to publish.
--
-- The outbox is a log that is only added to. What is still to be published is in a queue beside it, so that a row of the
-- log is written once; there is no foreign key between the two, which each change would pay for.

create schema listener;

create table parley.outbox (
    id bigint primary key generated always as identity,
    chat_id uuid not null,
    seq bigint not null,
    event text not null,
    payload json not null,
    recipients text[],
    recorded_at timestamptz not null default clock_timestamp(),
    set_aside_at timestamptz,
    error text
);

-- Uncompressed, so that its size tells how many there are.
alter table parley.outbox alter column recipients set storage external;

create index outbox_set_aside on parley.outbox (id) where set_aside_at is not null;

create table parley.outbox_queue (
    id bigint primary key,
    chat_id uuid not null
);

create index outbox_queue_chat on parley.outbox_queue (chat_id, id);

alter table parley.outbox enable row level security;
alter table parley.outbox_queue enable row level security;

comment on schema listener is 'The functions that the listener calls.';
comment on table parley.outbox is 'Events: what changed in chats, in the words of the real-time API. A log, kept for some days after it was published.';
comment on column parley.outbox.chat_id is 'The chat; no foreign key, since its deletion is an event too.';
comment on column parley.outbox.seq is 'The number that the change took in its chat: the order of the chat''s events.';
comment on column parley.outbox.event is 'message:sent, message:updated, message:deleted, chat:updated, chat:deleted; or member:removed, which is not published, but ends the connections of who was removed.';
comment on column parley.outbox.payload is 'What is published, of up to 10,000 bytes: a larger one is recorded without content, and with "truncated": true.';
comment on column parley.outbox.recipients is 'The users who hear it on their own channels, or who were removed; null where it concerns the chat''s channel only.';
comment on column parley.outbox.recorded_at is 'The clock when it was recorded, within the transaction of the change.';
comment on column parley.outbox.set_aside_at is 'When the listener gave it up; null for all others.';
comment on column parley.outbox.error is 'Why it was set aside.';
comment on table parley.outbox_queue is 'Events that are not published yet.';
comment on column parley.outbox_queue.id is 'Of the event in parley.outbox.';
comment on column parley.outbox_queue.chat_id is 'The event''s chat, so that a busy one can be passed over, and looked at by itself.';
