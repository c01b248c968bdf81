-- Synchronization: all that a client starts from, in one response, of one snapshot; and what has changed since a cursor.
--
--   api.sync                  GET /api/sync
--   parley.fetch_snapshot     the user, the settings, the first page of chats, and the cursor of the snapshot
--   parley.fetch_sync_chats   the chats of a page as sync returns them, with the authors of their last messages
--   parley.sync_chat_json     a chat as sync returns it
--   parley.find_sync_chat     one chat of the user as sync returns it, or null
--
-- A client applies the events after the cursor to the snapshot. The chats' seqs are those of the snapshot, so an event is
-- already included, the next one, or a sign that events are missing.

create or replace function api.sync(after text default null, "limit" text default null, include text default null) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return case when after is null then parley.fetch_snapshot("limit", include) else api.list_events(after, "limit", include) end;
end $$;
comment on function api.sync(text, text, text) is
    'Returns what a client starts from: {"cursor", "user", "settings", "chats": [chat], "total", "limit"}. The chats are the first page of api.list_chats; each also has "seq", its last event, "channel", the Pusher channel that carries all its events for the user, and "author" in lastMessage. limit is 1 to 100, by default 50. include lists users, which adds "users": [{"id", "name", "imageUrl"}], the authors of the last messages; and etag, which adds "etag" to each chat. With after, the value of cursor or of next, returns what api.list_events returns.';

-- The rows of a user who was registered by this statement are not in its snapshot: find_profile() and find_settings() read
-- them, and nobody else has changed them yet.
create or replace function parley.fetch_snapshot("limit" text, include text) returns json
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
    select * into page from parley.fetch_sync_chats(parley.parse_page(null, "limit", null, null), include);
    response := json_build_object(
        'cursor', parley.encode_cursor(pg_current_snapshot()),
        'user', parley.profile_json(profile),
        'settings', parley.settings_json(settings),
        'chats', page.chats,
        'total', page.total,
        'limit', coalesce("limit", '50')::bigint);
    return case when parley.is_included(include, 'users') then parley.add_field(response, 'users', page.users) else response end;
end $$;

create or replace function parley.fetch_sync_chats(
    page_request parley.page_request, include text, out chats json, out total bigint, out users json)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    ids uuid[];
    activities uuid[];
    authors jsonb;
begin
    select parley.trim_page(page_request, p.chats), parley.trim_page(page_request, p.activities), p.total
    into ids, activities, total
    from parley.find_chat_page(page_request) p;
    perform session.set_selected_chats(ids);
    users := parley.authors_json(ids, activities);
    select jsonb_object_agg(a.author ->> 'id', a.author) into authors from jsonb_array_elements(users::jsonb) a (author);
    select coalesce(json_agg(parley.sync_chat_json(c, m, s, authors, include) order by parley.activity_key(c) desc), '[]')
    into chats
    from parley.chats c left join parley.messages m on m.chat_id = c.id and m.id = c.last_message_id
        cross join lateral parley.find_read_state(c.id) s
    where c.id = any (ids);
end $$;

create or replace function parley.sync_chat_json(
    chat parley.chats, last_message parley.messages, state parley.read_state, authors jsonb, include text) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    fields jsonb := parley.chat_json(chat, last_message, state)::jsonb || jsonb_build_object(
        'seq', chat.seq,
        'channel', case when parley.is_small(chat) then parley.user_channel(session.user_id())
            else parley.chat_channel(chat.id) end);
begin
    if last_message.id is not null then
        fields := jsonb_set(fields, '{lastMessage,author}', authors -> last_message.user_id);
    end if;
    if parley.is_included(include, 'etag') then
        fields := fields || jsonb_build_object('etag', parley.etag(parley.chat_version(chat.id, chat.seq)));
    end if;
    return fields;
end $$;

create or replace function parley.find_sync_chat(chat uuid) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    return (
        select parley.sync_chat_json(
            c, m, parley.find_read_state(c.id),
            jsonb_build_object(coalesce(m.user_id, ''), parley.users_json(array[m.user_id]) -> 0), null)
        from parley.members u join parley.chats c on c.id = u.chat_id
            left join parley.messages m on m.chat_id = c.id and m.id = c.last_message_id
        where u.chat_id = chat and u.user_id = session.user_id());
end $$;
