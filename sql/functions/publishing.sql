-- Publishing: the functions by which the listener fetches and acknowledges the events in parley.outbox_queue.
--
--   listener.try_lead               makes this session the leader, unless there is another
--   listener.ack_and_fetch_events   removes published events from the queue, and returns the next ones
--   listener.enable_notify          makes writers notify the listener
--   listener.disable_notify         stops the notifications
--   listener.dead_letter            removes an event that cannot be published from the queue
--   listener.outbox_health          the state of the queue
--   listener.health                 the state of the queue, for listeners of an earlier version
--   parley.find_leader              the process id of the session that leads, or null
--   parley.next_event_ids           the ids of the next events, from the head of each chat's queue
--   parley.queued_chats             the chats that have events in the queue
--   parley.latest_chats             the chats of the latest events in the queue
--
-- A chat's events are published in the order of their ids. The listener visits the chats in rounds, by their ids, and fetches
-- the events at the head of each chat's queue, behind those that it holds already. So a chat with many events delays no other,
-- and the cost of a fetch depends on the chats visited and the events returned, not on the length of the queue.
--
-- The listener also visits the chats of the latest events, those of messages first. So a message is published soon while a round
-- takes long, for example after the deletion of a user with many chats. Between rounds, this also keeps the cost of a fetch low
-- while the index of the queue has many entries of deleted rows, which a round passes over.

-- The leader holds an advisory lock until its session ends. Every login of the database can acquire any advisory lock, so only a
-- lock of a member of parley_listener counts. If another session holds the key, the leader acquires a variant of it, with the same
-- lower 32 bits. The lock on outbox_state, which only the owner can acquire, serializes the candidates.
create or replace function listener.try_lead() returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    key bigint := parley.leader_lock_key();
    leader integer := parley.find_leader();
begin
    if leader is null then
        lock table parley.outbox_state in share update exclusive mode;
        loop
            leader := parley.find_leader();
            exit when leader is not null;
            if pg_try_advisory_lock(key) then
                return true;
            end if;
            key := parley.leader_lock_key() | (floor(random() * 2147483647)::bigint << 32);
        end loop;
    end if;
    return leader = pg_backend_pid();
end $$;
comment on function listener.try_lead() is
    'Makes this session the one that publishes, until the session ends. Returns false while another session is.';

-- PostgreSQL caches the list of sessions until the end of the transaction. Without a new one, a leader that has connected since
-- would be missed.
create or replace function parley.find_leader() returns integer
language sql volatile set search_path = pg_catalog, pg_temp as $$
    select pg_stat_clear_snapshot();
    select l.pid
    from pg_locks l join pg_stat_get_activity(null) a on a.pid = l.pid
    where l.locktype = 'advisory' and l.granted and l.database = a.datid and l.objsubid = 1
      and l.objid::bigint = parley.leader_lock_key() and pg_has_role(a.usesysid, 'parley_listener', 'member')
      and a.datid = (select d.oid from pg_database d where d.datname = current_database())
    limit 1
$$;

create or replace function listener.ack_and_fetch_events(
    acked bigint[], after_chat uuid, held_chats uuid[], held_until bigint[],
    max_events integer, max_events_per_chat integer, max_bytes integer)
returns table (
    id bigint, chat_id uuid, event text, payload text, terminated_user text, channels text[], has_more boolean)
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    ids bigint[];
    stored parley.outbox;
    publications parley.publication[];
    fetched integer := 0;
    bytes bigint := 0;
    user_event_bytes constant integer := 20000;  -- accounts for the search of the recipients, so that a fetch has few of them
begin
    if acked <> '{}' then
        delete from parley.outbox_queue q where q.id = any (acked);
    end if;
    ids := parley.next_event_ids(after_chat, held_chats, held_until, max_events, max_events_per_chat);
    for stored in
        -- "offset 0" makes PostgreSQL read each row of the log by its primary key, whatever the statistics of the table.
        select o.* from unnest(ids) with ordinality i (id, place)
        cross join lateral (select l.* from parley.outbox l where l.id = i.id offset 0) o
        order by i.place
    loop
        publications := array(select p from parley.list_publications(stored) p);
        fetched := fetched + 1;
        bytes := bytes + pg_column_size(publications)
            + case when stored.event = 'user:updated' and publications <> '{}' then user_event_bytes else 0 end;
        has_more := fetched = max_events or bytes >= max_bytes;
        return query  -- one row for an event without publications
        select stored.id, stored.chat_id, coalesce(p.name, stored.event), p.payload, p.terminated_user, p.channels, has_more
        from (select) event left join unnest(publications) p on true;
        exit when has_more;
    end loop;
