-- The event log: clients that were disconnected fetch the events after a cursor. The log is the outbox, whose events are kept
-- for days after they were published.
--
--   api.list_chat_events                GET /api/chats/{chatId}/events
--   api.list_events                     GET /api/events
--   parley.event_page_json              formats a page of events
--   parley.parse_event_limit            the maximum number of events in a response
--   parley.find_chat_events             the events of the selected chat after a seq, up to the first gap
--   parley.find_new_events              the events of the user's chats that are not visible in a snapshot, chat by chat
--   parley.find_chats_with_new_events   the chats with such events, and those that the user lost access to
--   parley.is_end_of_access             whether an event ends a user's access to its chat
--   parley.find_first_new_seq           the seq of a chat's first event that is not visible in a snapshot
--   parley.event_message_id             the id of the message whose content the event includes, or null
--   parley.event_json                   an event as JSON, for responses: with the content that is still current
--   parley.add_own_chat                 an event as JSON, with the chat if the user was added to it
--   parley.event_entry_json             an event as JSON, with its data
--
-- In a chat, the seq identifies and orders the events. event_cursors.sql explains the cursors across chats.

create or replace function api.list_chat_events(
    chat_id text, after text default null, "limit" text default null, include text default null) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    chat constant uuid := parley.select_chat(chat_id);
    last_seq constant bigint := (parley.set_chat_seq_header()).seq;
    page record;
begin
    perform parley.raise_invalid(jsonb_build_object(
        'after', case when after is null then 'is required' else parley.number_error('seq', after) end,
        'limit', parley.number_error('event_limit', "limit"),
        'include', parley.include_error(include, '{users}')));
    select * into page from parley.find_chat_events(after::bigint, parley.parse_event_limit("limit"), include);
    if page.next is null and after::bigint <> last_seq then
        perform parley.raise_error('PT410', 'The log does not have the events after this seq.');
    end if;
    return parley.event_page_json(coalesce(page.events, '[]'), to_json(coalesce(page.next, last_seq)),
        coalesce(page.next < last_seq, false), include, page.users);
end $$;
comment on function api.list_chat_events(text, text, text, text) is
    'Lists the events of a chat after a seq: {"events": [{"chatId", "seq", "event", "data", "at"}], "next", "hasMore"}; next is the value of after for the next request. limit is 1 to 1000, by default 100. include=users adds "users": [{"id", "name", "imageUrl"}]. Raises PT404 unless the user is a member, and PT410 if the log no longer has the events.';

create or replace function api.list_events(
    after text default null, "limit" text default null, include text default null) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    current_snapshot constant pg_snapshot := pg_current_snapshot();
    cursor record;
    max_events bigint;
    until_snapshot pg_snapshot;
    page record;
    has_more boolean;
    has_newer boolean;
begin
    select * into cursor from parley.decode_cursor(after);
    perform parley.raise_invalid(jsonb_build_object(
        'after', case when after is not null and cursor.after_snapshot is null
            then 'must be a cursor from an earlier response' end,
        'limit', parley.number_error('event_limit', "limit"),
        'include', parley.include_error(include, '{users}')));
    if after is null then
        return parley.event_page_json('[]', to_json(parley.encode_cursor(current_snapshot)), false, include, '[]');
    end if;
    perform parley.assert_cursor_not_expired(cursor.lineage, cursor.after_snapshot);
    max_events := parley.parse_event_limit("limit");
    until_snapshot := coalesce(cursor.until_snapshot, current_snapshot);
    select * into page from parley.find_new_events(
        cursor.after_snapshot, until_snapshot, cursor.next_chat, cursor.next_seq, max_events + 1, include);
    has_more := cardinality(page.events) > max_events;
    -- Events may have been committed since the first of several pages.
    has_newer := not has_more and cursor.until_snapshot is not null and exists (
        select from parley.find_chats_with_new_events(until_snapshot, current_snapshot, null));
    return parley.event_page_json(
        array_to_json(page.events[:max_events]),
        to_json(case
            when has_more then parley.encode_cursor(
                cursor.after_snapshot, until_snapshot, page.chats[max_events + 1], page.seqs[max_events + 1])
            else parley.encode_cursor(until_snapshot) end),
        has_more or has_newer, include, page.users);
