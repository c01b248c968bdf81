-- The outbox: events on their way to Pusher. events.sql has those who ask for them later.
--
--   parley.record_event          an event, in the transaction of the change that it tells of
--   parley.without_content       what an event carries, but for the content of a message
--   parley.sleep_lock            the lock that the listener holds while it sleeps
--   parley.chat_channel          the channel of a chat
--   parley.user_channel          the channel of a user
--   parley.pusher_user           the id of a user at Pusher
--   parley.base64url             bytes in the characters that names may have there
--   parley.from_base64url        … and back
--   parley.event_channels        the channels that an event is published on
--   parley.current_recipients    the members of a chat or, once it is deleted, those it had then
--   listener.lead                whether this session is the one that publishes
--   listener.ack_and_fetch_events  removes published events from the queue, and returns the next ones
--   parley.next_event_ids        the ids of the next events, from the head of each chat's queue
--   parley.queued_chats          the chats that have events in the queue
--   listener.sleep               whether writers will notify from now on
--   listener.wake                writers need not notify
--   listener.set_aside           gives an event up
--   listener.health              how the outbox fares
--   listener.remove_events       removes old events that were published
--   parley.queue_again           for a DBA: has events published again, and answers how many there were
--
-- pg_notify takes a lock across the cluster at commit, which would end group commit. So writers notify only while the
-- listener sleeps. A writer that finds it awake holds sleep_lock() in shared mode until its commit, and the listener falls
-- asleep by taking that alone, then looks once more: no event can come between. Without a listener nobody notifies.

-- Called under the lock of the chat's row, so that a chat's events have ids in the order of their seq and of commits.
-- Pusher takes payloads of up to 10 kB: a larger one goes without content, which clients fetch.
-- That there is another member is in the log only: nobody has to be told at once.
create or replace function parley.record_event(
    chat uuid, seq bigint, event text, payload json, recipients text[] default null, changed_at timestamptz default null)
returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    recorded bigint;
begin
    if octet_length(payload::text) > 10000 then
        payload := parley.without_content(payload);
    end if;
    insert into parley.outbox (chat_id, seq, event, payload, recipients, changed_at)
    values (chat, seq, event, payload, recipients, changed_at)
    returning id into recorded;
    if event = 'member:added' then
        return;
    end if;
    insert into parley.outbox_queue (id, chat_id) values (recorded, chat);
    if not pg_try_advisory_xact_lock_shared(parley.sleep_lock()) then
        perform pg_notify('parley_outbox', '');
    end if;
end $$;

