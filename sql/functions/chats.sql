-- Chats: the API's functions, and the triggers of parley.chats.
--
--   api.create_chat               POST   /api/chats
--   api.list_chats                GET    /api/chats
--   api.get_chat                  GET    /api/chats/{chatId}
--   api.update_chat               PUT    /api/chats/{chatId}
--   api.delete_chat               DELETE /api/chats/{chatId}
--   parley.find_chat_page         the ids of a page of the user's chats, and their total number
--   parley.fetch_chat_page        a page of the user's chats as JSON, in lists and in sync
--   parley.listed_chat_json       formats a chat of a page
--   parley.fetch_chat             a chat in the format of responses
--   parley.chat_json              formats a chat
--   parley.last_message_json      formats the newest message of a chat
--   parley.chat_version           the version of a chat, for its entity tag
--   parley.activity_key           the sort key of chats, latest activity first
--   parley.chats_before_insert    trigger: generates the id, sets updated_at and lineage
--   parley.chats_after_insert     trigger: adds the owner as a member
--   parley.chats_before_update    trigger: when the title changes, sets updated_at and seq, records the event
--   parley.chats_before_removal   trigger: records the event, with the members as its recipients

create or replace function api.create_chat(body jsonb) returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    new_members record;
    chat parley.chats;
begin
    perform parley.assert_is_object(body);
    select * into new_members from parley.find_new_members(body -> 'members');
    perform parley.raise_invalid(
        parley.field_errors(body, required => '{title}', optional => '{members}') || new_members.errors);
    insert into parley.chats (title) values (body ->> 'title') returning * into chat;
    if new_members.users <> '{}' then  -- A user may be listed twice, and the owner is a member already.
        insert into parley.members (chat_id, user_id) select chat.id, unnest(new_members.users) on conflict do nothing;
    end if;
    return json_build_object('id', chat.id, 'title', chat.title, 'createdAt', parley.iso8601(chat.created_at));
end $$;
comment on function api.create_chat(jsonb) is
    'Creates a chat, which the user owns. Body: {"title", "members"?}. members is an array of at most 100 entries, each the id of a user or an object with either userId or email; repeated users and the caller are ignored. Returns {"id", "title", "createdAt"}. Raises PT400 that names every unknown member, and PT409 if the chat would have more members than parley.limits allows.';

create or replace function api.list_chats(
    page text default null, "limit" text default null, before text default null, after text default null,
    include text default null) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    page_request parley.page_request;
    found_page record;
    response json;
begin
    perform parley.raise_invalid(parley.page_errors(page, "limit", before, after)
        || jsonb_build_object('include', parley.include_error(include, '{users,etag}')));
    page_request := parley.parse_page(page, "limit", before, after);
    select * into found_page from parley.fetch_chat_page(page_request, include, is_sync => false);
    perform parley.set_response_links(page_request, found_page.activities);
    response := json_build_object(
        'chats', found_page.chats, 'total', found_page.total, 'page', page_request.number, 'limit', page_request.size);
    return case when parley.is_included(include, 'users')
        then parley.add_field(response, 'users', found_page.users) else response end;
end $$;
comment on function api.list_chats(text, text, text, text, text) is
    'Lists the user''s chats, latest activity first: {"chats": [chat], "total", "page", "limit"}. limit is 1 to 100, by default 50. before or after, in place of page, is the id of a chat''s last message, or of a chat without messages; page is then null. include lists users, which adds "users": [{"id", "name", "imageUrl"}], the authors of the last messages; and etag, which adds "etag" to each chat.';

create or replace function api.get_chat(chat_id text) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    chat constant uuid := parley.select_chat(chat_id);
begin
    if parley.check_preconditions(parley.chat_version((parley.set_chat_seq_header()).revision, chat)) then
        return null;
    end if;
    return parley.fetch_chat(chat);