end $$;
comment on function api.list_events(text, text, text) is
    'Lists the events of all chats of the user after a cursor, chat by chat: {"events": [{"chatId", "seq", "event", "data", "at"}], "next", "hasMore"}; next is the cursor for the next request. Without a cursor there are no events, and next is the current cursor. For a chat that was deleted, or that the user was removed from, only the event that ended the access is returned. include=users adds "users": [{"id", "name", "imageUrl"}]. Raises PT410 if the log does not reach back to the cursor.';

create or replace function parley.event_page_json(events json, next json, has_more boolean, include text, users json)
returns json
language sql stable as $$
    select case when parley.is_included(include, 'users')
        then json_build_object('events', events, 'next', next, 'hasMore', has_more, 'users', users)
        else json_build_object('events', events, 'next', next, 'hasMore', has_more) end
$$;

create or replace function parley.parse_event_limit("limit" text) returns bigint
language sql immutable parallel safe as $$ select coalesce("limit"::bigint, 100) $$;

-- An event's position is its seq without the numbers that the chat has skipped (lineage.sql). Events with consecutive positions
-- have the same position - row_number(), so the filter returns the first run. No event follows a seq in the gap.
create or replace function parley.find_chat_events(
    after bigint, max_events bigint, include text, out events json, out next bigint, out users json)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    chat constant parley.chats := (select c from parley.chats c where c.id = session.selected_chat());
    skipped constant bigint := upper(chat.gap) - lower(chat.gap);
begin
    select json_agg(parley.event_json(e.event, m, chat.title) order by e.seq), max(e.seq),
        case when parley.is_included(include, 'users')
            then parley.users_json(array_agg(parley.event_user_id(e.event))) end
    into events, next, users
    from (
        select o as event, o.seq, o.seq - case when o.seq >= upper(chat.gap) then skipped else 0 end
            - row_number() over (order by o.seq) as position_before_run
        from parley.outbox o where o.chat_id = chat.id and o.seq > after order by o.seq limit max_events
    ) e left join parley.messages m on m.chat_id = chat.id and m.id = parley.event_message_id(e.event)
    where e.position_before_run = after - case when after >= upper(chat.gap) then skipped else 0 end;
end $$;

-- Starts at the event next_seq of next_chat, if given.
create or replace function parley.find_new_events(
    after_snapshot pg_snapshot, until_snapshot pg_snapshot, next_chat uuid, next_seq bigint, max_events bigint,
    include text, out events json[], out chats uuid[], out seqs bigint[], out users json)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    chat record;
    first_seq bigint;
    last_seq bigint;
    remaining bigint := max_events;
    chat_events record;
    user_ids text[];
begin
    events := '{}';
    for chat in
        select c.id, c.end_seq, (select t.title from parley.chats t where t.id = c.id) as title
        from parley.find_chats_with_new_events(after_snapshot, until_snapshot, next_chat) c order by c.id
    loop
        -- A former member gets only the event that ended the access.
        first_seq := coalesce(chat.end_seq, parley.find_first_new_seq(chat.id, after_snapshot));
        first_seq := greatest(first_seq, case chat.id when next_chat then next_seq end);
        last_seq := coalesce(chat.end_seq, parley.find_first_new_seq(chat.id, until_snapshot) - 1);
        select coalesce(array_agg(parley.event_json(e.event, m, chat.title) order by e.seq), '{}') as events,
            array_agg(chat.id) as chats, array_agg(e.seq order by e.seq) as seqs,
            array_agg(parley.event_user_id(e.event)) as user_ids
        into chat_events
        from (
            select o as event, o.seq from parley.outbox o
            where o.chat_id = chat.id and o.seq >= first_seq and o.seq <= last_seq order by o.seq limit remaining
        ) e left join parley.messages m on m.chat_id = chat.id and m.id = parley.event_message_id(e.event);
        events := events || chat_events.events;
        chats := chats || chat_events.chats;
        seqs := seqs || chat_events.seqs;
        user_ids := user_ids || chat_events.user_ids;
        remaining := max_events - cardinality(events);
        exit when remaining = 0;
    end loop;
    users := case when parley.is_included(include, 'users') then parley.users_json(user_ids) end;
end $$;

-- Starts at first_chat, if given. `end_seq` is the seq of the event that ended the user's access, or null for a member.
create or replace function parley.find_chats_with_new_events(
    after_snapshot pg_snapshot, until_snapshot pg_snapshot, first_chat uuid)