create or replace function parley.without_content(payload json) returns json
language sql immutable parallel safe as $$
    select (payload::jsonb - 'content' #- '{updates,content}' || '{"truncated": true}')::json
$$;

create or replace function parley.sleep_lock() returns bigint
language sql immutable parallel safe as $$ select 4242108501 $$;

create or replace function parley.chat_channel(chat uuid) returns text
language sql immutable parallel safe as $$ select 'private-chat-' || chat::text $$;

create or replace function parley.user_channel(user_id text) returns text
language sql immutable parallel safe as $$ select 'private-user-' || parley.pusher_user(user_id) $$;

-- In base64url, since names have few characters at Pusher; and up to 164 of them, so that the id of more than 113 bytes
-- is known by its hash. No id in base64url begins like that: it would not be UTF-8.
create or replace function parley.pusher_user(user_id text) returns text
language sql immutable parallel safe as $$
    select case when octet_length(user_id) <= 113 then parley.base64url(convert_to(user_id, 'UTF8'))
        else 'sha256-' || parley.base64url(sha256(convert_to(user_id, 'UTF8'))) end
$$;

create or replace function parley.base64url(value bytea) returns text
language sql immutable parallel safe as $$ select rtrim(translate(encode(value, 'base64'), E'+/\n', '-_'), '=') $$;

create or replace function parley.from_base64url(value text) returns bytea
language sql immutable parallel safe as $$
    select decode(translate(value, '-_', '+/') || repeat('=', -length(value) & 3), 'base64')
$$;

create or replace function parley.event_channels(chat uuid, recipients text[]) returns text[]
language sql immutable parallel safe as $$
    select parley.chat_channel(chat) || array(select parley.user_channel(r) from unnest(recipients) r)
$$;

-- The deletion of a chat is its last event; the memberships go with it, or soon after.
create or replace function parley.current_recipients(chat uuid) returns setof text
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    return query
    select unnest(e.recipients)
    from (select o.event, o.recipients from parley.outbox o where o.chat_id = chat order by o.seq desc limit 1) e
    where e.event = 'chat:deleted';
    if not found then
        return query select m.user_id from parley.members m where m.chat_id = chat;
    end if;
end $$;

create or replace function listener.lead() returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select pg_try_advisory_lock(4242108500)
$$;
comment on function listener.lead() is
    'Makes this session the one that publishes, until it ends; false while another one is.';

-- The chats that have events in the queue and sort after a given one, in the order of their ids. A loose index scan: one
-- descent of the index for each chat, however many of its events are queued. Read lazily, so callers can stop early.
create or replace function parley.queued_chats(after_chat uuid) returns table (chat_id uuid)
language sql stable as $$
    with recursive queued (chat_id) as (
        (select q.chat_id from parley.outbox_queue q where q.chat_id > after_chat order by q.chat_id limit 1)
        union all
        select (select q.chat_id from parley.outbox_queue q where q.chat_id > c.chat_id order by q.chat_id limit 1)
        from queued c where c.chat_id is not null
    )
    select c.chat_id from queued c where c.chat_id is not null
$$;

-- The ids of the next events to fetch: the head of each chat's queue, after the events that the listener holds already.
-- After a given chat, all chats with queued events are visited in turn; without one, only those of the latest events.
create or replace function parley.next_event_ids(
    after_chat uuid, held_chats uuid[], held_until bigint[], max_events integer, max_events_per_chat integer)
returns bigint[]
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
    -- Ids are assigned before the commit: an event can become visible after later ones, but rarely after 1,000 of them.
    latest constant bigint := pg_sequence_last_value('parley.outbox_id_seq') - 1000;
begin
    return array(
        select n.id
        from (
            select c.chat_id from parley.queued_chats(after_chat) c
            union all
            select distinct q.chat_id
            from (select l.chat_id from parley.outbox_queue l where l.id > latest order by l.id limit 1000) q
            where after_chat is null
        ) c
        left join unnest(held_chats, held_until) h (chat_id, last_id) on h.chat_id = c.chat_id
        cross join lateral (
            -- Only the index of (chat_id, id) has this order, so the plan does not depend on the size of the queue.
            select q.id from parley.outbox_queue q
            where (q.chat_id, q.id) > (c.chat_id, case when h.chat_id is null then 0 else h.last_id end)
              and q.chat_id <= c.chat_id
            order by q.chat_id, q.id limit max_events_per_chat) n
        limit max_events);
end $$;

-- Recipients are stored where the members can no longer be read: at a removal, and at the deletion of a chat. A rename is
-- published to those who are members now: former members receive nothing more, and it costs no copy of the member list.
create or replace function listener.ack_and_fetch_events(
    acked bigint[], after_chat uuid, held_chats uuid[], held_until bigint[],
    max_events integer, max_events_per_chat integer, max_bytes integer)
returns table (
    id bigint, chat_id uuid, event text, payload text, recipients text[], channels text[], has_more boolean)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    ids bigint[];
    fetched integer := 0;
    bytes bigint := 0;
begin
    if acked <> '{}' then
        delete from parley.outbox_queue q where q.id = any (acked);
    end if;
    ids := parley.next_event_ids(after_chat, held_chats, held_until, max_events, max_events_per_chat);
    for id, chat_id, event, payload, recipients, channels in
        select o.id, o.chat_id, o.event, o.payload::text, o.recipients, array[parley.chat_channel(o.chat_id)]
        from unnest(ids) i (id) cross join lateral (select l.* from parley.outbox l where l.id = i.id offset 0) o
        order by o.chat_id, o.id
    loop
        if event = 'chat:updated' then
            recipients := array(select c.user_id from parley.current_recipients(chat_id) c (user_id));
        end if;
        if recipients is not null then
            bytes := bytes + pg_column_size(recipients);
            if event = 'member:removed' then
                recipients := array(select parley.pusher_user(r) from unnest(recipients) r);
                channels := null;
            else
                channels := channels || array(select parley.user_channel(r) from unnest(recipients) r);
            end if;
        end if;
        fetched := fetched + 1;
        has_more := fetched = max_events or bytes >= max_bytes;
        return next;
        exit when has_more;
    end loop;
end $$;
comment on function listener.ack_and_fetch_events(bigint[], uuid, uuid[], bigint[], integer, integer, integer) is
    'Removes acknowledged events from the queue and returns the next ones.';

create or replace function listener.sleep() returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select pg_try_advisory_lock(parley.sleep_lock())
$$;
comment on function listener.sleep() is
    'From now on each commit with an event notifies the channel parley_outbox; false, and nothing has changed, while one is under way that will not. What was committed before must be looked for once more.';

create or replace function listener.wake() returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select pg_advisory_unlock(parley.sleep_lock())
$$;
comment on function listener.wake() is 'Commits need not notify: the listener looks by itself.';

create or replace function listener.set_aside(event_id bigint, error text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    update parley.outbox o set set_aside_at = now(), error = left(set_aside.error, 1000) where o.id = event_id;
    delete from parley.outbox_queue q where q.id = event_id;
end $$;
comment on function listener.set_aside(bigint, text) is
    'Gives up an event that can''t be published: analytics.set_aside_events has it, with the error.';

create or replace function listener.health(
    out waiting_events bigint, out lag_seconds numeric, out set_aside_events bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select h.waiting_events, h.lag_seconds, h.set_aside_events from analytics.event_health h
$$;
comment on function listener.health() is
    'How many events are not published yet, for how long the oldest of them has been waiting, and how many are set aside.';

create or replace function listener.remove_events(older_than interval, max_events integer) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    removed integer;
begin
    delete from parley.outbox o
    where o.recorded_at < now() - older_than and o.id = any (array(
        select p.id from parley.outbox p
        where p.set_aside_at is null and p.id <= parley.last_counted_event()
          and not exists (select from parley.outbox_queue q where q.id = p.id)
        order by p.id limit max_events));
    get diagnostics removed = row_count;
    return removed;
end $$;
comment on function listener.remove_events(interval, integer) is
    'Removes up to so many of the oldest events that are older than that, published, and counted in the rollups; answers how many.';

create or replace function parley.queue_again(variadic event_ids bigint[]) returns bigint
language sql volatile as $$
    with again as (
        update parley.outbox o set set_aside_at = null, error = null
        where o.id = any (event_ids) and o.event <> 'member:added' returning o.id, o.chat_id
    ), queued as (
        insert into parley.outbox_queue (id, chat_id) select a.id, a.chat_id from again a on conflict do nothing returning 1
    )
    select count(*) from queued
$$;
