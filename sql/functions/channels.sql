-- Pusher's names of chats and users, and who receives an event.
--
--   parley.chat_channel      the channel of a chat
--   parley.user_channel      the channel of a user
--   parley.pusher_user_id    the id of a user
--   parley.is_small          whether the events of a chat are published on the channels of its members
--   parley.event_channels    the channels on which an event is published under its own name
--   parley.member_channels   the channels on which it is published as chat:event
--   parley.list_recipients   the users who receive a change of a chat under its own name
--   parley.list_members_at   the members at an event's seq who are still members
--   parley.list_contacts     the users who receive a change of a user: members of common chats
--
-- A chat's channel carries the changes of the chat and its messages. A user's channel carries the changes of all chats of the
-- user, for lists of chats. It also carries, as chat:event, each event of the user's small chats, so that a client
-- needs one subscription. publications.sql combines the two, and pusher.sql decides who may subscribe to a channel.

create or replace function parley.chat_channel(chat uuid) returns text
language sql immutable parallel safe as $$ select 'private-chat-' || chat::text $$;

create or replace function parley.user_channel(user_id text) returns text
language sql immutable parallel safe as $$ select 'private-user-' || parley.pusher_user_id(user_id) $$;

-- Pusher accepts at most 164 characters in the name of a channel, of a small set of characters. Ids are therefore encoded in
-- base64url, and an id of more than 113 bytes is replaced by its hash. No encoded id begins with the prefix sha256-, because
-- that would not decode to UTF-8.
create or replace function parley.pusher_user_id(user_id text) returns text
language sql immutable parallel safe as $$
    select case when octet_length(user_id) <= 113 then parley.encode_base64url(convert_to(user_id, 'UTF8'))
        else 'sha256-' || parley.encode_base64url(sha256(convert_to(user_id, 'UTF8'))) end
$$;

-- 100 channels are one request to Pusher. For larger chats, one channel for all members is cheaper than one for each.
create or replace function parley.is_small(chat parley.chats) returns boolean
language sql immutable parallel safe as $$ select chat.member_count <= 100 $$;

create or replace function parley.event_channels(event parley.outbox) returns text[]
language sql stable as $$
    select case
        when event.event like 'member:%' or event.event = 'chat:read' then '{}'
        when event.event in ('chat:updated', 'chat:deleted') then parley.chat_channel(event.chat_id)
            || array(select parley.user_channel(r) from parley.list_recipients(event) r)
        -- A later change of the user that is still in the queue has the current values.
        when event.event = 'user:updated' and exists (
            select from parley.outbox_queue q where q.chat_id = event.chat_id and q.id > event.id) then '{}'
        when event.event = 'user:updated' then
            array(select parley.user_channel(c) from parley.list_contacts(event.payload ->> 'id') c)
        else array[parley.chat_channel(event.chat_id)] end
$$;

-- Small chats: the members at the event's seq who are still members, and the former member. Large chats: only the user whose
-- membership the event changes, or who sent the message with a nonce.
create or replace function parley.member_channels(event parley.outbox) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    members text[];
begin
    if event.on_user_channels then
        members := case when event.event = 'chat:deleted' then event.recipients
            else array(select m from parley.list_members_at(event) m) end;
    elsif event.event in ('member:added', 'member:updated') or event.nonce is not null then
        members := array(select m from parley.list_members_at(event) m where m = parley.event_user_id(event));
    end if;
    return array(select parley.user_channel(r) from unnest(members || event.removed_user) r where r is not null);
end $$;

-- The deletion of a chat is its last event, and stores the members, whose memberships are deleted with it or soon after.
create or replace function parley.list_recipients(event parley.outbox) returns setof text
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    return query
    select unnest(e.recipients)
    from (select o.event, o.recipients from parley.outbox o where o.chat_id = event.chat_id order by o.seq desc limit 1) e
    where e.event = 'chat:deleted';
    if not found then
        return query select m from parley.list_members_at(event) m;
    end if;
end $$;

-- Inlined, so that callers who look for one user read one row.
create or replace function parley.list_members_at(event parley.outbox) returns setof text
language sql stable as $$
    select m.user_id from parley.members m where m.chat_id = event.chat_id and m.joined_seq <= event.seq
$$;

-- Bounded: the members of the user's 200 newest chats, if those are small, and at most 1,000 users. The user is one of them.
create or replace function parley.list_contacts(user_id text) returns setof text
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
    subject constant text := list_contacts.user_id;
begin
    return query
    select subject
    union
    select p.user_id
    from (
        select o.user_id from (
            select m.chat_id from parley.members m where m.user_id = subject order by m.chat_id desc limit 200) newest
        join parley.chats c on c.id = newest.chat_id and parley.is_small(c)
        join parley.members o on o.chat_id = c.id
        group by o.user_id limit 1000) p;
end $$;
