-- Chats.
--
--   api.create_chat    POST   /api/chats
--   api.list_chats     GET    /api/chats
--   api.get_chat       GET    /api/chats/{chatId}
--   api.update_chat    PUT    /api/chats/{chatId}
--   api.delete_chat    DELETE /api/chats/{chatId}
--   parley.fetch_chat           a chat as it is now
--   parley.chat_version        what changes with that
--   parley.last_activity            a chat's place in the order of latest activity
--   parley.chat_json           a chat as answers have it
--   parley.require_owner       raises "forbidden" unless the user owns the chat
--   parley.chats_before_insert           trigger: id and times of a new chat
--   parley.chats_after_insert     trigger: the owner becomes a member
--   parley.chats_before_update       trigger: updated_at, seq, the event
--   parley.chats_before_removal          trigger: the event, while it is known who was a member

create or replace function api.create_chat(body jsonb) returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    chat parley.chats;
begin
    perform parley.validate_body(body, required => '{title}');
    insert into parley.chats (title) values (body ->> 'title') returning * into chat;
    return json_build_object('id', chat.id, 'title', chat.title, 'createdAt', parley.iso8601(chat.created_at));
end $$;
comment on function api.create_chat(jsonb) is
    'Creates a chat that the user owns. Body: {"title"}. Answers {"id", "title", "createdAt"}.';

-- Latest activity first.
create or replace function api.list_chats(
    page text default null, "limit" text default null, before text default null, after text default null) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    asked parley.page_request;
    chats uuid[];
    activities uuid[];
    total bigint;
begin
    perform parley.raise_invalid(parley.page_errors(page, "limit", before, after));
    asked := parley.parse_page(page, "limit", before, after);
    select p.chats, p.activities, p.total into chats, activities, total from parley.find_chat_page(asked) p;
    activities := parley.trim_page(asked, activities);
    perform session.select_chats(chats);
    return json_build_object(
        'chats', (
            select coalesce(json_agg(parley.chat_json(c, m) order by parley.last_activity(c) desc), '[]')
            from parley.chats c left join parley.messages m on m.chat_id = c.id and m.id = c.last_message_id
            where c.id = any (chats) and parley.last_activity(c) = any (activities)),
        'total', total,
        'page', asked.number,
        'limit', asked.size);
end $$;
comment on function api.list_chats(text, text, text, text) is
    'The user''s chats, latest activity first. Answers {"chats": [chat], "total", "page", "limit"}; limit is 1 to 100, by default 50. In place of page, before or after takes the id of a chat''s last message, or of an empty chat; then page is null.';

create or replace function api.get_chat(chat_id text) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    chat constant uuid := parley.select_chat(chat_id);
begin
    if parley.check_preconditions(parley.chat_version(chat, parley.set_response_chat_seq())) then
        return null;
    end if;
    return parley.fetch_chat(chat);
end $$;
comment on function api.get_chat(text) is
    'One chat: {"id", "title", "role", "createdAt", "updatedAt", "lastMessageAt", "lastMessage"}, the last being null or {"id", "content", "type", "userId", "createdAt"} with the first 200 characters. Null if If-None-Match names its ETag. Raises PT404 for who is no member.';

create or replace function api.update_chat(chat_id text, body jsonb) returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    chat constant uuid := parley.select_chat(chat_id);
begin
    perform parley.require_owner(chat);
    perform parley.validate_body(body, required => '{}', optional => '{title}');
    update parley.chats c set title = body ->> 'title'
    where c.id = chat and parley.assert_if_match(parley.chat_version(chat, c.seq));
    if not found then
        perform parley.require_owner(chat);
    end if;
    perform parley.set_response_etag(parley.chat_version(chat, parley.set_response_chat_seq()));
    return parley.fetch_chat(chat);
end $$;
comment on function api.update_chat(text, jsonb) is
    'Renames a chat. Body: {"title"}. Answers the chat. Raises PT403 for who is not its owner.';

create or replace function api.delete_chat(chat_id text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    chat constant uuid := parley.select_chat(chat_id);
begin
    perform parley.require_owner(chat);
    if not parley.begin_chat_removal(chat) then
        perform parley.require_owner(chat);
    end if;
end $$;
comment on function api.delete_chat(text) is
    'Deletes a chat for all members at once; its messages are removed in the background. Raises PT403 for who is not its owner.';

create or replace function parley.fetch_chat(chat uuid) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return (
        select parley.chat_json(c, m)
        from parley.chats c left join parley.messages m on m.chat_id = c.id and m.id = c.last_message_id
        where c.id = chat);
end $$;

create or replace function parley.chat_version(chat uuid, seq bigint) returns text
language sql stable as $$
    select seq || case when session.is_chat_owner(chat) then '-owner' else '' end
$$;

-- Its place in the order of latest activity: an id, of its newest message or, while it is empty, its own.
create or replace function parley.last_activity(chat parley.chats) returns uuid
language sql immutable parallel safe as $$ select coalesce(chat.last_message_id, chat.id) $$;

create or replace function parley.chat_json(chat parley.chats, last_message parley.messages) returns json
language sql stable as $$
    select json_build_object(
        'id', chat.id,
        'title', chat.title,
        'role', case when chat.owner_id = session.user_id() then 'owner' else 'member' end,
        'createdAt', parley.iso8601(chat.created_at),
        'updatedAt', parley.iso8601(chat.updated_at),
        'lastMessageAt', parley.iso8601(last_message.created_at),
        'lastMessage', case when last_message.id is not null then json_build_object(
            'id', last_message.id,
            'content', left(last_message.content, 200),
            'type', last_message.type,
            'userId', last_message.user_id,
            'createdAt', parley.iso8601(last_message.created_at)) end)
$$;

create or replace function parley.require_owner(chat uuid) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if not session.is_chat_owner(chat) then
        perform parley.raise_forbidden('Only the owner of the chat may do this.');
    end if;
end $$;

create or replace function parley.chats_before_insert() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    new.updated_at := parley.now_ms();
    new.id := parley.generate_uuid7(new.updated_at, (random() * 67108863)::bigint);
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
    new.updated_at := parley.now_after(old.updated_at);
    new.seq := old.seq + 1;
    perform parley.record_event(
        new.id, new.seq, 'chat:updated', json_build_object('id', new.id, 'updates', json_build_object('title', new.title)),
        changed_at => new.updated_at);
    return new;
end $$;

-- At its deletion, or when it begins to be removed: what follows then is told to nobody.
create or replace function parley.chats_before_removal() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.record_event(old.id, old.seq + 1, 'chat:deleted', to_json(old.id),
        array(select m.user_id from parley.members m where m.chat_id = old.id));
    if tg_op = 'DELETE' then
        return old;
    end if;
    new.seq := old.seq + 1;
    return new;
end $$;