returns table (id uuid, end_seq bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    caller constant text := session.user_id();
    first_id constant uuid := coalesce(first_chat, '00000000-0000-0000-0000-000000000000');
begin
    return query
    select m.chat_id, null::bigint
    from parley.members m cross join lateral (
        select o.transaction_id from parley.outbox o where o.chat_id = m.chat_id order by o.seq desc limit 1) newest
    where m.user_id = caller and m.chat_id >= first_id and parley.is_after_snapshot(newest.transaction_id, after_snapshot)
    union all
    select o.chat_id, max(o.seq)
    from parley.outbox o
    where parley.is_end_of_access(o, caller) and o.chat_id >= first_id
      and parley.is_after_snapshot(o.transaction_id, after_snapshot)
      and not parley.is_after_snapshot(o.transaction_id, until_snapshot)
      and not exists (select from parley.members m where m.chat_id = o.chat_id and m.user_id = caller)
    group by o.chat_id;
end $$;

create or replace function parley.is_end_of_access(event parley.outbox, user_id text) returns boolean
language sql immutable parallel safe as $$
    select event.event = 'chat:deleted' and event.recipients @> array[user_id] or event.removed_user = user_id
$$;

-- A binary search, because a chat may have many events. Invariant: the events before `low` are visible, and none from `high` on
-- is. `high` follows an event, so that a gap takes no more steps. Returns the seq after the last event if all are visible, and null
-- if the chat has no events.
create or replace function parley.find_first_new_seq(chat uuid, snapshot pg_snapshot) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    event record;
    low bigint;
    high bigint;
begin
    select o.seq, o.transaction_id into event from parley.outbox o where o.chat_id = chat order by o.seq desc limit 1;
    if parley.is_after_snapshot(event.transaction_id, snapshot) is not true then
        return event.seq + 1;
    end if;
    high := event.seq;
    low := (select o.seq from parley.outbox o where o.chat_id = chat order by o.seq limit 1);
    while low < high loop
        select o.seq, o.transaction_id into event from parley.outbox o
        where o.chat_id = chat and o.seq >= (low + high) / 2 order by o.seq limit 1;
        if parley.is_after_snapshot(event.transaction_id, snapshot) then
            high := 1 + (
                select o.seq from parley.outbox o
                where o.chat_id = chat and o.seq < (low + high) / 2 order by o.seq desc limit 1);
        else
            low := event.seq + 1;
        end if;
    end loop;
    return low;
end $$;

create or replace function parley.event_message_id(event parley.outbox) returns uuid
language sql immutable parallel safe as $$
    select case when event.event in ('message:sent', 'message:updated') then (event.payload ->> 'id')::uuid end
$$;

-- `message` is the current row of the event's message. All its columns are null if the event has no message, or if the message
-- was deleted. `title` is the current title of the chat. Content and titles that differ from the current ones are left out.
-- The nonce of a message is for its sender only, and the chat of a membership for its user.
create or replace function parley.event_json(event parley.outbox, message parley.messages, title text) returns json
language sql stable as $$
    select parley.add_own_chat(event, parley.event_entry_json(event,
        case
            when message.id is distinct from parley.event_message_id(event)
                then parley.omit_content(event.payload, 'deleted')
            when coalesce(event.payload ->> 'content', event.payload #>> '{updates,content}') <> message.content
                then parley.omit_content(event.payload, 'truncated')
            when event.payload #>> '{updates,title}' <> title
                then (event.payload::jsonb #- '{updates,title}')::json
            else event.payload end,
        case when parley.event_user_id(event) = session.user_id() then event.nonce end))
$$;

create or replace function parley.add_own_chat(event parley.outbox, entry json) returns json
language sql stable as $$
    select case when event.event = 'member:added' and parley.event_user_id(event) = session.user_id()
        then parley.add_field(entry, 'chat', parley.find_sync_chat(event.chat_id)) else entry end
$$;

create or replace function parley.event_entry_json(event parley.outbox, data json, nonce text) returns json
language sql stable as $$
    select json_strip_nulls(json_build_object(
        'chatId', event.chat_id,
        'seq', event.seq,
        'event', event.event,
        'data', data,
        'at', parley.iso8601(coalesce(event.changed_at, event.recorded_at)),
        'nonce', nonce))
$$;
