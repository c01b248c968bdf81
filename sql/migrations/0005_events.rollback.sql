-- Drops what the migration created, with the functions, views and triggers that depend on it.
-- squawk-ignore-file ban-drop-table

-- In the order in which requests lock them, to avoid deadlocks.
lock table parley.members, parley.messages, parley.chats, parley.outbox, parley.outbox_queue, parley.outbox_state
    in access exclusive mode;

drop table parley.outbox_state cascade;

drop table parley.outbox_queue cascade;

drop table parley.outbox cascade;

-- Triggers still call it. Until the migration is applied again, changes are not recorded. Another version's function with other
-- parameters is dropped, because it would make the calls ambiguous.
do $$
declare
    existing regprocedure;
begin
    for existing in
        select oid from pg_proc where pronamespace = to_regnamespace('parley') and proname = 'record_event'
    loop
        execute format('drop function %s', existing);
    end loop;
end $$;

create function parley.record_event(
    chat uuid, seq bigint, event text, payload json, recipients text[] default null, removed_user text default null,
    changed_at timestamptz default null, terminates_connections boolean default false, nonce text default null)
returns void
language sql volatile as $$ select $$;
