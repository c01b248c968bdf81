-- Restores the recipients of renames.

-- Older functions publish a rename to its stored recipients. New renames store them again, and those that may still be
-- published are backfilled. The lock waits for renames in progress.
lock table parley.chats in share row exclusive mode;

create or replace function parley.chats_before_update() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    new.updated_at := parley.now_after(old.updated_at);
    new.seq := old.seq + 1;
    perform parley.record_event(
        new.id, new.seq, 'chat:updated', json_build_object('id', new.id, 'updates', json_build_object('title', new.title)),
        array(select m.user_id from parley.members m where m.chat_id = new.id), new.updated_at);
    return new;
end $$;

update parley.outbox o set recipients = array(select m.user_id from parley.members m where m.chat_id = o.chat_id)
where o.event = 'chat:updated' and o.recipients is null and o.id in (
    select q.id from parley.outbox_queue q union all select s.id from parley.outbox s where s.set_aside_at is not null);

comment on column parley.outbox.recipients is 'The users who hear it on their own channels, or who were removed; null where it concerns the chat''s channel only.';
