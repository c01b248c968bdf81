-- The transactional outbox: events are recorded in the transaction of the change. The listener publishes them, and purges them
-- OUTBOX_RETENTION_DAYS (listener/settings.py) later.
--
--   parley.record_event      records an event of a chat or a user, and queues it for the listener
--   parley.omit_content      a payload without the content of its message, with the reason
--   parley.notify_lock_key   the key of the advisory lock that decides whether writers notify the listener
--   parley.leader_lock_key   the key of the advisory lock that the leader of the listeners holds, of 32 bits
--   parley.requeue_events    for a DBA: queues events to be published again; returns how many
--   listener.purge_events    removes old events that are published and counted in the rollups
--
-- publishing.sql has the functions of the listener, and events.sql those of clients that fetch the log.
--
-- Writers notify the listener only while the listener waits for notifications: pg_notify acquires a cluster-wide lock at
-- commit, which prevents group commit. While the listener waits, it holds the advisory lock notify_lock_key() exclusively. A
-- writer that acquires it in shared mode, until its commit, need not notify. The listener acquires the lock only when no such
-- writer is left, and then fetches once more, so it misses no event. Without a listener, writers do not notify.

-- The caller must hold the lock of the row of the chat (or user), so that the ids of its events ascend with their seqs and their
-- commits.
-- Pusher rejects payloads of more than 10 kB: a larger one is recorded without content, and clients fetch the message.
create or replace function parley.record_event(
    chat uuid, seq bigint, event text, payload json, recipients text[] default null, removed_user text default null,
    changed_at timestamptz default null, terminates_connections boolean default false, nonce text default null)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    event_id bigint;
begin
    if octet_length(payload::text) > 10000 then
        payload := parley.omit_content(payload, 'truncated');
    end if;
    insert into parley.outbox (
        chat_id, seq, event, payload, recipients, removed_user, changed_at, terminates_connections, nonce, on_user_channels)
    values (chat, seq, event, payload, recipients, removed_user, changed_at, terminates_connections, nonce,
        coalesce((select parley.is_small(c) from parley.chats c where c.id = chat), false))
    returning id into event_id;
    insert into parley.outbox_queue (id, chat_id) values (event_id, chat);
    if not pg_try_advisory_xact_lock_shared(parley.notify_lock_key()) then
        perform pg_notify('parley_outbox', '');
    end if;
end $$;

-- `reason` is truncated or deleted, a field of the payload.
create or replace function parley.omit_content(payload json, reason text) returns json
language sql immutable parallel safe as $$
    select (payload::jsonb - '{content,truncated}'::text[] #- '{updates,content}' || jsonb_build_object(reason, true))::json
$$;

create or replace function parley.notify_lock_key() returns bigint
language sql immutable parallel safe as $$ select 4242108501 $$;

create or replace function parley.leader_lock_key() returns bigint
language sql immutable parallel safe as $$ select 4242108500 $$;

create or replace function parley.requeue_events(variadic event_ids bigint[]) returns bigint
language sql volatile as $$
    with requeued as (
        update parley.outbox o set dead_lettered_at = null, error = null
        where o.id = any (event_ids) returning o.id, o.chat_id
    ), queued as (
        insert into parley.outbox_queue (id, chat_id) select r.id, r.chat_id from requeued r on conflict do nothing returning 1
    )
    select count(*) from queued
$$;

create or replace function listener.purge_events(older_than interval, max_events integer) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    removed integer;
begin
    delete from parley.outbox o
    where o.recorded_at < now() - older_than and o.id = any (array(
        select p.id from parley.outbox p
        where p.dead_lettered_at is null and p.id <= parley.last_counted_event()
          and not exists (select from parley.outbox_queue q where q.id = p.id)
        order by p.id limit max_events));
    get diagnostics removed = row_count;
    return removed;
end $$;
comment on function listener.purge_events(interval, integer) is
    'Removes up to max_events of the oldest events, if they are older than older_than, published, and counted in the rollups. Returns how many.';
