-- Authorization at Pusher: which channels a user may subscribe to. The API signs what these functions return.
--
--   api.authorize_channel           POST /api/pusher/auth
--   api.authorize_user              POST /api/pusher/user-auth
--   parley.channel_names_errors     the errors of the names of channels
--   parley.restrict_authorization   a stored response, without the channels that the user may no longer subscribe to
--   parley.authorize_subscription   authorizes the user for a channel; returns what is signed, or null
--   parley.user_data                what is signed for a user who signs in
--   parley.try_authorize            records that the user is authorized for a channel; returns false if they may not subscribe
--   parley.record_authorization     records that a member was authorized for a channel of a chat
--   parley.socket_id_error          the error of a socket's id, or null
--   parley.socket_id_pattern        a valid id, as a regular expression
--
-- Members of a chat may subscribe to private-chat-ID and presence-chat-ID, and a user to private-user-ID, the channel of that
-- user. channels.sql decides on which channels an event is published.

-- The names are sorted by their chats, so that concurrent requests of a user lock the memberships in the same order.
create or replace function api.authorize_channel(
    socket_id text, channel_name text default null, channel_names text[] default null) returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    channels json;
    data json;
begin
    perform parley.raise_invalid(parley.channel_names_errors(channel_name, channel_names)
        || jsonb_build_object('socket_id', parley.socket_id_error(socket_id)));
    select json_object_agg(n.name, parley.authorize_subscription(n.name)) into channels
    from (
        select u.name from unnest(channel_names || channel_name) u (name)
        where u.name is not null group by u.name order by right(u.name, 36), u.name) n;
    if channel_names is not null then
        return json_build_object('socket_id', socket_id, 'channels', channels);
    end if;
    data := channels -> channel_name;
    if json_typeof(data) = 'null' or data -> 'user_data' is not null then
        perform parley.raise_error('PT403', 'You may not subscribe to this channel.');
    end if;
    return json_strip_nulls(json_build_object(
        'socket_id', socket_id, 'channel_name', channel_name, 'channel_data', data -> 'channel_data'));
end $$;
comment on function api.authorize_channel(text, text, text[]) is
    'Authorizes a connection to Pusher to subscribe to a channel, or to several. Returns what the API signs. For channel_name: {"socket_id", "channel_name", "channel_data"?}; raises PT403 unless the user may subscribe, whether or not the channel exists. For channel_names, at most 100: {"socket_id", "channels": {name: {"channel_data"?, "user_data"?}}}, with null for a channel that the user may not subscribe to. #server-to-user-ID signs the user in, as api.authorize_user does.';

create or replace function api.authorize_user(socket_id text) returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.raise_invalid(jsonb_build_object('socket_id', parley.socket_id_error(socket_id)));
    perform parley.assert_authenticated(session.user_id());
    return json_build_object('socket_id', socket_id, 'user_data', parley.user_data());
end $$;
comment on function api.authorize_user(text) is
    'Authenticates the user on a connection to Pusher. Returns what the API signs: {"socket_id", "user_data"}. The id in user_data is the one in the name of the user''s channel.';

create or replace function parley.channel_names_errors(channel_name text, channel_names text[]) returns jsonb
language sql immutable parallel safe as $$
    select jsonb_build_object(
        'channel_name', case
            when channel_names is null and coalesce(channel_name, '') = '' then 'is required'
            when channel_names is not null and channel_name is not null then 'cannot be combined with channel_name[]' end,
        'channel_name[]', case
            when cardinality(channel_names) not between 1 and 100 then 'must be given 1 to 100 times'
            when '' = any (channel_names) then 'must not be empty' end)
$$;

-- `current` is the result of the same request now. For a single channel it has raised PT403 if the user may no longer subscribe,
-- so `stored` is returned as it is.
create or replace function parley.restrict_authorization(stored json, current json) returns json
language sql stable as $$
    select case when stored -> 'channels' is null then stored else json_build_object(
        'socket_id', stored -> 'socket_id',
        'channels', (
            select json_object_agg(c.key, case when json_typeof(current -> 'channels' -> c.key) <> 'null' then c.value end)
            from json_each(stored -> 'channels') c)) end
$$;

-- #server-to-user-ID is the channel to which Pusher subscribes a user who signs in. So one request can authorize all channels of a
-- connection and sign the user in.
create or replace function parley.authorize_subscription(channel text) returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if channel = '#server-to-user-' || parley.pusher_user_id(session.user_id()) then
        return json_build_object('user_data', parley.user_data());
    elsif parley.try_authorize(channel) then
        return json_strip_nulls(json_build_object(
            'channel_data', case when channel like 'presence-%' then json_build_object(
                'user_id', session.user_id(), 'user_info', json_build_object('name', parley.user_name())) end));
    end if;
    return null;
end $$;

create or replace function parley.user_data() returns json
language sql stable as $$
    select json_build_object(
        'id', parley.pusher_user_id(session.user_id()),
        'user_info', json_strip_nulls(json_build_object('userId', session.user_id(), 'name', parley.user_name())))
$$;

create or replace function parley.try_authorize(channel text) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    chat constant text := substring(channel from '^(?:private|presence)-chat-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$');
begin
    if chat is null then
        return coalesce(channel = parley.user_channel(session.user_id()), false);
    end if;
    return parley.record_authorization(chat::uuid);
end $$;

-- The update waits for a concurrent removal of the member, and then finds no row. So a removal either sees that the member was
-- authorized, or the member is not authorized.
create or replace function parley.record_authorization(chat uuid) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    update parley.members m set was_authorized = true
    where m.chat_id = chat and m.user_id = session.user_id() and not m.was_authorized;
    return found or session.is_chat_member(chat);
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
