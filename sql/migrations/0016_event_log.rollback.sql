-- What the migration made goes.
-- squawk-ignore-file ban-drop-column, ban-drop-function, ban-drop-table

-- In the order in which requests take them.
lock table parley.members, parley.outbox in access exclusive mode;

drop function if exists parley.members_added, parley.outbox_removed cascade;

drop table parley.outbox_state;

alter table parley.outbox drop column transaction_id, drop column changed_at;

comment on column parley.outbox.event is 'message:sent, message:updated, message:deleted, chat:updated, chat:deleted; or member:removed, which is not published, but ends the connections of who was removed.';
