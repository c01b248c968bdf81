-- Synchronization: the initial state of a client, in one response, of one snapshot; and the events since a cursor.
--
--   api.sync                     GET /api/sync
--   parley.fetch_initial_state   the user, the settings, the first page of chats, and the cursor
--   parley.find_sync_chat        one chat of the user as sync returns it, or null
--
-- A client applies the events after the cursor to this state. Each chat has its seq in the snapshot, by which the client
-- recognizes repeated and missing events. parley.fetch_chat_page() formats the chats.

create or replace function api.sync(after text default null, "limit" text default null, include text default null) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return case when after is null then parley.fetch_initial_state("limit", include)
        else api.list_events(after, "limit", include) end;
end $$;
comment on function api.sync(text, text, text) is
    'Returns the initial state of a client: {"cursor", "user", "settings", "chats": [chat], "total", "limit"}. The chats are the first page of api.list_chats; each also has "seq", its last event, "channel", the Pusher channel that carries its events for the user, and "author" in lastMessage. limit is 1 to 100, by default 50. include lists users, which adds "users": [{"id", "name", "imageUrl"}], the authors of the last messages; and etag, which adds "etag" to each chat. With after, the value of cursor or of next, returns what api.list_events returns.';

-- The rows of a user who was registered by this statement are not in its snapshot: find_profile() and find_settings() read
-- them, because they are volatile, and nobody else has changed them yet.
create or replace function parley.fetch_initial_state("limit" text, include text) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    page record;
    profile next_auth.users;
    settings parley.settings;
    response json;
begin
    perform parley.raise_invalid(jsonb_build_object(
        'limit', parley.number_error('limit', "limit"), 'include', parley.include_error(include, '{users,etag}')));
    select u.* into profile from next_auth.users u where u.id = session.user_id();
    select s.* into settings from parley.settings s where s.user_id = session.user_id();
    if settings.user_id is null then
        profile := parley.find_profile();
        settings := parley.find_settings();
    end if;
    perform parley.assert_authenticated(profile.id);
    select * into page from parley.fetch_chat_page(parley.parse_page(null, "limit", null, null), include, is_sync => true);
    response := json_build_object(
        'cursor', parley.encode_cursor(pg_current_snapshot()),
        'user', parley.profile_json(profile),
        'settings', parley.settings_json(settings),
        'chats', page.chats,
        'total', page.total,
        'limit', coalesce("limit", '50')::bigint);
    return case when parley.is_included(include, 'users') then parley.add_field(response, 'users', page.users) else response end;
end $$;

create or replace function parley.find_sync_chat(chat uuid) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    return (
        select parley.listed_chat_json(c, m, parley.users_json(array[m.user_id]) -> 0, null, is_sync => true)
        from parley.members u join parley.chats c on c.id = u.chat_id
            left join parley.messages m on m.chat_id = c.id and m.id = c.last_message_id
        where u.chat_id = chat and u.user_id = session.user_id());
end $$;
