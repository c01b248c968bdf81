-- Authorization at Pusher: which channels a user may subscribe to. The API signs what these functions return.
--
--   api.authorize_channel      POST /api/pusher/auth
--   api.authorize_user         POST /api/pusher/user-auth
--   parley.can_subscribe       whether the user may subscribe to a channel
--   parley.socket_id_error     the error of a socket's id, or null
--   parley.socket_id_pattern   a valid id, as a regular expression
--
-- Members of a chat may subscribe to private-chat-ID and presence-chat-ID, and a user to private-user-ID, the channel of that
-- user. channels.sql decides on which channels an event is published.

create or replace function api.authorize_channel(socket_id text, channel_name text) returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.raise_invalid(jsonb_build_object(
        'socket_id', parley.socket_id_error(socket_id),
        'channel_name', case when coalesce(channel_name, '') = '' then 'is required' end));
    if not parley.can_subscribe(channel_name) then
        perform parley.raise_error('PT403', 'You may not subscribe to this channel.');
    end if;
    return json_strip_nulls(json_build_object(
        'socket_id', socket_id,
        'channel_name', channel_name,
        'channel_data', case when channel_name like 'presence-%' then json_build_object(
            'user_id', session.user_id(), 'user_info', json_build_object('name', parley.user_name())) end));
end $$;
comment on function api.authorize_channel(text, text) is
    'Authorizes a connection to Pusher to subscribe to a channel. Returns what the API signs: {"socket_id", "channel_name", "channel_data"?}. Raises PT403 unless the user may subscribe, whether or not the channel exists.';

create or replace function api.authorize_user(socket_id text) returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.raise_invalid(jsonb_build_object('socket_id', parley.socket_id_error(socket_id)));
    perform parley.assert_authenticated(session.user_id());
    return json_build_object('socket_id', socket_id, 'user_data', json_build_object(
        'id', parley.pusher_user_id(session.user_id()),
        'user_info', json_strip_nulls(json_build_object('userId', session.user_id(), 'name', parley.user_name()))));
end $$;
comment on function api.authorize_user(text) is
    'Authenticates the user on a connection to Pusher. Returns what the API signs: {"socket_id", "user_data"}. The id in user_data is the one in the name of the user''s channel.';

create or replace function parley.can_subscribe(channel text) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    chat constant text := substring(channel from '^(?:private|presence)-chat-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$');
begin
    if chat is null then
        return coalesce(channel = parley.user_channel(session.user_id()), false);
    end if;
    return session.is_chat_member(chat::uuid);
end $$;

create or replace function parley.socket_id_error(socket_id text) returns text
language sql immutable parallel safe as $$
    select case
        when coalesce(socket_id, '') = '' then 'is required'
        when socket_id !~ parley.socket_id_pattern() then 'must be the id of a connection to Pusher, like 1234.5678'
    end
$$;

create or replace function parley.socket_id_pattern() returns text
language sql immutable parallel safe as $$ select '^[0-9]{1,20}[.][0-9]{1,20}$' $$;
