-- The outbox: events on their way to Pusher. events.sql has those who ask for them later.
--
--   parley.record_event         an event, in the transaction of the change that it tells of
--   parley.without_content      what an event carries, but for the content of a message
--   parley.sleep_lock           the lock that the listener holds while it sleeps
--   parley.chat_channel         the channel of a chat
--   parley.user_channel         the channel of a user
--   parley.pusher_user          the id of a user at Pusher
--   parley.base64url            bytes in the characters that names may have there
--   parley.from_base64url       … and back
--   parley.event_channels       the channels that an event is published on
--   parley.current_recipients   the members of a chat or, once it is deleted, those it had then
--   listener.lead               whether this session is the one that publishes
--   listener.take_events        forgets what was published, and answers what is next
--   listener.sleep              whether writers will notify from now on
--   listener.wake               writers need not notify
--   listener.set_aside          gives an event up
--   listener.health             how the outbox fares
--   listener.remove_events      removes old events that were published
--   parley.queue_again          for a DBA: has events published again, and answers how many there were
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

-- Ids are given before the commit, so an event may appear behind later ones: the caller looks from well before the last.
-- What waits is looked through piece by piece: `reached` is how far, and `is_end` whether that was all. Passed over are
-- events that are held, and those of busy chats, of which some get more: what follows the last one that they have. At most
-- max_of_chat events of one chat are answered, and only until the recipients of those before take up max_bytes.
--
-- Recipients are stored where the members can no longer be read: at a removal, and at the deletion of a chat. A rename is
-- published to those who are members now: former members receive nothing more, and it costs no copy of the member list.
create or replace function listener.take_events(
    done bigint[], after_id bigint, held bigint[], busy_chats uuid[], hungry_chats uuid[], hungry_after bigint[],
    max_events integer, max_of_chat integer, max_bytes integer)
returns table (
    reached bigint, is_end boolean,
    id bigint, chat_id uuid, event text, payload text, recipients text[], channels text[])
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    piece_size constant integer := 5000;
begin
    -- The queue is looked up by its indexes, whatever its size was when it was analyzed, and the outbox row by row:
    -- "offset 0" keeps the planner from reading all of the log instead.
    if done <> '{}' then
        delete from parley.outbox_queue q where q.id = any (done);
    end if;
    return query
    with piece as materialized (
        select q.id, q.chat_id from parley.outbox_queue q where q.id > after_id order by q.id limit piece_size
    ), fresh as materialized (
        select p.id, p.chat_id from piece p
        where p.chat_id <> all (busy_chats) and not exists (select from unnest(held) h (id) where h.id = p.id)
        order by p.id limit max_events
    ), found as (
        select f.id, f.chat_id from fresh f
        union all
        select q.id, q.chat_id from unnest(hungry_chats, hungry_after) c (chat_id, after_id) cross join lateral (
            select n.id, n.chat_id from parley.outbox_queue n
            where n.chat_id = c.chat_id and n.id > c.after_id order by n.id limit max_of_chat) q
    ), stored as materialized (
        select f.id, f.chat_id, o.event, o.bytes
        from found f cross join lateral (
            select l.event, coalesce(pg_column_size(l.recipients), 0) as bytes
            from parley.outbox l where l.id = f.id offset 0) o
    ), resolved as materialized (
        -- In an array, each recipient takes up 8 bytes or more: beyond so many, max_bytes are reached.
        select r.id, pg_column_size(array_agg(r.user_id)) as bytes
        from (
            select s.id, c.user_id
            from (select t.id, t.chat_id from stored t where t.event = 'chat:updated' order by t.id offset 0) s
                cross join lateral parley.current_recipients(s.chat_id) c (user_id)
            limit max_bytes / 8 + 1) r
        group by r.id
    ), weighed as materialized (
        select s.id, row_number() over (partition by s.chat_id order by s.id) as place,
            coalesce(sum(coalesce(r.bytes, s.bytes)) over before_it, 0) as bytes_before
        from stored s left join resolved r on r.id = s.id
        window before_it as (order by s.id rows between unbounded preceding and 1 preceding)
    ), answered as materialized (
        select w.id from weighed w where w.place <= max_of_chat and w.bytes_before < max_bytes
    ), cut as (
        select (select count(*) from fresh) = max_events or exists (select from weighed w where w.bytes_before >= max_bytes)
            as is_cut
    ), mark as (
        select case when c.is_cut then greatest(after_id, (select max(a.id) from answered a))
                    else coalesce((select max(p.id) from piece p), after_id) end as reached,
            not c.is_cut and (select count(*) from piece) < piece_size as is_end
        from cut c
    )
    select m.reached, m.is_end, o.id, o.chat_id, o.event, o.payload::text,
        case when o.event = 'member:removed' then array(select parley.pusher_user(r) from unnest(o.recipients) r) end,
        case when o.event <> 'member:removed' then parley.event_channels(o.chat_id, case o.event
            when 'chat:updated' then array(select c.user_id from parley.current_recipients(o.chat_id) c (user_id))
            else o.recipients end) end
    from mark m left join (
        answered a cross join lateral (select l.* from parley.outbox l where l.id = a.id offset 0) o) on true
    order by o.id;
end $$;
comment on function listener.take_events(bigint[], bigint, bigint[], uuid[], uuid[], bigint[], integer, integer, integer) is
    'Forgets the events that are done, and answers those next in the order of their ids: after an id, without those that are held already and those of busy chats, and for some of these what comes next; and how far it looked. One row without an event if there is none.';

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
    -- What a DBA removed from the log needs no place in the queue.
    delete from parley.outbox_queue q
    where q.id = any (array(
        select p.id from parley.outbox_queue p
        where not exists (select from parley.outbox o where o.id = p.id) order by p.id limit max_events));
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
