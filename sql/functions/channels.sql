-- Recipients of events, and their names at Pusher: the channels that events are published on, and the ids of users.
--
--   parley.chat_channel         the channel of a chat
--   parley.user_channel         the channel of a user
--   parley.pusher_user_id       the id of a user
--   parley.event_channels       the channels of an event
--   parley.current_recipients   the members of a chat; of a deleted chat, those at its deletion
--
-- An event is published on the channel of its chat, and those for lists of chats also on the channel of each recipient.
-- listener.ack_and_fetch_events() combines them. pusher.sql decides who may subscribe to a channel.

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

create or replace function parley.event_channels(chat uuid, recipients text[]) returns text[]
language sql immutable parallel safe as $$
    select parley.chat_channel(chat) || array(select parley.user_channel(r) from unnest(recipients) r)
$$;

-- The deletion of a chat is its last event, and stores the members, whose memberships are deleted with it or soon after.
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
