-- depends: 0015_idempotency
--
-- The outbox can be asked for what happened since: each event says which transaction it is of, and when the change was.

-- A column with a volatile default would rewrite the table, so the default comes after it. What was there before has none:
-- every cursor knows of it.
alter table parley.outbox add column transaction_id xid8, add column changed_at timestamptz;
alter table parley.outbox alter column transaction_id set default pg_current_xact_id();

create table parley.outbox_state (
    id boolean primary key default true constraint outbox_state_is_one check (id),
    epoch uuid not null default gen_random_uuid(),
    removed_until xid8
);

alter table parley.outbox_state enable row level security;

insert into parley.outbox_state default values;

comment on column parley.outbox.event is 'message:sent, message:updated, message:deleted, chat:updated, chat:deleted; or what is not published: member:added, and member:removed, which ends the connections of who was removed.';
comment on column parley.outbox.transaction_id is 'The transaction that recorded it; null for what was there before migration 0016.';
comment on column parley.outbox.changed_at is 'What the change has for its time, the message''s or chat''s updatedAt or a member''s joinedAt; null where that is recorded_at.';
comment on table parley.outbox_state is 'From where on the outbox is whole. One row.';
comment on column parley.outbox_state.epoch is 'Another one after each restore: cursors of before count no more.';
comment on column parley.outbox_state.removed_until is 'The latest of the transactions whose events were removed; null while none was.';