end $$;
comment on function listener.ack_and_fetch_events(bigint[], uuid, uuid[], bigint[], integer, integer, integer) is
    'Removes the events with the ids in acked from the queue. Returns the publications of the next events, in the order of chats and ids; an event without recipients has one row, without channels. Returns up to max_events_per_chat events of a chat and max_events in total, and stops when their publications exceed max_bytes. The rows of the last event have has_more if a limit was reached: a round continues after its chat_id. after_chat is where a round starts or continues; null visits only the chats of the latest events, those of messages first and not in the order of chats. held_chats and held_until are the chats of which the caller holds events, and the last of these events, or null to fetch no further ones of that chat.';

-- The plan must not depend on the size of the queue when it was analyzed: a listener keeps it for as long as it runs. Each
-- "order by" therefore leaves one index to use, and the join with unnest() is a hash join.
create or replace function parley.next_event_ids(
    after_chat uuid, held_chats uuid[], held_until bigint[], max_events integer, max_events_per_chat integer)
returns bigint[]
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
begin
    return array(
        select n.id
        from (
            select n.place, n.chat_id, n.id
            from (
                select 0 as place, c.chat_id from parley.queued_chats(after_chat) c
                union all
                select l.place, l.chat_id from parley.latest_chats() l where after_chat is null
            ) c
            left join unnest(held_chats, held_until) h (chat_id, last_id) on h.chat_id = c.chat_id
            cross join lateral (
                select c.place, q.chat_id, q.id from parley.outbox_queue q
                where (q.chat_id, q.id) > (c.chat_id, case when h.chat_id is null then 0 else h.last_id end)
                  and q.chat_id <= c.chat_id
                order by q.chat_id, q.id limit max_events_per_chat) n
            limit max_events) n
        order by n.place, n.chat_id, n.id);
end $$;

-- The chats of the latest events, those of messages first, and the newest first. Ids are assigned before the commit, so an event
-- may appear behind later ones. Behind more than 1,000, a round finds it.
create or replace function parley.latest_chats() returns table (place integer, chat_id uuid)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    latest constant bigint := pg_sequence_last_value('parley.outbox_id_seq') - 1000;
begin
    return query
    select row_number() over (order by bool_or(o.event like 'message:%') desc, max(l.id) desc)::integer, l.chat_id
    from (select q.id, q.chat_id from parley.outbox_queue q where q.id > latest order by q.id limit 1000) l
    left join lateral (select e.event from parley.outbox e where e.id = l.id offset 0) o on true
    group by l.chat_id order by 1;
end $$;

-- A loose index scan: one descent of the index for each chat, however many events it has. Evaluated lazily, so a caller with a
-- limit reads no further. Returns the chats after the given one, in the order of their ids; none after null.
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

create or replace function listener.enable_notify() returns boolean
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select pg_try_advisory_lock(parley.notify_lock_key())
$$;
comment on function listener.enable_notify() is
    'From now on each commit with an event notifies the channel parley_outbox. Returns false, and changes nothing, while a transaction that will not notify is in progress. Events that were committed before must be fetched without a notification.';

create or replace function listener.disable_notify() returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select pg_advisory_unlock(parley.notify_lock_key())
$$;
comment on function listener.disable_notify() is 'From now on commits do not notify, so the listener must poll.';

create or replace function listener.dead_letter(event_id bigint, error text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    update parley.outbox o set dead_lettered_at = now(), error = left(dead_letter.error, 1000) where o.id = event_id;
    delete from parley.outbox_queue q where q.id = event_id;
end $$;
comment on function listener.dead_letter(bigint, text) is
    'Removes an event that cannot be published from the queue. analytics.dead_letter_events lists it, with the error.';

create or replace function listener.outbox_health(
    out waiting_events bigint, out lag_seconds numeric, out oldest_event bigint, out newest_event bigint,
    out dead_letter_events bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select h.waiting_events, h.lag_seconds, (select min(q.id) from parley.outbox_queue q),
        (select max(q.id) from parley.outbox_queue q), h.dead_letter_events
    from analytics.event_health h where parley.assert_writable()
$$;
comment on function listener.outbox_health() is
    'How many events are not published yet, for how many seconds the oldest of them has been waiting by the clock, its id and that of the newest, and how many events are dead-lettered. Raises read_only_sql_transaction (25006) if the session cannot write.';

create or replace function listener.health(
    out waiting_events bigint, out lag_seconds numeric, out dead_letter_events bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select h.waiting_events, h.lag_seconds, h.dead_letter_events from listener.outbox_health() h
$$;
comment on function listener.health() is
    'The counts and the lag of listener.outbox_health. For listeners of earlier versions, which call this function until they are restarted.';
