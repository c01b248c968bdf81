-- Names at Pusher: the channels that events are published on, and the ids of users.
--
--   parley.chat_channel     the channel of a chat
--   parley.user_channel     the channel of a user
--   parley.pusher_user      the id of a user
--   parley.event_channels   the channels of an event
--
-- pusher.sql decides who may subscribe to a channel.

create or replace function parley.chat_channel(chat uuid) returns text
language sql immutable parallel safe as $$ select 'private-chat-' || chat::text $$;

create or replace function parley.user_channel(user_id text) returns text
language sql immutable parallel safe as $$ select 'private-user-' || parley.pusher_user(user_id) $$;

-- Pusher accepts few characters in the name of a channel, and 164 of them. So ids are encoded in base64url, and an id of more
-- than 113 bytes is replaced by its hash. The prefix is no prefix of an encoded id: it would not decode to UTF-8.
create or replace function parley.pusher_user(user_id text) returns text
language sql immutable parallel safe as $$
    select case when octet_length(user_id) <= 113 then parley.base64url(convert_to(user_id, 'UTF8'))
        else 'sha256-' || parley.base64url(sha256(convert_to(user_id, 'UTF8'))) end
$$;

create or replace function parley.event_channels(chat uuid, recipients text[]) returns text[]
language sql immutable parallel safe as $$
    select parley.chat_channel(chat) || array(select parley.user_channel(r) from unnest(recipients) r)
$$;