end $$;
comment on function api.get_chat(text) is
    'Returns a chat: {"id", "title", "role", "createdAt", "updatedAt", "lastMessageAt", "lastMessage", "unreadCount", "lastReadMessageId", "memberCount"}. lastMessage is null or {"id", "content", "type", "userId", "createdAt"}, with the first 200 characters of the content. Returns null if If-None-Match lists the chat''s entity tag. Raises PT404 unless the user is a member.';

create or replace function api.update_chat(chat_id text, body jsonb) returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    chat constant uuid := parley.select_chat(chat_id);
begin
    perform parley.assert_owner(chat);
    perform parley.validate_body(body, required => '{}', optional => '{title}');
    update parley.chats c set title = body ->> 'title'
    where c.id = chat and parley.assert_preconditions(parley.chat_version(parley.chat_revision(c), chat));
    if not found then  -- The chat was deleted, or lost its owner, since the first check.
        perform parley.assert_owner(chat);
    end if;
    perform parley.set_response_etag(parley.chat_version((parley.set_chat_seq_header()).revision, chat));
    return parley.fetch_chat(chat);
end $$;
comment on function api.update_chat(text, jsonb) is
    'Renames a chat. Body: {"title"}. Returns the chat. Raises PT403 unless the user owns it, and PT412 if If-Match does not list its entity tag.';

