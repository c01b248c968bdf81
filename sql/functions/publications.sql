-- Publications: what is sent to Pusher for an event.
--
--   parley.list_publications    the publications of an event
--   parley.own_event_payload    the data of a chat:event for the user whom the event names: with nonce and new chat
--   parley.chat_event_payload   the data of a chat:event, within Pusher's limit of 10 kB
--   parley.entry_with_user      an event as JSON, with the name and picture of the user whom it names
--   parley.event_user_id        the user whom an event names, or null
--   parley.user_queue_id        the chat_id under which the events of a user are queued
--
-- channels.sql has the recipients, and publishing.sql the functions by which the listener fetches publications.

-- The sender of a message with a nonce, and a new member, receive a publication of their own.
create or replace function parley.list_publications(event parley.outbox) returns setof parley.publication
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    channels text[] := parley.event_channels(event);
    own text;
begin
    if channels <> '{}' then
        return next (event.event, event.payload::text, channels, null)::parley.publication;
    end if;
    channels := parley.member_channels(event);
    if event.nonce is not null or event.event = 'member:added' then
        own := parley.user_channel(parley.event_user_id(event));
        if own = any (channels) then
            return next ('chat:event', parley.own_event_payload(event), array[own], null)::parley.publication;
        end if;
        channels := array_remove(channels, own);
    end if;
    if channels <> '{}' then
        return next ('chat:event', parley.chat_event_payload(event, null), channels, null)::parley.publication;
    end if;
    if event.terminates_connections then
        return next (event.event, event.payload::text, null, parley.pusher_user_id(event.removed_user))::parley.publication;
    end if;
end $$;

-- The listener has no user, so the chat is read as the new member.
create or replace function parley.own_event_payload(event parley.outbox) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    entry constant text := parley.chat_event_payload(event, event.nonce);
    with_chat text;
begin
    if event.event = 'member:added' then
        perform set_config('parley.user_id', parley.event_user_id(event), true);
        with_chat := parley.add_field(entry::json, 'chat', parley.find_sync_chat(event.chat_id))::text;
        perform set_config('parley.user_id', '', true);
    end if;
    return case when octet_length(with_chat) <= 10000 then with_chat else entry end;
end $$;

-- The client may not know the user whom the event names, and should not need a request for the name. The statement repeats
-- users_json(), whose settings would double the time of this function.
create or replace function parley.chat_event_payload(event parley.outbox, nonce text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    named_user json;
    entry text;
begin
    select parley.public_user_json(e.user_id, u.name, u.image) into named_user
    from (select parley.event_user_id(event)) e (user_id) left join next_auth.users u on u.id = e.user_id
    where e.user_id is not null;
    entry := parley.entry_with_user(event, event.payload, nonce, named_user);
    if octet_length(entry) > 10000 then
        entry := parley.entry_with_user(event, parley.omit_content(event.payload, 'truncated'), nonce, named_user);
    end if;
    return entry;
end $$;

create or replace function parley.entry_with_user(event parley.outbox, data json, nonce text, named_user json) returns text
language sql stable as $$
    select case when named_user is null then parley.event_entry_json(event, data, nonce)
        else parley.add_field(parley.event_entry_json(event, data, nonce), 'user', named_user) end::text
$$;

create or replace function parley.event_user_id(event parley.outbox) returns text
language sql immutable parallel safe as $$
    select case
        when event.event in ('member:added', 'member:removed') then event.payload #>> '{}'
        when event.event in ('message:sent', 'chat:read', 'member:updated') then event.payload ->> 'userId' end
$$;

create or replace function parley.user_queue_id(user_id text) returns uuid
language sql immutable parallel safe as $$ select md5('parley.user ' || user_id)::uuid $$;
