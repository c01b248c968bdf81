-- Catching up: what happened since, from the outbox, which is kept as a log.
--
--   api.list_chat_events         GET /api/chats/{chatId}/events
--   api.list_events              GET /api/events
--   parley.event_limit           how many events an answer has at most
--   parley.find_chat_events      events of the entered chat after a seq, as far as there is no gap
--   parley.find_unseen_events    events of the user's chats that a snapshot did not see, chat by chat
--   parley.find_changed_chats    chats with such events, and those that have ended for the user
--   parley.ends_access           whether an event tells a user that a chat has ended for them
--   parley.first_unseen_seq      the seq of the first such event in a chat
--   parley.is_unseen_by          whether a snapshot did not see a transaction
--   parley.event_message_id      the id of the message whose content an event may have, or null
--   parley.event_json            an event as answers have it
--   parley.assert_log_covers     raises "cursor expired" unless the log reaches back to a snapshot
--   parley.decode_cursor         what a cursor says
--   parley.encode_cursor         a cursor that says it
--   parley.lineage               what a cursor of another history of this database has otherwise
--   parley.outbox_after_delete   trigger: from where on the outbox is whole; what is removed is not published
--   parley.start_new_epoch       for a DBA, after a restore: nobody is to go on from where they were
--
-- A chat's seq tells its events apart and orders them. Over all chats there is no such number: ids are given before the
-- commit. So there a cursor is a snapshot: of the transactions that it did not see, all events are new. Events of a chat
-- are recorded under the lock of its row, hence what a snapshot has seen of a chat are its first events, without a gap.
--
-- While there are more pages, a cursor also has the snapshot of the first one, which the last will end with, and the event
-- that comes next. After the last of several pages it is asked once more, for what happened meanwhile.

create or replace function api.list_chat_events(chat_id text, after text default null, "limit" text default null) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    chat constant uuid := parley.select_chat(chat_id);
    last_seq constant bigint := parley.set_response_chat_seq();
    page record;
begin
    perform parley.raise_invalid(jsonb_build_object(
        'after', case when after is null then 'is required' else parley.number_error('seq', after) end,
        'limit', parley.number_error('events', "limit")));
    select * into page from parley.find_chat_events(after::bigint, parley.event_limit("limit"));
    if page.next is null and after::bigint <> last_seq then
        perform parley.raise_error('PT410', 'The log does not have what follows this event of the chat.');
    end if;
    return json_build_object(
        'events', coalesce(page.events, '[]'),
        'next', coalesce(page.next, last_seq),
        'hasMore', coalesce(page.next < last_seq, false));
end $$;
comment on function api.list_chat_events(text, text, text) is
    'Events of a chat after one, by their seq: {"events": [{"chatId", "seq", "event", "data", "at"}], "next", "hasMore"}; next is what to ask after. limit is 1 to 1000, by default 100. Raises PT410 where the log does not have them, PT404 for who is no member.';

create or replace function api.list_events(after text default null, "limit" text default null) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    this_moment constant pg_snapshot := pg_current_snapshot();
    asked record;
    size bigint;
    until pg_snapshot;
    page record;
    has_more boolean;
begin
    select * into asked from parley.decode_cursor(after);
    perform parley.raise_invalid(jsonb_build_object(
        'after', case when after is not null and asked.seen is null then 'must be a cursor that was answered' end,
        'limit', parley.number_error('events', "limit")));
    if after is null then
        return json_build_object('events', json_build_array(), 'next', parley.encode_cursor(this_moment), 'hasMore', false);
    end if;
    perform parley.assert_log_covers(asked.history, asked.seen);
    size := parley.event_limit("limit");
    until := coalesce(asked.until, this_moment);
    select * into page from parley.find_unseen_events(asked.seen, until, asked.next_chat, asked.next_seq, size + 1);
    has_more := cardinality(page.events) > size;
    return json_build_object(
        'events', array_to_json(page.events[:size]),
        'next', case
            when has_more then parley.encode_cursor(asked.seen, until, page.chats[size + 1], page.seqs[size + 1])
            else parley.encode_cursor(until) end,
        'hasMore', has_more or asked.until is not null);
end $$;
comment on function api.list_events(text, text) is
    'Events of all of the user''s chats since a cursor, chat by chat: {"events": [{"chatId", "seq", "event", "data", "at"}], "next", "hasMore"}; next is the cursor to ask after. Without a cursor there are no events, and next is where to begin. Who was removed, or whose chat was deleted, is told that of the chat. Raises PT410 where the log does not reach back to the cursor.';

