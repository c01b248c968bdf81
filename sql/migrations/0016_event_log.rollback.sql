-- What the migration made goes.
-- squawk-ignore-file ban-drop-column, ban-drop-function, ban-drop-table

-- In the order in which requests take them.
lock table parley.members, parley.outbox in access exclusive mode;

drop function if exists parley.members_after_insert, parley.outbox_after_delete cascade;

-- Functions that take its rows, until an older checkout's `yoyo apply` drops the others.
drop function if exists parley.ends_access, parley.event_message_id, parley.event_json;

create or replace function parley.record_event(
    chat uuid, seq bigint, event text, payload json, recipients text[] default null, changed_at timestamptz default null)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    recorded bigint;
begin
    if octet_length(payload::text) > 10000 then
        payload := payload::jsonb - 'content' #- '{updates,content}' || '{"truncated": true}';
    end if;
    insert into parley.outbox (chat_id, seq, event, payload, recipients)
    values (chat, seq, event, payload, recipients)
    returning id into recorded;
    insert into parley.outbox_queue (id, chat_id) values (recorded, chat);
    if not pg_try_advisory_xact_lock_shared(parley.sleep_lock()) then
        perform pg_notify('parley_outbox', '');
    end if;
end $$;

drop table parley.outbox_state;

alter table parley.outbox drop column transaction_id, drop column changed_at;

comment on column parley.outbox.event is 'message:sent, message:updated, message:deleted, chat:updated, chat:deleted; or member:removed, which is not published, but ends the connections of who was removed.';