create or replace function api.delete_chat(chat_id text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    chat constant uuid := parley.select_chat(chat_id);
begin
    perform parley.assert_owner(chat);
    if not parley.begin_chat_removal(chat) then  -- The chat was deleted, or lost its owner, since the first check.
        perform parley.assert_owner(chat);
    end if;
end $$;
comment on function api.delete_chat(text) is
    'Deletes a chat for all members; its messages are removed in the background. Raises PT403 unless the user owns it, and PT412 if If-Match does not list its entity tag.';

-- Returns one chat more than the page has, if there is one.
create or replace function parley.find_chat_page(
    page_request parley.page_request, out chats uuid[], out activities uuid[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    total := (select count(*) from parley.members m where m.user_id = session.user_id());
    select array_agg(p.id order by p.activity desc), array_agg(p.activity order by p.activity desc) into chats, activities
    from (
        select a.id, a.activity
        from (
            select c.id, parley.activity_key(c) as activity
            from parley.members m join parley.chats c on c.id = m.chat_id where m.user_id = session.user_id()) a
        where a.activity > page_request.after_id and a.activity < page_request.before_id
        order by case when page_request.is_ascending then a.activity end, a.activity desc
        limit page_request.size + 1 offset page_request.skip
    ) p;
end $$;

-- `activities` has one more than the page, if there is one. `users` are the authors of the last messages, if they are included;
-- sync includes them in the messages.
create or replace function parley.fetch_chat_page(
    page_request parley.page_request, include text, is_sync boolean,
    out activities uuid[], out chats json, out total bigint, out users json)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    ids uuid[];
    authors jsonb;
begin
    select parley.trim_page(page_request, p.chats), p.activities, p.total into ids, activities, total
    from parley.find_chat_page(page_request) p;
    perform session.set_selected_chats(ids);
    if is_sync or parley.is_included(include, 'users') then
        users := parley.authors_json(ids, parley.trim_page(page_request, activities));
    end if;
    if is_sync then
        authors := (select jsonb_object_agg(a.author ->> 'id', a.author) from jsonb_array_elements(users::jsonb) a (author));
    end if;
    select coalesce(json_agg(
        parley.listed_chat_json(c, m, (authors -> m.user_id)::json, include, is_sync) order by parley.activity_key(c) desc), '[]')
    into chats
    from parley.chats c left join parley.messages m on m.chat_id = c.id and m.id = c.last_message_id
    where c.id = any (ids);
end $$;

create or replace function parley.listed_chat_json(
    chat parley.chats, last_message parley.messages, author json, include text, is_sync boolean) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    fields json := parley.chat_json(chat, last_message, parley.find_read_state(chat.id), author);
begin
    if parley.is_included(include, 'etag') then
        fields := parley.add_field(fields, 'etag', to_json(parley.etag(parley.chat_version(parley.chat_revision(chat), chat.id))));
    end if;
    if is_sync then
        fields := parley.add_field(fields, 'seq', to_json(chat.seq));
        fields := parley.add_field(fields, 'channel', to_json(case when parley.is_small(chat)
            then parley.user_channel(session.user_id()) else parley.chat_channel(chat.id) end));
    end if;
    return fields;
end $$;

create or replace function parley.fetch_chat(chat uuid) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return (
        select parley.chat_json(c, m, parley.find_read_state(chat))
        from parley.chats c left join parley.messages m on m.chat_id = c.id and m.id = c.last_message_id
        where c.id = chat);
end $$;

create or replace function parley.chat_version(revision bigint, chat uuid) returns text
language sql stable as $$
    select concat_ws('-', revision, case when session.is_chat_owner(chat) then 'owner' end, (
        select r.last_read_message_id from parley.read_markers r where r.chat_id = chat and r.user_id = session.user_id()))
$$;

-- The id of the newest message or, without messages, the id of the chat.
create or replace function parley.activity_key(chat parley.chats) returns uuid
language sql immutable parallel safe as $$ select coalesce(chat.last_message_id, chat.id) $$;

-- `author` is added to the last message, unless it is null.
create or replace function parley.chat_json(
    chat parley.chats, last_message parley.messages, read_state parley.read_state, author json default null) returns json
language sql stable as $$
    select json_build_object(
        'id', chat.id,
        'title', chat.title,
        'role', case when chat.owner_id = session.user_id() then 'owner' else 'member' end,
        'createdAt', parley.iso8601(chat.created_at),
        'updatedAt', parley.iso8601(chat.updated_at),
        'lastMessageAt', parley.iso8601(last_message.created_at),
        'lastMessage', case when author is null then parley.last_message_json(last_message)
            else parley.add_field(parley.last_message_json(last_message), 'author', author) end,
        'unreadCount', read_state.unread_count,
        'lastReadMessageId', read_state.last_read_message_id,
        'memberCount', chat.member_count)
$$;

create or replace function parley.last_message_json(message parley.messages) returns json
language sql stable as $$
    select case when message.id is not null then json_build_object(
        'id', message.id,
        'content', left(message.content, 200),
        'type', message.type,
        'userId', message.user_id,
        'createdAt', parley.iso8601(message.created_at)) end
$$;

create or replace function parley.chats_before_insert() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    new.updated_at := parley.now_ms();
    new.id := parley.generate_uuid7(new.updated_at, (random() * (2 ^ 26 - 1))::bigint);  -- 26 random bits
    new.lineage := parley.write_lineage();
    return new;
end $$;

create or replace function parley.chats_after_insert() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into parley.members (chat_id, user_id, joined_at) values (new.id, new.owner_id, new.created_at);
    return null;
end $$;

create or replace function parley.chats_before_update() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    new.updated_at := parley.next_updated_at(old.updated_at);
    new := parley.advance_seq(new);  -- not old: the statement may change the owner too
    perform parley.record_event(
        new.id, new.seq, 'chat:updated', json_build_object('id', new.id, 'updates', json_build_object('title', new.title)),
        changed_at => new.updated_at);
    return new;
end $$;

-- Fires before a row is deleted, and before is_being_removed is set. 'chat:deleted' is the last event of a chat.
create or replace function parley.chats_before_removal() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.record_event(old.id, parley.next_seq(old), 'chat:deleted', to_json(old.id),
        array(select m.user_id from parley.members m where m.chat_id = old.id));
    if tg_op = 'DELETE' then
        return old;
    end if;
    new.seq := old.seq;  -- a change of the owner in the same statement has no seq
    return parley.advance_seq(new);
end $$;