create or replace function parley.event_limit("limit" text) returns bigint
language sql immutable parallel safe as $$ select coalesce("limit"::bigint, 100) $$;

create or replace function parley.find_chat_events(after bigint, size bigint, out events json, out next bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    chat constant uuid := session.selected_chat();
begin
    select json_agg(parley.event_json(e.found, m, (select c.title from parley.chats c where c.id = chat)) order by e.seq),
        max(e.seq)
    into events, next
    from (
        select o as found, o.seq, o.seq - row_number() over (order by o.seq) as before_them
        from parley.outbox o where o.chat_id = chat and o.seq > after order by o.seq limit size
    ) e left join parley.messages m on m.chat_id = chat and m.id = parley.event_message_id(e.found)
    where e.before_them = after;
end $$;

-- From an event on, if it is given.
create or replace function parley.find_unseen_events(
    seen pg_snapshot, until pg_snapshot, next_chat uuid, next_seq bigint, size bigint,
    out events json[], out chats uuid[], out seqs bigint[])
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    chat record;
    first_seq bigint;
    last_seq bigint;
    room bigint := size;
    part record;
begin
    events := '{}';
    for chat in
        select c.id, c.end_seq, (select o.title from parley.chats o where o.id = c.id) as title
        from parley.find_changed_chats(seen, until, next_chat) c order by c.id
    loop
        first_seq := coalesce(chat.end_seq, parley.first_unseen_seq(chat.id, seen));
        first_seq := greatest(first_seq, case chat.id when next_chat then next_seq end);
        last_seq := coalesce(chat.end_seq, parley.first_unseen_seq(chat.id, until) - 1);
        select coalesce(array_agg(parley.event_json(e.found, m, chat.title) order by e.seq), '{}') as events,
            array_agg(chat.id) as chats, array_agg(e.seq order by e.seq) as seqs
        into part
        from (
            select o as found, o.seq from parley.outbox o
            where o.chat_id = chat.id and o.seq >= first_seq and o.seq <= last_seq order by o.seq limit room
        ) e left join parley.messages m on m.chat_id = chat.id and m.id = parley.event_message_id(e.found);
        events := events || part.events;
        chats := chats || part.chats;
        seqs := seqs || part.seqs;
        room := size - cardinality(events);
        exit when room = 0;
    end loop;
end $$;

-- From a chat on, if it is given. `end_seq` is of the event that is all that the user is told of a chat.
create or replace function parley.find_changed_chats(seen pg_snapshot, until pg_snapshot, first_chat uuid)
returns table (id uuid, end_seq bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    me constant text := session.user_id();
    first_id constant uuid := coalesce(first_chat, '00000000-0000-0000-0000-000000000000');
begin
    return query
    select m.chat_id, null::bigint
    from parley.members m cross join lateral (
        select o.transaction_id from parley.outbox o where o.chat_id = m.chat_id order by o.seq desc limit 1) newest
    where m.user_id = me and m.chat_id >= first_id and parley.is_unseen_by(newest.transaction_id, seen)
    union all
    select o.chat_id, max(o.seq)
    from parley.outbox o
    where parley.ends_access(o, me) and o.chat_id >= first_id
      and parley.is_unseen_by(o.transaction_id, seen) and not parley.is_unseen_by(o.transaction_id, until)
      and not exists (select from parley.members m where m.chat_id = o.chat_id and m.user_id = me)
    group by o.chat_id;
end $$;

create or replace function parley.ends_access(event parley.outbox, user_id text) returns boolean
language sql immutable parallel safe as $$
    select event.event = 'chat:deleted' and event.recipients @> array[user_id] or event.removed_user = user_id
$$;

-- By halves: there may be many. All before `low` were seen, and none from `high` on. Where all were, what comes next.
create or replace function parley.first_unseen_seq(chat uuid, seen pg_snapshot) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    event record;
    low bigint;
    high bigint;
begin
    select o.seq, o.transaction_id into event from parley.outbox o where o.chat_id = chat order by o.seq desc limit 1;
    if parley.is_unseen_by(event.transaction_id, seen) is not true then
        return event.seq + 1;
    end if;
    high := event.seq;
    low := (select o.seq from parley.outbox o where o.chat_id = chat order by o.seq limit 1);
    while low < high loop
        select o.seq, o.transaction_id into event from parley.outbox o
        where o.chat_id = chat and o.seq >= (low + high) / 2 order by o.seq limit 1;
        if parley.is_unseen_by(event.transaction_id, seen) then
            high := (low + high) / 2;
        else
            low := event.seq + 1;
        end if;
    end loop;
    return low;
end $$;

-- A number that is still to come is of a cluster that this database was restored from.
create or replace function parley.is_unseen_by(transaction_id xid8, seen pg_snapshot) returns boolean
language sql stable parallel safe as $$
    select transaction_id >= pg_snapshot_xmin(seen) and not pg_visible_in_snapshot(transaction_id, seen)
        and transaction_id < pg_snapshot_xmax(pg_current_snapshot())
$$;

create or replace function parley.event_message_id(event parley.outbox) returns uuid
language sql immutable parallel safe as $$
    select case when event.event in ('message:sent', 'message:updated') then (event.payload ->> 'id')::uuid end
$$;

-- `message` is the event's message as it is now, all null if it has none or if that was deleted; `title` is the chat's as it
-- is now. Content and titles that a member can no longer read there are left out.
create or replace function parley.event_json(event parley.outbox, message parley.messages, title text) returns json
language sql stable as $$
    select json_build_object(
        'chatId', event.chat_id,
        'seq', event.seq,
        'event', event.event,
        'data', case
            when message.id is distinct from parley.event_message_id(event)
                or coalesce(event.payload ->> 'content', event.payload #>> '{updates,content}') <> message.content
                then parley.without_content(event.payload)
            when event.payload #>> '{updates,title}' <> title
                then (event.payload::jsonb #- '{updates,title}')::json
            else event.payload end,
        'at', parley.iso8601(coalesce(event.changed_at, event.recorded_at)))
$$;

-- Each transaction before the oldest one that a snapshot did not see, it has seen.
create or replace function parley.assert_log_covers(history text, seen pg_snapshot) returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    if history <> parley.lineage() or exists (
        select from parley.outbox_state s where s.removed_until >= pg_snapshot_xmin(seen)
          and s.removed_until < pg_snapshot_xmax(pg_current_snapshot()))
    then
        perform parley.raise_error('PT410', 'The log does not reach back to this cursor.');
    end if;
end $$;

-- `seen` is null for what is no cursor.
create or replace function parley.decode_cursor(
    cursor text, out history text, out seen pg_snapshot, out until pg_snapshot, out next_chat uuid, out next_seq bigint)
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
    said text[];
begin
    if length(cursor) <= 20000 then
        said := string_to_array(convert_from(parley.from_base64url(cursor), 'UTF8'), ' ');
    end if;
    if cardinality(said) in (2, 5) then
        until := said[3];
        next_chat := said[4];
        next_seq := said[5];
        history := said[1];
        seen := said[2];
    end if;
exception when data_exception then
    seen := null;
end $$;

create or replace function parley.encode_cursor(
    seen pg_snapshot, until pg_snapshot default null, next_chat uuid default null, next_seq bigint default null) returns text
language sql stable as $$
    select parley.base64url(convert_to(concat_ws(' ', parley.lineage(), seen, until, next_chat, next_seq), 'UTF8'))
$$;

-- Transactions are numbered anew in another cluster, and again after a restore or on a promoted replica, which is on another
-- timeline. A copy of the files that is started as it is goes on with its timeline: there start_new_epoch() makes the difference.
create or replace function parley.lineage() returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select left(md5(concat_ws(' ', parley.system_identifier(), parley.timeline(),
        (select oid from pg_database where datname = current_database()), parley.epoch())), 12)
$$;

create or replace function parley.outbox_after_delete() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    this_transaction constant xid8 := pg_current_xact_id();
begin
    if tg_op = 'TRUNCATE' then
        delete from parley.outbox_queue;
        update parley.outbox_state set removed_until = this_transaction;
    else
        delete from parley.outbox_queue q where q.id = any (array(select r.id from gone r));
        update parley.outbox_state s
        set removed_until = greatest(g.latest, case when s.removed_until <= this_transaction then s.removed_until end)
        from (select max(r.transaction_id) as latest from gone r where r.transaction_id <= this_transaction) g
        where g.latest is not null;
    end if;
    return null;
end $$;

-- What was told after the moment that a backup is of has not happened now, and its numbers are given again: to whoever
-- knows of it, each chat is now unknown.
create or replace function parley.start_new_epoch() returns void
language sql volatile as $$
    update parley.chats set seq = seq + 1000000;
    update parley.outbox set transaction_id = null where transaction_id is not null;
    update parley.outbox_state set epoch = default, removed_until = null;
$$;
