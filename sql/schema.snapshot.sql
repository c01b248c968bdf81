CREATE SCHEMA analytics;

ALTER SCHEMA analytics OWNER TO postgres;

COMMENT ON SCHEMA analytics IS 'Views for analysts: no message content, no e-mail address, no token.';

CREATE SCHEMA api;

ALTER SCHEMA api OWNER TO postgres;

COMMENT ON SCHEMA api IS 'The functions that the API role may call, one a route, each answering finished JSON.';

CREATE SCHEMA listener;

ALTER SCHEMA listener OWNER TO postgres;

COMMENT ON SCHEMA listener IS 'The functions that the listener calls.';

CREATE SCHEMA next_auth;

ALTER SCHEMA next_auth OWNER TO postgres;

COMMENT ON SCHEMA next_auth IS 'Users and their sign-in, in the tables that @auth/pg-adapter reads and writes.';

CREATE SCHEMA parley;

ALTER SCHEMA parley OWNER TO postgres;

COMMENT ON SCHEMA parley IS 'The tables, and the functions that keep their rules. Not an interface: clients call schema api.';

CREATE SCHEMA rules;

ALTER SCHEMA rules OWNER TO postgres;

COMMENT ON SCHEMA rules IS 'What a value may be: functions that constraints are made of. A change of one is a migration.';

CREATE SCHEMA session;

ALTER SCHEMA session OWNER TO postgres;

COMMENT ON SCHEMA session IS 'Who a statement speaks for: begin() says it, the rest answers it.';

CREATE EXTENSION IF NOT EXISTS btree_gin WITH SCHEMA parley;

COMMENT ON EXTENSION btree_gin IS 'support for indexing common datatypes in GIN';

CREATE TYPE parley.filter AS (
	type text,
	first_id uuid,
	before_id uuid
);

ALTER TYPE parley.filter OWNER TO postgres;

COMMENT ON TYPE parley.filter IS 'Which messages: of a type or null for all, with ids from first_id to before before_id.';

CREATE TYPE parley.page AS (
	number bigint,
	size bigint,
	skip bigint,
	after_id uuid,
	before_id uuid,
	is_ascending boolean
);

ALTER TYPE parley.page OWNER TO postgres;

COMMENT ON TYPE parley.page IS 'Which of them: the page of this number and size, or the next to before_id or, newer ones, to after_id.';

CREATE FUNCTION api.add_member(chat_id text, body jsonb) RETURNS json
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    chat constant uuid := parley.enter_chat(chat_id);
    violated text;
begin
    perform parley.validate(body, required => '{userId}');
    perform parley.lock_chat();
    perform parley.require_owner(chat);
    begin
        insert into parley.members (chat_id, user_id) values (chat, body ->> 'userId');
    exception
        when foreign_key_violation then
            get stacked diagnostics violated = constraint_name;
            if violated = 'members_chat_exists' then
                perform parley.not_found('Chat');
            end if;
            perform parley.reject('{"userId": "is not a known user"}');
        when unique_violation then
            perform parley.fail('PT409', 'This user is a member already.');
    end;
    return (select m.member from parley.members_json() m where m.user_id = body ->> 'userId');
end $$;

ALTER FUNCTION api.add_member(chat_id text, body jsonb) OWNER TO postgres;

COMMENT ON FUNCTION api.add_member(chat_id text, body jsonb) IS 'Adds a user who has signed in before. Body: {"userId"}. Answers the member. Raises PT403 for who is not the chat''s owner, PT409 for a member.';

CREATE FUNCTION api.authorize_channel(socket_id text, channel_name text) RETURNS json
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform parley.reject(jsonb_build_object(
        'socket_id', parley.socket_problem(socket_id),
        'channel_name', case when coalesce(channel_name, '') = '' then 'is required' end));
    if not parley.may_hear(channel_name) then
        perform parley.fail('PT403', 'You may not hear this channel.');
    end if;
    return json_strip_nulls(json_build_object(
        'socket_id', socket_id,
        'channel_name', channel_name,
        'channel_data', case when channel_name like 'presence-%' then json_build_object(
            'user_id', session.user_id(), 'user_info', json_build_object('name', parley.user_name())) end));
end $$;

ALTER FUNCTION api.authorize_channel(socket_id text, channel_name text) OWNER TO postgres;

COMMENT ON FUNCTION api.authorize_channel(socket_id text, channel_name text) IS 'Lets a connection to Pusher subscribe to a channel: {"socket_id", "channel_name", "channel_data"?}, to be signed. Raises PT403 for a channel that the user may not hear, whether there is one or not.';

CREATE FUNCTION api.authorize_user(socket_id text) RETURNS json
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform parley.reject(jsonb_build_object('socket_id', parley.socket_problem(socket_id)));
    perform parley.require_user(session.user_id());
    return json_build_object('socket_id', socket_id, 'user_data', json_build_object(
        'id', parley.pusher_user(session.user_id()),
        'user_info', json_strip_nulls(json_build_object('userId', session.user_id(), 'name', parley.user_name()))));
end $$;

ALTER FUNCTION api.authorize_user(socket_id text) OWNER TO postgres;

COMMENT ON FUNCTION api.authorize_user(socket_id text) IS 'Signs the user in on a connection to Pusher: {"socket_id", "user_data"}, to be signed. Its id is the one in the name of the user''s channel.';

CREATE FUNCTION api.create_chat(body jsonb) RETURNS json
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    chat parley.chats;
begin
    perform parley.validate(body, required => '{title}');
    insert into parley.chats (title) values (body ->> 'title') returning * into chat;
    return json_build_object('id', chat.id, 'title', chat.title, 'createdAt', parley.iso8601(chat.created_at));
end $$;

ALTER FUNCTION api.create_chat(body jsonb) OWNER TO postgres;

COMMENT ON FUNCTION api.create_chat(body jsonb) IS 'Creates a chat that the user owns. Body: {"title"}. Answers {"id", "title", "createdAt"}.';

CREATE FUNCTION api.delete_chat(chat_id text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    chat constant uuid := parley.enter_chat(chat_id);
begin
    perform parley.require_owner(chat);
    delete from parley.chats c where c.id = chat;
end $$;

ALTER FUNCTION api.delete_chat(chat_id text) OWNER TO postgres;

COMMENT ON FUNCTION api.delete_chat(chat_id text) IS 'Deletes a chat with its messages and memberships. Raises PT403 for who is not its owner.';

CREATE FUNCTION api.delete_message(chat_id text, message_id text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    message constant parley.messages := parley.find_message(chat_id, message_id);
begin
    if message.user_id <> session.user_id() and not session.owns_chat(message.chat_id) then
        perform parley.fail('PT403', 'Only the author or the owner of the chat may delete a message.');
    end if;
    perform parley.lock_chat();
    delete from parley.messages m where m.chat_id = message.chat_id and m.id = message.id;
    if not found then
        perform parley.not_found('Message');
    end if;
end $$;

ALTER FUNCTION api.delete_message(chat_id text, message_id text) OWNER TO postgres;

COMMENT ON FUNCTION api.delete_message(chat_id text, message_id text) IS 'Deletes a message. Raises PT403 for who is neither its author nor the chat''s owner.';

CREATE FUNCTION api.expect_image(image_url text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform parley.require_user(session.user_id());
    insert into parley.image_cleanup (name, due) values (parley.require_image(image_url), now() + interval '10 minutes');
end $$;

ALTER FUNCTION api.expect_image(image_url text) OWNER TO postgres;

COMMENT ON FUNCTION api.expect_image(image_url text) IS 'Says that an image is about to be stored: should that come to nothing, it is removed in ten minutes.';

CREATE FUNCTION api.forget_image(name text) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    delete from parley.image_cleanup c where c.name = forget_image.name and c.is_being_removed
$$;

ALTER FUNCTION api.forget_image(name text) OWNER TO postgres;

COMMENT ON FUNCTION api.forget_image(name text) IS 'Says that an image that was taken is no longer in storage.';

CREATE FUNCTION api.get_chat(chat_id text) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    chat constant uuid := parley.enter_chat(chat_id);
begin
    return (
        select parley.chat_json(c, m)
        from parley.chats c left join parley.messages m on m.chat_id = c.id and m.id = c.last_message_id
        where c.id = chat);
end $$;

ALTER FUNCTION api.get_chat(chat_id text) OWNER TO postgres;

COMMENT ON FUNCTION api.get_chat(chat_id text) IS 'One chat: {"id", "title", "role", "createdAt", "updatedAt", "lastMessageAt", "lastMessage"}, the last being null or {"id", "content", "type", "userId", "createdAt"} with the first 200 characters. Raises PT404 for who is no member.';

CREATE FUNCTION api.get_message(chat_id text, message_id text) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    message constant parley.messages := parley.find_message(chat_id, message_id);
begin
    return parley.message_json(message);
end $$;

ALTER FUNCTION api.get_message(chat_id text, message_id text) OWNER TO postgres;

COMMENT ON FUNCTION api.get_message(chat_id text, message_id text) IS 'One message: {"id", "content", "type", "userId", "createdAt", "updatedAt"}.';

CREATE FUNCTION api.get_profile() RETURNS json
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    profile next_auth.users;
begin
    select u.* into profile from next_auth.users u where u.id = session.user_id();
    perform parley.require_user(profile.id);
    return json_build_object('user', json_build_object(
        'id', profile.id,
        'name', profile.name,
        'email', profile.email,
        'imageUrl', profile.image,
        'updatedAt', parley.iso8601(profile.updated_at)));
end $$;

ALTER FUNCTION api.get_profile() OWNER TO postgres;

COMMENT ON FUNCTION api.get_profile() IS 'The user: {"user": {"id", "name", "email", "imageUrl", "updatedAt"}}; null is what nobody has told.';

CREATE FUNCTION api.get_settings() RETURNS json
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    settings parley.settings;
begin
    select s.* into settings from parley.settings s where s.user_id = session.user_id();
    perform parley.require_user(settings.user_id);
    return parley.settings_json(settings);
end $$;

ALTER FUNCTION api.get_settings() OWNER TO postgres;

COMMENT ON FUNCTION api.get_settings() IS 'The user''s settings: {"settings": {"model", "theme", "context", "runtime", "isPremium", "responseStyle", "alwaysShowCode", "updatedAt"}}.';

CREATE FUNCTION api.list_chats(page text DEFAULT NULL::text, "limit" text DEFAULT NULL::text, before text DEFAULT NULL::text, after text DEFAULT NULL::text) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
#variable_conflict use_column
declare
    asked parley.page;
    chats uuid[];
    activities uuid[];
    total bigint;
begin
    perform parley.reject(parley.page_problems(page, "limit", before, after));
    asked := parley.parse_page(page, "limit", before, after);
    select p.chats, p.activities, p.total into chats, activities, total from session.page_of_chats(asked) p;
    activities := parley.finish_page(asked, activities);
    perform session.enter_chats(chats);
    return json_build_object(
        'chats', (
            select coalesce(json_agg(parley.chat_json(c, m) order by parley.activity(c) desc), '[]')
            from parley.chats c left join parley.messages m on m.chat_id = c.id and m.id = c.last_message_id
            where c.id = any (chats) and parley.activity(c) = any (activities)),
        'total', total,
        'page', asked.number,
        'limit', asked.size);
end $$;

ALTER FUNCTION api.list_chats(page text, "limit" text, before text, after text) OWNER TO postgres;

COMMENT ON FUNCTION api.list_chats(page text, "limit" text, before text, after text) IS 'The user''s chats, latest activity first. Answers {"chats": [chat], "total", "page", "limit"}; limit is 1 to 100, by default 50. In place of page, before or after takes the id of a chat''s last message, or of an empty chat; then page is null.';

CREATE FUNCTION api.list_members(chat_id text) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform parley.enter_chat(chat_id);
    return json_build_object('members', (
        select coalesce(json_agg(m.member order by m.joined_at, m.user_id), '[]') from parley.members_json() m));
end $$;

ALTER FUNCTION api.list_members(chat_id text) OWNER TO postgres;

COMMENT ON FUNCTION api.list_members(chat_id text) IS 'Who is in a chat, longest first: {"members": [{"userId", "name", "image", "role", "joinedAt"}]}.';

CREATE FUNCTION api.list_messages(chat_id text, page text DEFAULT NULL::text, "limit" text DEFAULT NULL::text, type text DEFAULT NULL::text, search text DEFAULT NULL::text, start_date text DEFAULT NULL::text, end_date text DEFAULT NULL::text, sort text DEFAULT NULL::text, before text DEFAULT NULL::text, after text DEFAULT NULL::text) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
#variable_conflict use_column
declare
    chat constant uuid := parley.enter_chat(chat_id);
    wanted parley.filter;
    asked parley.page;
    parsed record;
    ids uuid[];
    total bigint;
begin
    perform parley.reject(parley.filter_problems(type, search, start_date, end_date)
        || parley.page_problems(page, "limit", before, after) || parley.sort_problems(sort, search, before, after));
    wanted := parley.parse_filter(type, start_date, end_date);
    asked := parley.parse_page(page, "limit", before, after);
    if rules.is_blank(search) is not false then
        ids := parley.page_of_messages(wanted, asked);
        total := parley.count_messages(wanted);
    else
        select p.* into parsed from parley.parse_search(search) p;
        if sort = 'relevance' then
            select f.ids, f.total into ids, total
            from parley.search_ranked(chat, parsed.query, parsed.marks, parsed.phrase, wanted, asked) f;
        else
            select f.ids, f.total into ids, total from parley.search_chat(parsed.query, wanted, asked) f;
        end if;
    end if;
    ids := parley.finish_page(asked, ids, sort);
    return json_build_object(
        'messages', (
            select coalesce(json_agg(parley.message_json(m) order by array_position(ids, m.id)), '[]')
            from parley.messages m where m.chat_id = chat and m.id = any (ids)),
        'total', total,
        'page', asked.number,
        'limit', asked.size);
end $$;

ALTER FUNCTION api.list_messages(chat_id text, page text, "limit" text, type text, search text, start_date text, end_date text, sort text, before text, after text) OWNER TO postgres;

COMMENT ON FUNCTION api.list_messages(chat_id text, page text, "limit" text, type text, search text, start_date text, end_date text, sort text, before text, after text) IS 'Messages of a chat, newest first: {"messages": [message], "total", "page", "limit"}. limit is 1 to 100, by default 50; search takes words, "a phrase", -not, or; dates are ISO and inclusive; sort is newest or, in a search, relevance. In place of page, before or after takes the id of a message; then page is null.';

CREATE FUNCTION api.parse_json(document bytea) RETURNS jsonb
    LANGUAGE plpgsql STABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    source json;
    problems jsonb;
begin
    source := convert_from(document, 'UTF8')::json;
    if json_typeof(source) <> 'object' then
        perform parley.fail('PT400', 'The body must be a JSON object.');
    elsif (select count(*) from json_object_keys(source)) > 100 then
        perform parley.fail('PT400', 'The body has too many fields.');
    end if;
    -- jsonb keeps the last of two equal keys, so they are looked for before; no body nests deeper than this
    select jsonb_object_agg(left(keys.key, 100), keys.problem) into problems from (
        select key, 'is given twice' from json_each(source) group by key having count(*) > 1
        union all
        select o.key, case when k.keys > 100 then 'has too many keys' else 'has a key twice' end
        from json_each(source) o, lateral (
            select count(*) as keys, count(distinct key) as distinct_keys from json_object_keys(
                case json_typeof(o.value) when 'object' then o.value else '{}' end) key) k
        where k.keys > 100 or k.keys > k.distinct_keys
    ) keys (key, problem);
    perform parley.reject(coalesce(problems, '{}'));
    return source::jsonb;
exception
    when untranslatable_character then
        perform parley.fail('PT400', 'The body has \u0000, which text may not have.');
    when data_exception or program_limit_exceeded then
        perform parley.fail('PT400', 'The body is not valid JSON in UTF-8.');
end $$;

ALTER FUNCTION api.parse_json(document bytea) OWNER TO postgres;

COMMENT ON FUNCTION api.parse_json(document bytea) IS 'A request''s body as jsonb. Raises PT400 for what is no JSON object, no UTF-8, has a key twice or holds NUL.';

CREATE FUNCTION api.ready() RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if exists (
        select from pg_class c
        where c.relnamespace in ('next_auth'::regnamespace, 'parley'::regnamespace) and c.relkind in ('r', 'p')
          and not row_security_active(c.oid)
    ) then
        perform parley.fail('PT503', format(
            'row-level security does not bind the role %s: it is a superuser, owns the tables or has BYPASSRLS. '
            'Log in as a role that was granted parley_api', current_user));
    end if;
    return true;
end $$;

ALTER FUNCTION api.ready() OWNER TO postgres;

COMMENT ON FUNCTION api.ready() IS 'True when the API may serve as this role. Raises PT503 when row-level security does not bind it.';

CREATE FUNCTION api.remove_member(chat_id text, user_id text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    chat constant uuid := parley.enter_chat(chat_id);
begin
    if user_id is distinct from session.user_id() then
        perform parley.require_owner(chat);
    elsif session.owns_chat(chat) then
        perform parley.fail('PT409', 'The owner can''t leave the chat, but can delete it.');
    end if;
    perform parley.lock_chat();
    delete from parley.members m where m.chat_id = chat and m.user_id = remove_member.user_id;
    if not found then
        perform parley.not_found('Member');
    end if;
end $$;

ALTER FUNCTION api.remove_member(chat_id text, user_id text) OWNER TO postgres;

COMMENT ON FUNCTION api.remove_member(chat_id text, user_id text) IS 'Removes a member: the owner anybody else, everybody else themselves. Raises PT409 for the owner, who can''t leave.';

CREATE FUNCTION api.search(page text DEFAULT NULL::text, "limit" text DEFAULT NULL::text, type text DEFAULT NULL::text, search text DEFAULT NULL::text, start_date text DEFAULT NULL::text, end_date text DEFAULT NULL::text, sort text DEFAULT NULL::text, before text DEFAULT NULL::text, after text DEFAULT NULL::text) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
#variable_conflict use_column
declare
    wanted parley.filter;
    asked parley.page;
    parsed record;
    chats uuid[];
    ids uuid[];
    total bigint;
begin
    perform parley.reject(parley.filter_problems(type, search, start_date, end_date)
        || parley.page_problems(page, "limit", before, after) || parley.sort_problems(sort, search, before, after)
        || jsonb_strip_nulls(jsonb_build_object('search', case
            when search is null then 'is required'
            when rules.is_blank(search) then 'must not be blank' end)));
    wanted := parley.parse_filter(type, start_date, end_date);
    asked := parley.parse_page(page, "limit", before, after);
    select p.* into parsed from parley.parse_search(search) p;
    if sort = 'relevance' then
        select f.chats, f.ids, f.total into chats, ids, total
        from parley.search_ranked(null, parsed.query, parsed.marks, parsed.phrase, wanted, asked) f;
    else
        select f.chats, f.ids, f.total into chats, ids, total from parley.search_chats(parsed.query, wanted, asked) f;
    end if;
    perform session.enter_chats(chats);
    return json_build_object(
        'messages', (
            select coalesce(json_agg(parley.hit_json(m, parsed.marks) order by h.place), '[]')
            from unnest(parley.finish_page(asked, ids, sort)) with ordinality h (id, place)
            cross join lateral (
                select m.* from parley.messages m
                where m.chat_id = chats[array_position(ids, h.id)] and m.id = h.id offset 0) m),
        'total', total,
        'page', asked.number,
        'limit', asked.size);
end $$;

ALTER FUNCTION api.search(page text, "limit" text, type text, search text, start_date text, end_date text, sort text, before text, after text) OWNER TO postgres;

COMMENT ON FUNCTION api.search(page text, "limit" text, type text, search text, start_date text, end_date text, sort text, before text, after text) IS 'Messages of all of the user''s chats that have what people type into a search box: {"messages": [{"id", "chatId", "content", "type", "userId", "createdAt", "updatedAt", "extract"}], "total", "page", "limit"}. extract is HTML, in which <mark> marks what was found. The parameters are those of list_messages; search is required.';

CREATE FUNCTION api.send_message(chat_id text, body jsonb) RETURNS json
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    chat constant uuid := parley.enter_chat(chat_id);
    message parley.messages;
begin
    perform parley.validate(body, required => '{content}', optional => '{type}');
    perform parley.lock_chat();
    insert into parley.messages (chat_id, content, type)
    values (chat, body ->> 'content', coalesce(body ->> 'type', 'text'))
    returning * into message;
    return json_build_object('id', message.id, 'content', message.content, 'type', message.type,
        'userId', message.user_id, 'createdAt', parley.iso8601(message.created_at));
end $$;

ALTER FUNCTION api.send_message(chat_id text, body jsonb) OWNER TO postgres;

COMMENT ON FUNCTION api.send_message(chat_id text, body jsonb) IS 'Sends a message. Body: {"content", "type"?}; type is text unless given. Answers {"id", "content", "type", "userId", "createdAt"}.';

CREATE FUNCTION api.set_image(image_url text) RETURNS json
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    name constant text := parley.require_image(image_url);
    profile next_auth.users;
begin
    perform parley.lock_image(name);
    perform parley.await_removal(name);
    update next_auth.users u set image = image_url where u.id = session.user_id() returning * into profile;
    perform parley.require_user(profile.id);
    return json_build_object('imageUrl', profile.image, 'updatedAt', parley.iso8601(profile.updated_at));
end $$;

ALTER FUNCTION api.set_image(image_url text) OWNER TO postgres;

COMMENT ON FUNCTION api.set_image(image_url text) IS 'Makes an image in storage the user''s. Answers {"imageUrl", "updatedAt"}. Until the commit nobody else stores or removes that image.';

CREATE FUNCTION api.take_unused_image() RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    listed parley.image_cleanup;
begin
    loop
        select c.* into listed from parley.image_cleanup c
        where c.due <= now() order by c.due limit 1 for update skip locked;
        if not found then
            return null;
        elsif not parley.image_is_used(listed.name) then
            perform parley.lock_image(listed.name);
            -- Nor has been taken since, by a user or for removal: one whose end is not known is left alone until it is due.
            if not parley.image_is_used(listed.name)
                and (listed.is_being_removed or not parley.image_is_being_removed(listed.name))
            then
                update parley.image_cleanup c set due = now() + interval '2 minutes', is_being_removed = true
                where c.id = listed.id;
                return listed.name;
            end if;
        end if;
        delete from parley.image_cleanup c where c.id = listed.id;
    end loop;
end $$;

ALTER FUNCTION api.take_unused_image() OWNER TO postgres;

COMMENT ON FUNCTION api.take_unused_image() IS 'The name of an image in storage that nobody uses, or null. Nobody stores it until api.forget_image says that it is gone; without that it is taken again in two minutes.';

CREATE FUNCTION api.update_chat(chat_id text, body jsonb) RETURNS json
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    chat constant uuid := parley.enter_chat(chat_id);
begin
    perform parley.require_owner(chat);
    perform parley.validate(body, required => '{}', optional => '{title}');
    update parley.chats c set title = body ->> 'title' where c.id = chat;
    return api.get_chat(chat_id);
end $$;

ALTER FUNCTION api.update_chat(chat_id text, body jsonb) OWNER TO postgres;

COMMENT ON FUNCTION api.update_chat(chat_id text, body jsonb) IS 'Renames a chat. Body: {"title"}. Answers the chat. Raises PT403 for who is not its owner.';

CREATE FUNCTION api.update_message(chat_id text, message_id text, body jsonb) RETURNS json
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    message parley.messages := parley.find_message(chat_id, message_id);
begin
    if message.user_id <> session.user_id() then
        perform parley.fail('PT403', 'Only the author may edit a message.');
    end if;
    perform parley.validate(body, required => '{}', optional => '{content,type}');
    perform parley.lock_chat();
    update parley.messages m
    set content = coalesce(body ->> 'content', m.content), type = coalesce(body ->> 'type', m.type)
    where m.chat_id = message.chat_id and m.id = message.id;
    message := parley.find_message(chat_id, message_id);
    return json_build_object('id', message.id, 'content', message.content, 'type', message.type,
        'updatedAt', parley.iso8601(message.updated_at));
end $$;

ALTER FUNCTION api.update_message(chat_id text, message_id text, body jsonb) OWNER TO postgres;

COMMENT ON FUNCTION api.update_message(chat_id text, message_id text, body jsonb) IS 'Edits a message. Body: {"content"?, "type"?}, at least one. Answers {"id", "content", "type", "updatedAt"}. Raises PT403 for who is not its author.';

CREATE FUNCTION api.update_profile(body jsonb) RETURNS json
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    profile next_auth.users;
begin
    perform parley.validate(body, required => '{}', optional => '{name,email}');
    begin
        update next_auth.users u
        set name = coalesce(body ->> 'name', u.name), email = coalesce(body ->> 'email', u.email)
        where u.id = session.user_id()
        returning * into profile;
    exception when unique_violation then
        perform parley.fail('PT409', 'This e-mail address is another user''s.', '{"fields": {"email": "is another user''s"}}');
    end;
    perform parley.require_user(profile.id);
    return json_build_object('user', json_build_object(
        'name', profile.name, 'email', profile.email, 'updatedAt', parley.iso8601(profile.updated_at)));
end $$;

ALTER FUNCTION api.update_profile(body jsonb) OWNER TO postgres;

COMMENT ON FUNCTION api.update_profile(body jsonb) IS 'Changes the user. Body: {"name"?, "email"?}, at least one. Answers {"user": {"name", "email", "updatedAt"}}. Raises PT409 for an e-mail address that another user has, in whatever case.';

CREATE FUNCTION api.update_settings(body jsonb) RETURNS json
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    fields constant text[] := '{model,theme,context,runtime,responseStyle,alwaysShowCode}';
    given jsonb := body -> 'settings';
    settings parley.settings;
begin
    if jsonb_typeof(given) = 'object' then
        given := given - '{isPremium,updatedAt}'::text[];
        perform parley.reject(
            parley.field_problems(body, required => '{settings}', optional => '{}')
            || parley.field_problems(given, required => '{}', optional => fields));
    else
        perform parley.validate(body, required => '{settings}');
    end if;
    perform parley.require_one_of(given, fields);
    update parley.settings s set
        model = coalesce(given ->> 'model', s.model),
        theme = coalesce(given ->> 'theme', s.theme),
        context = coalesce(given ->> 'context', s.context),
        runtime = coalesce(given ->> 'runtime', s.runtime),
        response_style = coalesce(given ->> 'responseStyle', s.response_style),
        always_show_code = coalesce((given ->> 'alwaysShowCode')::boolean, s.always_show_code)
    where s.user_id = session.user_id()
    returning * into settings;
    perform parley.require_user(settings.user_id);
    return parley.settings_json(settings);
end $$;

ALTER FUNCTION api.update_settings(body jsonb) OWNER TO postgres;

COMMENT ON FUNCTION api.update_settings(body jsonb) IS 'Changes settings. Body: {"settings": {"model"?, "theme"?, "context"?, "runtime"?, "responseStyle"?, "alwaysShowCode"?}}, at least one; isPremium and updatedAt are ignored. Answers all settings.';

CREATE FUNCTION listener.lead() RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select pg_try_advisory_lock(4242108500)
$$;

ALTER FUNCTION listener.lead() OWNER TO postgres;

COMMENT ON FUNCTION listener.lead() IS 'Makes this session the one that publishes, until it ends; false while another one is.';

CREATE FUNCTION listener.remove_events(older_than interval, max_events integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
declare
    removed integer;
begin
    delete from parley.outbox o
    where o.recorded_at < now() - older_than and o.id = any (array(
        select p.id from parley.outbox p
        where p.set_aside_at is null and p.id <= parley.counted_event() and not exists (select from parley.outbox_queue q where q.id = p.id)
        order by p.id limit max_events));
    get diagnostics removed = row_count;
    -- What a DBA removed from the log needs no place in the queue.
    delete from parley.outbox_queue q
    where q.id = any (array(
        select p.id from parley.outbox_queue p
        where not exists (select from parley.outbox o where o.id = p.id) order by p.id limit max_events));
    return removed;
end $$;

ALTER FUNCTION listener.remove_events(older_than interval, max_events integer) OWNER TO postgres;

COMMENT ON FUNCTION listener.remove_events(older_than interval, max_events integer) IS 'Removes up to so many of the oldest events that are older than that, published, and counted in the rollups; answers how many.';

CREATE FUNCTION listener.roll_up(max_messages integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    is_late constant boolean := pg_current_xact_id_if_assigned() is not null;
    at constant timestamptz := clock_timestamp();
    last_event constant bigint := pg_sequence_last_value(pg_get_serial_sequence('parley.outbox', 'id'));
    state parley.rollup_state;
begin
    if is_late then
        raise exception 'listener.roll_up() must be the first to write in its transaction';
    elsif max_messages is null or max_messages < 1 then
        raise exception using errcode = 'invalid_parameter_value', message = 'max_messages must be 1 or more';
    end if;
    select s.* into state from parley.rollup_state s for update skip locked;
    if not found then
        return false;  -- somebody else is at it
    end if;
    if state.history_until is null then
        update parley.rollup_state
        set history_until = parley.uuid7_from(at), next_transaction = pg_current_xact_id();
        return true;
    end if;
    -- A number that is still to come is of a cluster that this database was restored from.
    if state.next_transaction > pg_snapshot_xmin(pg_current_snapshot()) and state.next_transaction < pg_current_xact_id() then
        return false;
    end if;
    if state.history_chat is null then
        return parley.find_history();
    end if;
    if state.history_week is not null then
        return parley.count_history(state, max_messages);
    end if;
    if state.next_event is null then
        update parley.rollup_state
        set next_at = at, next_event = coalesce(last_event, 0), next_transaction = pg_current_xact_id();
        return true;
    end if;
    if parley.count_events(state, max_messages) then
        return true;
    end if;
    if state.chats_and_settings_as_of is null or state.chats_and_settings_as_of < now() - interval '1 hour' then
        perform parley.roll_up_chats();
        perform parley.roll_up_settings();
        update parley.rollup_state set chats_and_settings_as_of = now();
    end if;
    return false;
end $$;

ALTER FUNCTION listener.roll_up(max_messages integer) OWNER TO postgres;

COMMENT ON FUNCTION listener.roll_up(max_messages integer) IS 'Brings what the views of analytics show up to date, by up to so many messages; true when it is to be called again at once.';

CREATE FUNCTION listener.set_aside(event_id bigint, error text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    update parley.outbox o set set_aside_at = now(), error = left(set_aside.error, 1000) where o.id = event_id;
    delete from parley.outbox_queue q where q.id = event_id;
end $$;

ALTER FUNCTION listener.set_aside(event_id bigint, error text) OWNER TO postgres;

COMMENT ON FUNCTION listener.set_aside(event_id bigint, error text) IS 'Gives up an event that can''t be published: analytics.set_aside_events has it, with the error.';

CREATE FUNCTION listener.sleep() RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select pg_try_advisory_lock(parley.sleep_lock())
$$;

ALTER FUNCTION listener.sleep() OWNER TO postgres;

COMMENT ON FUNCTION listener.sleep() IS 'From now on each commit with an event notifies the channel parley_outbox; false, and nothing has changed, while one is under way that will not. What was committed before must be looked for once more.';

CREATE FUNCTION listener.take_events(done bigint[], after_id bigint, held bigint[], busy_chats uuid[], hungry_chats uuid[], hungry_after bigint[], max_events integer, max_of_chat integer, max_bytes integer) RETURNS TABLE(reached bigint, is_end boolean, id bigint, chat_id uuid, event text, payload text, recipients text[], channels text[])
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
#variable_conflict use_column
declare
    piece_size constant integer := 5000;
begin
    -- The queue is looked up by its indexes, whatever its size was when it was analyzed, and the outbox row by row:
    -- "offset 0" keeps the planner from reading all of the log instead.
    if done <> '{}' then
        delete from parley.outbox_queue q where q.id = any (done);
    end if;
    return query
    with piece as materialized (
        select q.id, q.chat_id from parley.outbox_queue q where q.id > after_id order by q.id limit piece_size
    ), fresh as materialized (
        select p.id, p.chat_id from piece p
        where p.chat_id <> all (busy_chats) and not exists (select from unnest(held) h (id) where h.id = p.id)
        order by p.id limit max_events
    ), found as (
        select f.id, f.chat_id from fresh f
        union all
        select q.id, q.chat_id from unnest(hungry_chats, hungry_after) c (chat_id, after_id) cross join lateral (
            select n.id, n.chat_id from parley.outbox_queue n
            where n.chat_id = c.chat_id and n.id > c.after_id order by n.id limit max_of_chat) q
    ), weighed as materialized (
        select f.id, row_number() over (partition by f.chat_id order by f.id) as place,
            sum(o.bytes) over (order by f.id) - o.bytes as bytes_before
        from found f cross join lateral (
            select coalesce(pg_column_size(l.recipients), 0) as bytes from parley.outbox l where l.id = f.id offset 0) o
    ), answered as materialized (
        select w.id from weighed w where w.place <= max_of_chat and w.bytes_before < max_bytes
    ), cut as (
        select (select count(*) from fresh) = max_events or exists (select from weighed w where w.bytes_before >= max_bytes)
            as is_cut
    ), mark as (
        select case when c.is_cut then greatest(after_id, (select max(a.id) from answered a))
                    else coalesce((select max(p.id) from piece p), after_id) end as reached,
            not c.is_cut and (select count(*) from piece) < piece_size as is_end
        from cut c
    )
    select m.reached, m.is_end, o.id, o.chat_id, o.event, o.payload::text,
        case when o.event = 'member:removed' then array(select parley.pusher_user(r) from unnest(o.recipients) r) end,
        case when o.event <> 'member:removed' then parley.event_channels(o.chat_id, o.recipients) end
    from mark m left join (
        answered a cross join lateral (select l.* from parley.outbox l where l.id = a.id offset 0) o) on true
    order by o.id;
end $$;

ALTER FUNCTION listener.take_events(done bigint[], after_id bigint, held bigint[], busy_chats uuid[], hungry_chats uuid[], hungry_after bigint[], max_events integer, max_of_chat integer, max_bytes integer) OWNER TO postgres;

COMMENT ON FUNCTION listener.take_events(done bigint[], after_id bigint, held bigint[], busy_chats uuid[], hungry_chats uuid[], hungry_after bigint[], max_events integer, max_of_chat integer, max_bytes integer) IS 'Forgets the events that are done, and answers those next in the order of their ids: after an id, without those that are held already and those of busy chats, and for some of these what comes next; and how far it looked. One row without an event if there is none.';

CREATE FUNCTION listener.wake() RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select pg_advisory_unlock(parley.sleep_lock())
$$;

ALTER FUNCTION listener.wake() OWNER TO postgres;

COMMENT ON FUNCTION listener.wake() IS 'Commits need not notify: the listener looks by itself.';

CREATE FUNCTION rules.choices(field text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE field WHEN 'type'::text THEN ARRAY['text'::text, 'code'::text, 'image'::text] WHEN 'theme'::text THEN ARRAY['light'::text, 'dark'::text, 'system'::text] WHEN 'responseStyle'::text THEN ARRAY['concise'::text, 'detailed'::text] WHEN 'sort'::text THEN ARRAY['newest'::text, 'relevance'::text] ELSE NULL::text[] END;

ALTER FUNCTION rules.choices(field text) OWNER TO postgres;

CREATE FUNCTION rules.is_blank(value text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    unseen constant text := E' \t\n\r\f\v\u0085\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180e\u2000\u2001\u2002'
        '\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a'
        '\u202b\u202c\u202d\u202e\u202f\u205f\u2060\u2061\u2062\u2063\u2064\u2800\u3000\u3164\ufeff\uffa0';
begin
    return btrim(left(value, 1), unseen) = '' and btrim(value, unseen) = '';
end $$;

ALTER FUNCTION rules.is_blank(value text) OWNER TO postgres;

CREATE FUNCTION rules.is_email(value text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    unseen constant text := '\u0001-\u0020\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f'
        '\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uff20\uffa0\ufff0-\uffff'
        '\U000e0000-\U000e0fff';
    atom constant text := '[^"(),.:;<>@[\\\]' || unseen || ']';
    letter constant text := '[^\u0021-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u007e\u3002\uff0e\uff61' || unseen || ']';
begin
    return value ~ ('^(?=[^@]{1,64}@)' || atom || '+([.]' || atom || '+)*@'
        || '((?=[^.]{1,63}([.]|$))' || letter || '+(-+' || letter || '+)*([.](?=.)|$)){2,}$') and value !~ '[.][0-9]+$';
end $_$;

ALTER FUNCTION rules.is_email(value text) OWNER TO postgres;

CREATE FUNCTION rules.length_limits(field text) RETURNS int4range
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE field WHEN 'title'::text THEN int4range(1, 200, '[]'::text) WHEN 'name'::text THEN int4range(1, 100, '[]'::text) WHEN 'email'::text THEN int4range(3, 254, '[]'::text) WHEN 'content'::text THEN int4range(1, 32768, '[]'::text) WHEN 'search'::text THEN int4range(0, 1000, '[]'::text) WHEN 'context'::text THEN int4range(0, 10000, '[]'::text) WHEN 'userId'::text THEN int4range(1, 255, '[]'::text) ELSE int4range(1, 100, '[]'::text) END;

ALTER FUNCTION rules.length_limits(field text) OWNER TO postgres;

CREATE FUNCTION rules.may_be_blank(field text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (field = ANY (ARRAY['context'::text, 'search'::text]));

ALTER FUNCTION rules.may_be_blank(field text) OWNER TO postgres;

CREATE FUNCTION rules.problem(field text, value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (rules.choices(field) IS NOT NULL) THEN CASE WHEN (value <> ALL (rules.choices(field))) THEN ('must be one of: '::text || array_to_string(rules.choices(field), ', '::text)) ELSE NULL::text END WHEN (NOT (rules.length_limits(field) @> char_length(value))) THEN format('must be %s to %s characters'::text, lower(rules.length_limits(field)), (upper(rules.length_limits(field)) - 1)) WHEN ((NOT rules.may_be_blank(field)) AND rules.is_blank(value)) THEN 'must not be blank'::text WHEN ((field = 'email'::text) AND (NOT rules.is_email(value))) THEN 'must be an e-mail address, like ada@example.org'::text ELSE NULL::text END;

ALTER FUNCTION rules.problem(field text, value text) OWNER TO postgres;

CREATE FUNCTION rules.uuid7_time(id uuid) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ((('1970-01-01 00:00:00'::timestamp without time zone + (((((('x'::text || "left"(translate((id)::text, '-'::text, ''::text), 12)))::bit(48))::bigint / 1000))::double precision * '00:00:01'::interval)) + (((((('x'::text || "left"(translate((id)::text, '-'::text, ''::text), 12)))::bit(48))::bigint % (1000)::bigint))::double precision * '00:00:00.001'::interval)) AT TIME ZONE 'UTC'::text);

ALTER FUNCTION rules.uuid7_time(id uuid) OWNER TO postgres;

CREATE TABLE parley.chats (
    id uuid NOT NULL,
    title text NOT NULL,
    owner_id text DEFAULT NULLIF(current_setting('parley.user_id'::text, true), ''::text),
    created_at timestamp with time zone GENERATED ALWAYS AS (rules.uuid7_time(id)) STORED NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    seq bigint DEFAULT 0 NOT NULL,
    message_count bigint DEFAULT 0 NOT NULL,
    last_message_id uuid,
    counted_messages bigint DEFAULT 0 NOT NULL,
    is_being_removed boolean DEFAULT false NOT NULL,
    CONSTRAINT chats_title_valid CHECK ((rules.problem('title'::text, title) IS NULL))
)
WITH (fillfactor='70');

ALTER TABLE parley.chats OWNER TO postgres;

COMMENT ON TABLE parley.chats IS 'Conversations. The owner is a member too.';

COMMENT ON COLUMN parley.chats.owner_id IS 'Who may rename and delete the chat and manage its members; null when that account was deleted.';

COMMENT ON COLUMN parley.chats.updated_at IS 'When the title last changed.';

COMMENT ON COLUMN parley.chats.seq IS 'Taken by each change in the chat: the order in which changes were committed.';

COMMENT ON COLUMN parley.chats.message_count IS 'How many messages the chat has, kept by triggers: the exact total without a count.';

COMMENT ON COLUMN parley.chats.last_message_id IS 'The newest message; null in an empty chat. With the chat''s own id in its place, the order of latest activity.';

COMMENT ON COLUMN parley.chats.counted_messages IS 'How many of message_count are in message_blocks.';

COMMENT ON COLUMN parley.chats.is_being_removed IS 'Whether the chat is deleted for everybody, and its messages are on their way out: it has no owner and no members then, and takes none.';

CREATE FUNCTION parley.activity(chat parley.chats) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ select coalesce(chat.last_message_id, chat.id) $$;

ALTER FUNCTION parley.activity(chat parley.chats) OWNER TO postgres;

CREATE FUNCTION parley.add_to_rollups(chats uuid[], ids uuid[], users text[], types text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    SET jit TO 'off'
    AS $$
begin
    with sent as materialized (
        select s.chat_id, s.id, s.user_id, s.type, rules.uuid7_time(s.id) as sent_at
        from unnest(chats, ids, users, types) s (chat_id, id, user_id, type)
    ), user_keys as materialized (
        select u.user_id, parley.pseudonym('user', u.user_id) as key from (select distinct s.user_id from sent s) u
    ), chat_keys as materialized (
        select c.chat_id, parley.pseudonym('chat', c.chat_id::text) as key from (select distinct s.chat_id from sent s) c
    ), counted as materialized (
        select s.chat_id, s.type, u.key as user_key, c.key as chat_key, g.grain, (s.sent_at at time zone 'UTC')::date as day,
            date_trunc(g.grain, s.sent_at, 'UTC') as starts
        from sent s join user_keys u on u.user_id = s.user_id join chat_keys c on c.chat_id = s.chat_id
            cross join (values ('hour'), ('day'), ('week')) g (grain)
    ), seen as (
        insert into parley.rollup_seen (grain, starts, kind, key)
        select distinct c.grain, c.starts, k.kind, k.key
        from counted c cross join lateral (values ('user', c.user_key), ('chat', c.chat_key)) k (kind, key)
        on conflict do nothing
        returning grain, starts, kind, key
    ), seen_in_periods as (
        select s.grain, s.starts, count(*) filter (where s.kind = 'user') as users, count(*) filter (where s.kind = 'chat') as chats
        from seen s group by 1, 2
    ), counted_in_periods as (
        select c.grain, c.starts, count(*) as messages, count(*) filter (where c.type = 'text') as texts,
            count(*) filter (where c.type = 'code') as codes, count(*) filter (where c.type = 'image') as images
        from counted c group by 1, 2
    ), periods as (
        insert into parley.rollup_periods as p
            (grain, starts, messages, text_messages, code_messages, image_messages, active_users, active_chats)
        select c.grain, c.starts, c.messages, c.texts, c.codes, c.images, coalesce(s.users, 0), coalesce(s.chats, 0)
        from counted_in_periods c left join seen_in_periods s on s.grain = c.grain and s.starts = c.starts
        on conflict (grain, starts) do update set
            messages = p.messages + excluded.messages,
            text_messages = p.text_messages + excluded.text_messages,
            code_messages = p.code_messages + excluded.code_messages,
            image_messages = p.image_messages + excluded.image_messages,
            active_users = p.active_users + excluded.active_users,
            active_chats = p.active_chats + excluded.active_chats
    ), their_users as (
        insert into parley.rollup_users as u (key, first_week, last_day, messages)
        select c.user_key, (min(c.starts) at time zone 'UTC')::date, max(c.day), count(*)
        from counted c where c.grain = 'week' group by 1
        on conflict (key) do update set
            last_day = greatest(u.last_day, excluded.last_day), messages = u.messages + excluded.messages
        returning u.key, u.first_week
    ), their_chats as (
        insert into parley.rollup_chats as r (key, created_on, last_day, messages)
        select c.chat_key, (rules.uuid7_time(c.chat_id) at time zone 'UTC')::date, max(c.day), count(*)
        from counted c where c.grain = 'week' group by 1, 2
        on conflict (key) do update set
            last_day = greatest(r.last_day, excluded.last_day), messages = r.messages + excluded.messages
    ), retention as (
        insert into parley.rollup_retention as r (first_week, week, users)
        select u.first_week, (s.starts at time zone 'UTC')::date, count(*)
        from seen s join their_users u on u.key = s.key where s.kind = 'user' and s.grain = 'week' group by 1, 2
        on conflict (first_week, week) do update set users = r.users + excluded.users
    )
    insert into parley.rollup_responses as r (day, step, responses)
    select w.day, ceil(8 * ln(greatest(w.seconds, 1)) / ln(2)), count(*)
    from (
        select (s.sent_at at time zone 'UTC')::date as day, extract(epoch from s.sent_at - rules.uuid7_time(b.id))::float as seconds
        from sent s cross join lateral (
            select m.id, m.user_id from parley.messages m
            where m.chat_id = s.chat_id and m.id < s.id order by m.id desc limit 1) b
        where b.user_id <> s.user_id) w
    where w.seconds <= 7 * 86400
    group by 1, 2
    on conflict (day, step) do update set responses = r.responses + excluded.responses;
end $$;

ALTER FUNCTION parley.add_to_rollups(chats uuid[], ids uuid[], users text[], types text[]) OWNER TO postgres;

CREATE FUNCTION parley.await_removal(name text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    for attempt in 1..60 loop
        if not parley.image_is_being_removed(name) then
            return;
        end if;
        perform pg_sleep(0.05);
    end loop;
    perform parley.fail('PT503', 'This image is being removed.');
end $$;

ALTER FUNCTION parley.await_removal(name text) OWNER TO postgres;

CREATE FUNCTION parley.base64url(value bytea) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ select rtrim(translate(encode(value, 'base64'), E'+/\n', '-_'), '=') $$;

ALTER FUNCTION parley.base64url(value bytea) OWNER TO postgres;

CREATE FUNCTION parley.chat_channel(chat uuid) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ select 'private-chat-' || chat::text $$;

ALTER FUNCTION parley.chat_channel(chat uuid) OWNER TO postgres;

CREATE TABLE parley.messages (
    chat_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id text DEFAULT NULLIF(current_setting('parley.user_id'::text, true), ''::text) NOT NULL,
    type text DEFAULT 'text'::text NOT NULL,
    content text NOT NULL,
    created_at timestamp with time zone GENERATED ALWAYS AS (rules.uuid7_time(id)) STORED NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT messages_content_valid CHECK ((rules.problem('content'::text, content) IS NULL)),
    CONSTRAINT messages_type_valid CHECK ((rules.problem('type'::text, type) IS NULL))
);

ALTER TABLE parley.messages OWNER TO postgres;

COMMENT ON TABLE parley.messages IS 'Messages. The order of (chat_id, id) is the order in which a chat''s messages were committed.';

COMMENT ON COLUMN parley.messages.user_id IS 'The author. No foreign key: what somebody said outlives their account.';

CREATE FUNCTION parley.chat_json(chat parley.chats, last_message parley.messages) RETURNS json
    LANGUAGE sql STABLE
    AS $$
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

ALTER FUNCTION parley.chat_json(chat parley.chats, last_message parley.messages) OWNER TO postgres;

CREATE FUNCTION parley.chats_add_owner() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    insert into parley.members (chat_id, user_id, joined_at) values (new.id, new.owner_id, new.created_at);
    return null;
end $$;

ALTER FUNCTION parley.chats_add_owner() OWNER TO postgres;

CREATE FUNCTION parley.chats_gone() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform parley.record_event(old.id, old.seq + 1, 'chat:deleted', to_json(old.id),
        array(select m.user_id from parley.members m where m.chat_id = old.id));
    if tg_op = 'DELETE' then
        return old;
    end if;
    new.seq := old.seq + 1;
    return new;
end $$;

ALTER FUNCTION parley.chats_gone() OWNER TO postgres;

CREATE FUNCTION parley.chats_new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    new.updated_at := parley.now_ms();
    new.id := parley.uuid7(new.updated_at, (random() * 67108863)::bigint);
    return new;
end $$;

ALTER FUNCTION parley.chats_new() OWNER TO postgres;

CREATE FUNCTION parley.chats_renamed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    new.updated_at := parley.now_after(old.updated_at);
    new.seq := old.seq + 1;
    perform parley.record_event(
        new.id, new.seq, 'chat:updated', json_build_object('id', new.id, 'updates', json_build_object('title', new.title)),
        array(select m.user_id from parley.members m where m.chat_id = new.id));
    return new;
end $$;

ALTER FUNCTION parley.chats_renamed() OWNER TO postgres;

CREATE FUNCTION parley.close_block(chat uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
declare
    first_id constant uuid := coalesce(
        (select b.before_id from parley.message_blocks b where b.chat_id = chat order by b.first_id desc limit 1),
        '00000000-0000-0000-0000-000000000000');
    before_id constant uuid := (
        select m.id from parley.messages m where m.chat_id = chat and m.id >= first_id
        order by m.id limit 1 offset 1000);
begin
    if before_id is not null then
        insert into parley.message_blocks (chat_id, first_id, before_id, messages, by_type)
        values (chat, first_id, before_id, 0, '{}');
        perform parley.recount_blocks(chat, array[first_id]);
    end if;
end $$;

ALTER FUNCTION parley.close_block(chat uuid) OWNER TO postgres;

CREATE FUNCTION parley.close_old_chats(before_id uuid, max_chats integer) RETURNS uuid[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    chats constant uuid[] := array(
        select c.id from parley.chats c where parley.activity(c) < before_id and not c.is_being_removed
        order by parley.activity(c) limit max_chats for update skip locked);
begin
    update parley.chats c set is_being_removed = true, owner_id = null where c.id = any (chats);
    delete from parley.members m where m.chat_id = any (chats);
    return chats;
end $$;

ALTER FUNCTION parley.close_old_chats(before_id uuid, max_chats integer) OWNER TO postgres;

CREATE TABLE parley.rollup_state (
    id boolean DEFAULT true NOT NULL,
    history_until uuid,
    history_week date,
    history_chat uuid,
    history_id uuid,
    counted_event bigint DEFAULT 0 NOT NULL,
    next_event bigint,
    next_transaction xid8,
    next_at timestamp with time zone,
    as_of timestamp with time zone,
    chats_and_settings_as_of timestamp with time zone,
    CONSTRAINT rollup_state_is_one CHECK (id)
);

ALTER TABLE parley.rollup_state OWNER TO postgres;

COMMENT ON TABLE parley.rollup_state IS 'How far the rollups have come. One row.';

COMMENT ON COLUMN parley.rollup_state.history_until IS 'Messages with lesser ids are counted from parley.messages, week by week; the others from the outbox.';

COMMENT ON COLUMN parley.rollup_state.history_week IS 'The week that is being counted from parley.messages; null when that is done.';

COMMENT ON COLUMN parley.rollup_state.history_chat IS 'The chat that it has come to, and history_id the message there.';

COMMENT ON COLUMN parley.rollup_state.counted_event IS 'Events up to this one are counted.';

COMMENT ON COLUMN parley.rollup_state.next_event IS 'Events up to this one are counted next: once no transaction before next_transaction is under way.';

COMMENT ON COLUMN parley.rollup_state.next_at IS 'When that was said: what was sent before is then counted.';

COMMENT ON COLUMN parley.rollup_state.as_of IS 'What was sent before this is counted.';

COMMENT ON COLUMN parley.rollup_state.chats_and_settings_as_of IS 'When rollup_chat_sizes and rollup_settings were made.';

CREATE FUNCTION parley.count_events(state parley.rollup_state, max_messages integer) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
declare
    found record;
    is_end boolean;
begin
    with piece as materialized (
        select o.id, o.chat_id, o.event, o.payload from parley.outbox o
        where o.id > state.counted_event and o.id <= state.next_event order by o.id limit max_messages
    ), sent as (
        select p.id as event_id, p.chat_id, (p.payload ->> 'id')::uuid as id, p.payload ->> 'userId' as user_id,
            p.payload ->> 'type' as type
        from piece p where p.event = 'message:sent'
    )
    select (select count(*) from piece) as events, (select max(p.id) from piece p) as last_event,
        array_agg(s.chat_id order by s.event_id) as chats, array_agg(s.id order by s.event_id) as ids,
        array_agg(s.user_id order by s.event_id) as users, array_agg(s.type order by s.event_id) as types
    into found
    from sent s where s.id >= state.history_until;
    if found.ids is not null then
        perform parley.add_to_rollups(found.chats, found.ids, found.users, found.types);
    end if;
    is_end := found.events < max_messages;
    update parley.rollup_state
    set counted_event = case when is_end then state.next_event else found.last_event end,
        as_of = case when is_end then state.next_at else state.as_of end,
        next_event = case when is_end then null else state.next_event end;
    if is_end then
        perform parley.forget_seen();
    end if;
    return not is_end;
end $$;

ALTER FUNCTION parley.count_events(state parley.rollup_state, max_messages integer) OWNER TO postgres;

CREATE FUNCTION parley.count_history(state parley.rollup_state, max_messages integer) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
declare
    zero constant uuid := '00000000-0000-0000-0000-000000000000';
    next_week constant date := state.history_week + 7;
    first_id constant uuid := parley.uuid7_from(state.history_week::timestamp at time zone 'UTC');
    before_id constant uuid := least(parley.uuid7_from(next_week::timestamp at time zone 'UTC'), state.history_until);
    found record;
begin
    select count(*) as messages, array_agg(h.chat_id) as chats, array_agg(h.id) as ids, array_agg(h.user_id) as users,
        array_agg(h.type) as types
    into found
    from (
        select m.chat_id, m.id, m.user_id, m.type
        from parley.chats c cross join lateral (
            select n.chat_id, n.id, n.user_id, n.type from parley.messages n
            where n.chat_id = c.id and n.id >= first_id and n.id < before_id
              and n.id > case when c.id = state.history_chat then state.history_id else zero end
            order by n.id limit max_messages) m
        where c.id >= state.history_chat and c.last_message_id >= first_id
        order by c.id, m.id limit max_messages
    ) h;
    if found.messages > 0 then
        perform parley.add_to_rollups(found.chats, found.ids, found.users, found.types);
    end if;
    if found.messages = max_messages then
        update parley.rollup_state
        set history_chat = found.chats[max_messages], history_id = found.ids[max_messages];
    else
        update parley.rollup_state
        set as_of = rules.uuid7_time(before_id), history_chat = zero, history_id = zero,
            history_week = case when before_id < state.history_until then next_week end;
        perform parley.forget_seen();
    end if;
    return true;
end $$;

ALTER FUNCTION parley.count_history(state parley.rollup_state, max_messages integer) OWNER TO postgres;

CREATE FUNCTION parley.count_in_range(chat uuid, wanted parley.filter) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
begin
    if wanted.type is null then
        return (
            select count(*) from parley.messages m
            where m.chat_id = chat and m.id >= wanted.first_id and m.id < wanted.before_id);
    end if;
    return (
        select count(*) from parley.messages m
        where m.chat_id = chat and m.type = wanted.type and m.id >= wanted.first_id and m.id < wanted.before_id);
end $$;

ALTER FUNCTION parley.count_in_range(chat uuid, wanted parley.filter) OWNER TO postgres;

CREATE FUNCTION parley.count_message(chat parley.chats, message uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if chat.message_count - chat.counted_messages > 1000 then
        perform parley.close_block(chat.id);
    end if;
    update parley.chats c
    set seq = c.seq + 1, message_count = c.message_count + 1, last_message_id = message
    where c.id = chat.id;
end $$;

ALTER FUNCTION parley.count_message(chat parley.chats, message uuid) OWNER TO postgres;

CREATE FUNCTION parley.count_messages(wanted parley.filter) RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
declare
    chat constant uuid := session.chat_id();
    whole record;
begin
    if wanted is not distinct from parley.parse_filter(null, null, null) then
        return (select c.message_count from parley.chats c where c.id = chat);
    end if;
    select (array_agg(b.first_id order by b.first_id))[1] as first_id,
        (array_agg(b.before_id order by b.first_id desc))[1] as before_id,
        sum(case when wanted.type is null then b.messages else (b.by_type ->> wanted.type)::integer end) as messages
    into whole
    from parley.message_blocks b
    where b.chat_id = chat and b.first_id >= wanted.first_id and b.first_id < wanted.before_id
      and b.before_id <= wanted.before_id;
    if whole.first_id is null then
        return parley.count_in_range(chat, wanted);
    end if;
    return coalesce(whole.messages, 0)
        + parley.count_in_range(chat, (wanted.type, wanted.first_id, whole.first_id)::parley.filter)
        + parley.count_in_range(chat, (wanted.type, whole.before_id, wanted.before_id)::parley.filter);
end $$;

ALTER FUNCTION parley.count_messages(wanted parley.filter) OWNER TO postgres;

CREATE FUNCTION parley.counted_event() RETURNS bigint
    LANGUAGE sql STABLE
    AS $$ select s.counted_event from parley.rollup_state s $$;

ALTER FUNCTION parley.counted_event() OWNER TO postgres;

CREATE FUNCTION parley.cut(source text, start integer, size integer) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    part text := substr(source, start, size);
begin
    if start > 1 then
        part := '…' || regexp_replace(part, '^[^ ]{0,20} ', '');
    end if;
    if char_length(source) >= start + size then
        part := regexp_replace(part, ' [^ ]{0,20}$', '') || '…';
    end if;
    return part;
end $_$;

ALTER FUNCTION parley.cut(source text, start integer, size integer) OWNER TO postgres;

CREATE FUNCTION parley.end_of(value text) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    select case when length(value) = 10 then parley.parse_instant(value) + interval '24 hours'
        else date_trunc('milliseconds', parley.parse_instant(value)) + interval '1 millisecond' end
$$;

ALTER FUNCTION parley.end_of(value text) OWNER TO postgres;

CREATE FUNCTION parley.enter_chat(chat_id text) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    chat constant uuid := parley.parse_uuid(chat_id);
begin
    perform set_config('parley.chat_id', coalesce(chat::text, ''), true);
    if session.chat_id() is null then
        perform parley.not_found('Chat');
    end if;
    return chat;
end $$;

ALTER FUNCTION parley.enter_chat(chat_id text) OWNER TO postgres;

CREATE FUNCTION parley.event_channels(chat uuid, recipients text[]) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    select parley.chat_channel(chat) || array(select parley.user_channel(r) from unnest(recipients) r)
$$;

ALTER FUNCTION parley.event_channels(chat uuid, recipients text[]) OWNER TO postgres;

CREATE FUNCTION parley."extract"(content text, marks tsquery) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    step constant integer := 60;
    large_step constant integer := 3000;
    size constant integer := 240;
    source constant text := regexp_replace(translate(content, E'\u0001\u0002\u0003', ''), '\s+', ' ', 'g');
    start integer;
    part text;
    marked text;
begin
    for start in
        select small from generate_series(1, char_length(source), large_step) large,
            generate_series(large, large + large_step - 1, step) small
        where marks is not null
          and rules.search_vector(substr(source, large, large_step + 2 * step)) @@ marks
          and rules.search_vector(substr(source, small, 2 * step + 10)) @@ marks
    loop
        part := parley.cut(source, start, size);
        marked := parley.mark(part, marks);
        if marked = part then
            marked := parley.mark(normalize(part, nfkd), marks);
        end if;
        exit when marked ~ E'\u0001';
    end loop;
    if marked is null or marked !~ E'\u0001' then
        marked := parley.cut(source, 1, size);
    end if;
    marked := replace(replace(replace(marked, '&', '&amp;'), '<', '&lt;'), '>', '&gt;');
    marked := replace(replace(marked, '"', '&quot;'), '''', '&#39;');
    return replace(replace(marked, E'\u0001', '<mark>'), E'\u0002', '</mark>');
end $$;

ALTER FUNCTION parley."extract"(content text, marks tsquery) OWNER TO postgres;

CREATE FUNCTION parley.fail(state text, message text, details jsonb DEFAULT NULL::jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    raise exception using errcode = state, message = message, detail = coalesce(details::text, '');
end $$;

ALTER FUNCTION parley.fail(state text, message text, details jsonb) OWNER TO postgres;

CREATE FUNCTION parley.field_problem(field text, value jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    select case
        when field = 'settings' then case when jsonb_typeof(value) <> 'object' then 'must be an object' end
        when field = 'alwaysShowCode' then case when jsonb_typeof(value) <> 'boolean' then 'must be true or false' end
        when jsonb_typeof(value) <> 'string' then 'must be a string'
        else rules.problem(field, value #>> '{}')
    end
$$;

ALTER FUNCTION parley.field_problem(field text, value jsonb) OWNER TO postgres;

CREATE FUNCTION parley.field_problems(body jsonb, required text[], optional text[]) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    return (
        select coalesce(jsonb_object_agg(left(f.field, 100), f.problem), '{}') from (
            select key, case when key = any (required || optional) then parley.field_problem(key, value)
                             else 'is not a known field' end
            from jsonb_each(body)
            union all
            select r, 'is required' from unnest(required) r where not body ? r
        ) f (field, problem) where f.problem is not null);
end $$;

ALTER FUNCTION parley.field_problems(body jsonb, required text[], optional text[]) OWNER TO postgres;

CREATE FUNCTION parley.filter_problems(type text, search text, start_date text, end_date text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    select jsonb_build_object(
        'type', rules.problem('type', type),
        'search', rules.problem('search', search),
        'startDate', parley.instant_problem(start_date),
        'endDate', parley.instant_problem(end_date))
$$;

ALTER FUNCTION parley.filter_problems(type text, search text, start_date text, end_date text) OWNER TO postgres;

CREATE FUNCTION parley.find_history() RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    first_sent constant timestamptz := (
        select min(rules.uuid7_time(m.id)) from parley.chats c cross join lateral (
            select f.id from parley.messages f where f.chat_id = c.id order by f.id limit 1) m);
begin
    update parley.rollup_state
    set history_week = date_trunc('week', first_sent, 'UTC') at time zone 'UTC',
        history_chat = '00000000-0000-0000-0000-000000000000', history_id = '00000000-0000-0000-0000-000000000000';
    return true;
end $$;

ALTER FUNCTION parley.find_history() OWNER TO postgres;

CREATE FUNCTION parley.find_hits(only_chat uuid, query tsquery, wanted parley.filter) RETURNS TABLE(chat_id uuid, id uuid)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_custom_plan'
    SET enable_seqscan TO 'off'
    SET work_mem TO '64MB'
    AS $$
#variable_conflict use_column
declare
    partitions constant integer := 16;
    few constant integer := 1000;
    hits constant bigint := partitions * (select count(*) from parley.message_words_0 w where w.tsv @@ query);
    chats uuid[];
begin
    if hits <= few then
        return query
        select f.chat_id, f.id from parley.look_up(query, wanted) f
        where (only_chat is null or f.chat_id = only_chat) and exists (
            select from parley.members m where m.chat_id = f.chat_id and m.user_id = session.user_id() offset 0);
        return;
    end if;
    chats := array(
        select m.chat_id from parley.members m
        where m.user_id = session.user_id() and (only_chat is null or m.chat_id = only_chat));
    if hits <= (select sum(least(c.message_count, few) + 20) from parley.chats c where c.id = any (chats)) then
        return query select f.chat_id, f.id from parley.look_up(query, wanted) f where f.chat_id = any (chats);
    else
        return query
        select c.id, f.id from parley.chats c cross join lateral (
            (select w.id, w.type from parley.message_words w
            where c.message_count <= few and w.chat_id = c.id and (w.tsv @@ query) is true offset 0)
            union all
            (select w.id, w.type from parley.message_words w
            where c.message_count > few and w.chat_id = c.id and w.tsv @@ query offset 0)) f
        where c.id = any (chats) and f.id >= wanted.first_id and f.id < wanted.before_id
          and (wanted.type is null or f.type = wanted.type);
    end if;
end $$;

ALTER FUNCTION parley.find_hits(only_chat uuid, query tsquery, wanted parley.filter) OWNER TO postgres;

CREATE FUNCTION parley.find_message(chat_id text, message_id text) RETURNS parley.messages
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    chat constant uuid := parley.enter_chat(chat_id);
    message parley.messages;
begin
    select m.* into message from parley.messages m where m.chat_id = chat and m.id = parley.parse_uuid(message_id);
    if not found then
        perform parley.not_found('Message');
    end if;
    return message;
end $$;

ALTER FUNCTION parley.find_message(chat_id text, message_id text) OWNER TO postgres;

CREATE FUNCTION parley.finish_page(asked parley.page, ids uuid[], sort text DEFAULT NULL::text) RETURNS uuid[]
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    has_more constant boolean := coalesce(cardinality(ids) > asked.size, false);
begin
    ids := coalesce(ids, '{}');
    if has_more then
        ids := case when asked.is_ascending then ids[2:] else ids[:asked.size] end;
    end if;
    if sort = 'relevance' then
        perform parley.link_pages(
            case when has_more then json_build_object('page', asked.number + 1) end,
            case when asked.number > 1 then json_build_object('page', asked.number - 1) end);
    elsif ids <> '{}' then
        perform parley.link_pages(
            case when has_more or asked.is_ascending then json_build_object('before', ids[cardinality(ids)]) end,
            case when has_more and asked.is_ascending or not asked.is_ascending and asked.number is distinct from 1
                then json_build_object('after', ids[1]) end);
    else
        perform parley.link_pages(null, null);
    end if;
    return ids;
end $$;

ALTER FUNCTION parley.finish_page(asked parley.page, ids uuid[], sort text) OWNER TO postgres;

CREATE FUNCTION parley.forget_seen() RETURNS void
    LANGUAGE sql
    AS $$
    delete from parley.rollup_seen s
    where s.starts at time zone 'UTC' + ('1 ' || s.grain)::interval
        < (select r.as_of at time zone 'UTC' - interval '1 hour' from parley.rollup_state r)
$$;

ALTER FUNCTION parley.forget_seen() OWNER TO postgres;

CREATE FUNCTION parley.hit_json(message parley.messages, marks tsquery) RETURNS json
    LANGUAGE sql STABLE
    AS $$
    select json_build_object(
        'id', message.id,
        'chatId', message.chat_id,
        'content', message.content,
        'type', message.type,
        'userId', message.user_id,
        'createdAt', parley.iso8601(message.created_at),
        'updatedAt', parley.iso8601(message.updated_at),
        'extract', parley.extract(message.content, marks))
$$;

ALTER FUNCTION parley.hit_json(message parley.messages, marks tsquery) OWNER TO postgres;

CREATE FUNCTION parley.image_is_being_removed(name text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    return exists (
        select from parley.image_cleanup c where c.name = image_is_being_removed.name and c.is_being_removed);
end $$;

ALTER FUNCTION parley.image_is_being_removed(name text) OWNER TO postgres;

CREATE FUNCTION parley.image_is_used(name text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    return exists (select from next_auth.users u where parley.image_name(u.image) = image_is_used.name);
end $$;

ALTER FUNCTION parley.image_is_used(name text) OWNER TO postgres;

CREATE FUNCTION parley.image_name(url text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $_$
    select substring(right(url, 80) from '/images/([0-9a-f]{64}[.](?:gif|jpg|png))$')
$_$;

ALTER FUNCTION parley.image_name(url text) OWNER TO postgres;

CREATE FUNCTION parley.instant_problem(value text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    select case when value is not null and parley.parse_instant(value) is null
        then 'must be an ISO date or date-time, like 2026-11-23 or 2026-11-23T10:15:30.123Z' end
$$;

ALTER FUNCTION parley.instant_problem(value text) OWNER TO postgres;

CREATE FUNCTION parley.is_closed(chat parley.chats) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ select chat.is_being_removed $$;

ALTER FUNCTION parley.is_closed(chat parley.chats) OWNER TO postgres;

CREATE FUNCTION parley.iso8601(instant timestamp with time zone) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    select to_char(instant at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

ALTER FUNCTION parley.iso8601(instant timestamp with time zone) OWNER TO postgres;

CREATE FUNCTION parley.last_message_at(chat parley.chats) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ select rules.uuid7_time(chat.last_message_id) $$;

ALTER FUNCTION parley.last_message_at(chat parley.chats) OWNER TO postgres;

CREATE FUNCTION parley.link_pages(next json, prev json) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform set_config('parley.links',
        json_strip_nulls(json_build_object('next', next, 'prev', prev, 'first', json_build_object()))::text, true);
end $$;

ALTER FUNCTION parley.link_pages(next json, prev json) OWNER TO postgres;

CREATE FUNCTION parley.lock_chat() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform from parley.chats c where c.id = session.chat_id() for no key update;
    if not found or session.chat_id() is null then
        perform parley.not_found('Chat');
    end if;
end $$;

ALTER FUNCTION parley.lock_chat() OWNER TO postgres;

CREATE FUNCTION parley.lock_image(name text) RETURNS void
    LANGUAGE sql
    AS $$ select pg_advisory_xact_lock(hashtextextended('parley.image ' || name, 0)) $$;

ALTER FUNCTION parley.lock_image(name text) OWNER TO postgres;

CREATE FUNCTION parley.look_up(query tsquery, wanted parley.filter) RETURNS TABLE(chat_id uuid, id uuid)
    LANGUAGE sql STABLE
    AS $$
    select f.chat_id, f.id
    from (select w.chat_id, w.id, w.type from parley.message_words w where w.tsv @@ query offset 0) f
    where f.id >= wanted.first_id and f.id < wanted.before_id and (wanted.type is null or f.type = wanted.type)
$$;

ALTER FUNCTION parley.look_up(query tsquery, wanted parley.filter) OWNER TO postgres;

CREATE FUNCTION parley.look_up_in_chat(chat uuid, query tsquery, wanted parley.filter) RETURNS TABLE(id uuid)
    LANGUAGE sql STABLE
    AS $$
    select f.id
    from (select w.id, w.type from parley.message_words w where w.chat_id = chat and w.tsv @@ query offset 0) f
    where f.id >= wanted.first_id and f.id < wanted.before_id and (wanted.type is null or f.type = wanted.type)
$$;

ALTER FUNCTION parley.look_up_in_chat(chat uuid, query tsquery, wanted parley.filter) OWNER TO postgres;

CREATE FUNCTION parley.mark(part text, marks tsquery) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    found constant text := regexp_replace(
        regexp_replace(normalize(part, nfd), '(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', E'\u0003', 'g'),
        parley.mark_pattern(part, marks), E'\u0001\\&\u0002', 'gi');
begin
    return coalesce(normalize(replace(found, E'\u0003', ''), nfc), part);
end $$;

ALTER FUNCTION parley.mark(part text, marks tsquery) OWNER TO postgres;

CREATE FUNCTION parley.mark_pattern(part text, marks tsquery) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    unspaced constant text := '[\u0e00-\u0eff\u1000-\u11ff\u1780-\u17ff\u2e80-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]';
    character constant text := '.[\u1160-\u11ff\u3099\u309a]*';  -- with the rest of its syllable
    words text;
    pairs text;
    singles text;
begin
    select string_agg(parley.spelling_pattern(w.lexeme), '|') filter (where not w.is_unspaced),
        string_agg(normalize(w.lexeme, nfd), '|') filter (where w.is_unspaced and not w.is_single),
        string_agg(normalize(left(w.lexeme, 1), nfd), '|') filter (where w.is_unspaced and w.is_single)
    into words, pairs, singles
    from (
        select l.lexeme, l.lexeme ~ unspaced as is_unspaced, array_to_tsvector(array[left(l.lexeme, 1)]) @@ marks as is_single
        from unnest(rules.search_vector(part)) l
        where l.positions is not null and marks @@ array_to_tsvector(
            array[l.lexeme, '=' || coalesce((ts_lexize('rules.english', l.lexeme))[1], '')])) w;
    return nullif(concat_ws('|',
        '(?:(?<![[:alnum:]])|(?<=' || unspaced || '))(?:' || words || ')(?:(?![[:alnum:]\u0300-\u036f])|(?=' || unspaced || '))',
        '(?:(?=' || pairs || ')' || character || ')+' || character,
        singles), '');
end $$;

ALTER FUNCTION parley.mark_pattern(part text, marks tsquery) OWNER TO postgres;

CREATE FUNCTION parley.may_hear(channel text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    chat constant text := substring(channel from '^(?:private|presence)-chat-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$');
begin
    if chat is null then
        return coalesce(channel = parley.user_channel(session.user_id()), false);
    end if;
    perform set_config('parley.chat_id', chat, true);
    return session.chat_id() is not null;
end $_$;

ALTER FUNCTION parley.may_hear(channel text) OWNER TO postgres;

CREATE FUNCTION parley.members_gone() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    member parley.members;
    taken bigint;
begin
    for member in select g.* from gone g order by g.chat_id, g.user_id loop
        update parley.chats c set seq = c.seq + 1
        where c.id = member.chat_id and not parley.is_closed(c) returning c.seq into taken;
        if found then
            perform parley.record_event(
                member.chat_id, taken, 'member:removed', to_json(member.user_id), array[member.user_id]);
        end if;
    end loop;
    return null;
end $$;

ALTER FUNCTION parley.members_gone() OWNER TO postgres;

CREATE FUNCTION parley.members_json(OUT user_id text, OUT joined_at timestamp with time zone, OUT member json) RETURNS SETOF record
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select m.user_id, m.joined_at, json_build_object(
        'userId', m.user_id,
        'name', u.name,
        'image', u.image,
        'role', case when m.user_id = c.owner_id then 'owner' else 'member' end,
        'joinedAt', parley.iso8601(m.joined_at))
    from parley.members m
        join parley.chats c on c.id = m.chat_id
        join next_auth.users u on u.id = m.user_id
    where m.chat_id = session.chat_id()
$$;

ALTER FUNCTION parley.members_json(OUT user_id text, OUT joined_at timestamp with time zone, OUT member json) OWNER TO postgres;

CREATE FUNCTION parley.members_new() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    chat parley.chats;
begin
    select c.* into chat from parley.chats c where c.id = new.chat_id for key share;
    if parley.is_closed(chat) then
        raise exception using errcode = 'foreign_key_violation', constraint = 'members_chat_exists',
            message = 'the chat is being removed';
    end if;
    return new;
end $$;

ALTER FUNCTION parley.members_new() OWNER TO postgres;

CREATE FUNCTION parley.members_stay() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    raise exception 'the key of a member does not change: delete the row and insert another';
end $$;

ALTER FUNCTION parley.members_stay() OWNER TO postgres;

CREATE FUNCTION parley.message_json(message parley.messages) RETURNS json
    LANGUAGE sql STABLE
    AS $$
    select json_build_object(
        'id', message.id,
        'content', message.content,
        'type', message.type,
        'userId', message.user_id,
        'createdAt', parley.iso8601(message.created_at),
        'updatedAt', parley.iso8601(message.updated_at))
$$;

ALTER FUNCTION parley.message_json(message parley.messages) OWNER TO postgres;

CREATE FUNCTION parley.messages_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    taken bigint;
begin
    new.updated_at := parley.now_after(old.updated_at);
    update parley.chats c set seq = c.seq + 1
    where c.id = new.chat_id and not parley.is_closed(c) returning c.seq into taken;
    if found then
        perform parley.record_event(new.chat_id, taken, 'message:updated', json_build_object(
            'id', new.id,
            'updates', json_strip_nulls(json_build_object(
                'content', case when new.content is distinct from old.content then new.content end,
                'type', case when new.type is distinct from old.type then new.type end))));
    end if;
    return new;
end $$;

ALTER FUNCTION parley.messages_changed() OWNER TO postgres;

CREATE FUNCTION parley.messages_gone() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    -- First the lock, then the look: an update that waited would not see the messages that it waited for.
    perform from parley.chats c where c.id in (select g.chat_id from gone g) order by c.id for no key update;
    perform parley.uncount_messages(g.chat_id, g.ids)
    from (select chat_id, array_agg(id) as ids from gone group by chat_id) g join parley.chats c on c.id = g.chat_id;
    perform parley.record_event(g.chat_id, c.seq - g.later, 'message:deleted', to_json(g.id))
    from (
        select o.chat_id, o.id, row_number() over (partition by o.chat_id order by o.id desc) - 1 as later from gone o
    ) g join parley.chats c on c.id = g.chat_id and not parley.is_closed(c)
    order by g.chat_id, g.id;
    return null;
end $$;

ALTER FUNCTION parley.messages_gone() OWNER TO postgres;

CREATE FUNCTION parley.messages_new() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    chat parley.chats;
begin
    select c.* into chat from parley.chats c where c.id = new.chat_id for no key update;
    if parley.is_closed(chat) then
        raise exception using errcode = 'foreign_key_violation', constraint = 'messages_chat_exists',
            message = 'the chat is being removed';
    end if;
    -- The clock is read under the lock, and a clock that was set back does not make a message older than its forerunner.
    new.updated_at := greatest(parley.now_ms(), parley.last_message_at(chat));
    new.id := parley.uuid7(new.updated_at, coalesce(chat.seq, 0) + 1);  -- without a chat, the foreign key will say so
    if chat.id is not null then
        perform parley.count_message(chat, new.id);
        perform parley.record_event(new.chat_id, chat.seq + 1, 'message:sent', json_build_object(
            'id', new.id, 'content', new.content, 'type', new.type, 'userId', new.user_id,
            'createdAt', parley.iso8601(new.updated_at)));
    end if;
    return new;
end $$;

ALTER FUNCTION parley.messages_new() OWNER TO postgres;

CREATE FUNCTION parley.messages_retyped() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform parley.recount_blocks(t.chat_id, t.ids)
    from (
        select o.chat_id, array_agg(o.id) as ids from old_rows o join new_rows n on n.chat_id = o.chat_id and n.id = o.id
        where n.type <> o.type group by o.chat_id) t;
    return null;
end $$;

ALTER FUNCTION parley.messages_retyped() OWNER TO postgres;

CREATE FUNCTION parley.messages_stay() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    raise exception 'the key of a message does not change: delete the row and insert another';
end $$;

ALTER FUNCTION parley.messages_stay() OWNER TO postgres;

CREATE FUNCTION parley.messages_words() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    insert into parley.message_words (chat_id, id, type, tsv)
    values (new.chat_id, new.id, new.type, rules.search_vector(new.content))
    on conflict (chat_id, id) do update set type = excluded.type, tsv = excluded.tsv;
    return null;
end $$;

ALTER FUNCTION parley.messages_words() OWNER TO postgres;

CREATE FUNCTION parley.messages_words_gone() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    delete from parley.message_words w using gone g where w.chat_id = g.chat_id and w.id = g.id;
    return null;
end $$;

ALTER FUNCTION parley.messages_words_gone() OWNER TO postgres;

CREATE FUNCTION parley.not_found(what text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform parley.fail('PT404', what || ' not found.');
end $$;

ALTER FUNCTION parley.not_found(what text) OWNER TO postgres;

CREATE FUNCTION parley.now_after(instant timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql PARALLEL SAFE
    AS $$ select greatest(parley.now_ms(), instant + interval '1 millisecond') $$;

ALTER FUNCTION parley.now_after(instant timestamp with time zone) OWNER TO postgres;

CREATE FUNCTION parley.now_ms() RETURNS timestamp with time zone
    LANGUAGE sql PARALLEL SAFE
    AS $$ select date_trunc('milliseconds', clock_timestamp()) $$;

ALTER FUNCTION parley.now_ms() OWNER TO postgres;

CREATE FUNCTION parley.number_problem(value text, lowest bigint, highest bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $_$
    select case when value !~ '^[0-9]{1,18}$' or value::bigint not between lowest and highest
        then format('must be a whole number from %s to %s', lowest, highest) end
$_$;

ALTER FUNCTION parley.number_problem(value text, lowest bigint, highest bigint) OWNER TO postgres;

CREATE FUNCTION parley.page_of_hits(hits uuid[], asked parley.page) RETURNS uuid[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    skip constant bigint := least(asked.skip, cardinality(hits));
begin
    if asked.number is not null then
        return hits[skip + 1 : skip + asked.size + 1];
    end if;
    return array(
        select p.id from (
            select h.id from unnest(hits) h (id) where h.id > asked.after_id and h.id < asked.before_id
            order by case when asked.is_ascending then h.id end, h.id desc limit asked.size + 1) p
        order by p.id desc);
end $$;

ALTER FUNCTION parley.page_of_hits(hits uuid[], asked parley.page) OWNER TO postgres;

CREATE FUNCTION parley.page_of_messages(wanted parley.filter, asked parley.page) RETURNS uuid[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    AS $$
declare
    chat constant uuid := session.chat_id();
    size constant bigint := asked.size + 1;
    newest_first constant boolean := not asked.is_ascending;
    before_id uuid := least(wanted.before_id, asked.before_id);
    skip bigint := asked.skip;
begin
    if skip > 1000 then
        select s.before_id, s.skip into before_id, skip
        from parley.skip_blocks(chat, (wanted.type, wanted.first_id, before_id)::parley.filter, skip) s;
    end if;
    return array(
        select p.id from (
            (select m.id from parley.messages m
            where newest_first and wanted.type is null and m.chat_id = chat
              and m.id >= wanted.first_id and m.id < before_id
            order by m.id desc limit size offset skip)
            union all
            (select m.id from parley.messages m
            where newest_first and m.type = wanted.type and m.chat_id = chat
              and m.id >= wanted.first_id and m.id < before_id
            order by m.id desc limit size offset skip)
            union all
            (select m.id from parley.messages m
            where not newest_first and wanted.type is null and m.chat_id = chat
              and m.id >= wanted.first_id and m.id < before_id and m.id > asked.after_id
            order by m.id limit size)
            union all
            (select m.id from parley.messages m
            where not newest_first and m.type = wanted.type and m.chat_id = chat
              and m.id >= wanted.first_id and m.id < before_id and m.id > asked.after_id
            order by m.id limit size)
        ) p order by p.id desc);
end $$;

ALTER FUNCTION parley.page_of_messages(wanted parley.filter, asked parley.page) OWNER TO postgres;

CREATE FUNCTION parley.page_problems(page text, "limit" text, before text, after text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    select jsonb_build_object(
        'page', case when coalesce(before, after) is not null and page is not null then 'can''t go with before or after'
            else parley.number_problem(page, 1, 1000000000) end,
        'limit', parley.number_problem("limit", 1, 100),
        'before', case when parley.parse_uuid(before) is null and before is not null then 'must be an id' end,
        'after', case when parley.parse_uuid(after) is null and after is not null then 'must be an id'
            when before is not null and after is not null then 'can''t go with before' end)
$$;

ALTER FUNCTION parley.page_problems(page text, "limit" text, before text, after text) OWNER TO postgres;

CREATE FUNCTION parley.parse_filter(type text, start_date text, end_date text) RETURNS parley.filter
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    return (
        type,
        case when start_date is null then '00000000-0000-0000-0000-000000000000'
            else parley.uuid7_from(parley.parse_instant(start_date)) end,
        case when end_date is null then 'ffffffff-ffff-ffff-ffff-ffffffffffff'
            else parley.uuid7_from(parley.end_of(end_date)) end)::parley.filter;
end $$;

ALTER FUNCTION parley.parse_filter(type text, start_date text, end_date text) OWNER TO postgres;

CREATE FUNCTION parley.parse_instant(value text) RETURNS timestamp with time zone
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    AS $_$
begin
    if value ~* '^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d([.]\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)?)?$' then
        return regexp_replace(value, '([.]\d{6})\d+', '\1')::timestamptz;  -- cut, for PostgreSQL would round
    end if;
    return null;
exception when data_exception then
    return null;
end $_$;

ALTER FUNCTION parley.parse_instant(value text) OWNER TO postgres;

CREATE FUNCTION parley.parse_page(page text, "limit" text, before text, after text) RETURNS parley.page
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    asked parley.page;
begin
    asked.number := case when coalesce(before, after) is null then coalesce(page, '1')::bigint end;
    asked.size := coalesce("limit", '50');
    asked.skip := coalesce((asked.number - 1) * asked.size, 0);
    asked.after_id := coalesce(after, '00000000-0000-0000-0000-000000000000');
    asked.before_id := coalesce(before, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
    asked.is_ascending := after is not null;
    return asked;
end $$;

ALTER FUNCTION parley.parse_page(page text, "limit" text, before text, after text) OWNER TO postgres;

CREATE FUNCTION parley.parse_search(search text, OUT query tsquery, OUT marks tsquery, OUT phrase tsquery) RETURNS record
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET client_min_messages TO 'error'
    AS $_$
declare
    source constant text := translate(left(rules.folded(search), 1000), '“”„«»', '"""""');
    has_open_phrase constant boolean := (char_length(source) - char_length(replace(source, '"', ''))) % 2 = 1;
    is_open constant boolean := has_open_phrase or source !~ '[\s"]$';
    item record;
    term tsquery;
    all_of tsquery;
    common tsquery;
    has_word boolean := false;
begin
    for item in
        -- the last "or" ends what there is to be ended
        select m[1] is not null as is_phrase, coalesce(m[1] = '-', m[3] ~ '^-[^-]') as is_negated,
            coalesce(m[2], m[3]) as typed, is_open and row_number() over () = count(*) over () - 1 as is_last
        from regexp_matches(source || case when has_open_phrase then '" or' else ' or' end, '(-?)"([^"]*)"|([^\s"]+)', 'g') m
    loop
        if not item.is_phrase and lower(item.typed) = 'or' then
            if not has_word then
                all_of := coalesce(all_of && common, all_of, common);
            end if;
            query := coalesce(query || all_of, query, all_of);
            all_of := null;
            common := null;
            has_word := false;
            continue;
        end if;
        term := parley.parse_term(item.typed, item.is_phrase, item.is_last and not item.is_negated);
        continue when term is null;
        if item.is_negated then
            all_of := coalesce(all_of && !!term, !!term);
            continue;
        elsif not item.is_phrase and item.typed !~ '^[A-Z]{2,}$'
            and ts_lexize('pg_catalog.english_stem', rules.words(item.typed)) = '{}'
        then
            common := coalesce(common && term, term);
        else
            all_of := coalesce(all_of && term, term);
            has_word := true;
        end if;
        marks := coalesce(marks || term, term);
    end loop;
    marks := regexp_replace(marks::text, '&|<(-|[0-9]+)>', '|', 'g');
    phrase := phraseto_tsquery('pg_catalog.simple', rules.words(source));
end $_$;

ALTER FUNCTION parley.parse_search(search text, OUT query tsquery, OUT marks tsquery, OUT phrase tsquery) OWNER TO postgres;

CREATE FUNCTION parley.parse_term(typed text, is_phrase boolean, is_open boolean) RETURNS tsquery
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    apart constant text := rules.words(typed);
    joined constant text := rules.words(rules.joined(typed));
    term tsquery := parley.word_query(apart, is_phrase, is_open);
begin
    if joined <> apart then
        term := term || parley.word_query(joined, is_phrase, is_open);
    end if;
    return case when numnode(term) > 0 then term end;
end $$;

ALTER FUNCTION parley.parse_term(typed text, is_phrase boolean, is_open boolean) OWNER TO postgres;

CREATE FUNCTION parley.parse_uuid(value text) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $_$
    select case when value ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' then value::uuid end
$_$;

ALTER FUNCTION parley.parse_uuid(value text) OWNER TO postgres;

CREATE FUNCTION parley.pseudonym(kind text, subject text) RETURNS uuid
    LANGUAGE sql STABLE
    AS $$
    select encode(substr(sha256(k.outer_key || sha256(k.inner_key || convert_to(kind || ':' || subject, 'UTF8'))), 1, 16), 'hex')::uuid
    from parley.pseudonym_key k
$$;

ALTER FUNCTION parley.pseudonym(kind text, subject text) OWNER TO postgres;

CREATE FUNCTION parley.pusher_user(user_id text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    select case when octet_length(user_id) <= 113 then parley.base64url(convert_to(user_id, 'UTF8'))
        else 'sha256-' || parley.base64url(sha256(convert_to(user_id, 'UTF8'))) end
$$;

ALTER FUNCTION parley.pusher_user(user_id text) OWNER TO postgres;

CREATE FUNCTION parley.queue_again(VARIADIC event_ids bigint[]) RETURNS bigint
    LANGUAGE sql
    AS $$
    with again as (
        update parley.outbox o set set_aside_at = null, error = null where o.id = any (event_ids) returning o.id, o.chat_id
    ), queued as (
        insert into parley.outbox_queue (id, chat_id) select a.id, a.chat_id from again a on conflict do nothing returning 1
    )
    select count(*) from queued
$$;

ALTER FUNCTION parley.queue_again(VARIADIC event_ids bigint[]) OWNER TO postgres;

CREATE FUNCTION parley.record_event(chat uuid, seq bigint, event text, payload json, recipients text[] DEFAULT NULL::text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    recorded bigint;
begin
    if octet_length(payload::text) > 10000 then
        payload := payload::jsonb - 'content' #- '{updates,content}' || '{"truncated": true}';
    end if;
    insert into parley.outbox (chat_id, seq, event, payload, recipients)
    values (chat, seq, event, payload, recipients)
    returning id into recorded;
    insert into parley.outbox_queue (id, chat_id) values (recorded, chat);
    if not pg_try_advisory_xact_lock_shared(parley.sleep_lock()) then
        perform pg_notify('parley_outbox', '');
    end if;
end $$;

ALTER FUNCTION parley.record_event(chat uuid, seq bigint, event text, payload json, recipients text[]) OWNER TO postgres;

CREATE FUNCTION parley.recount_blocks(chat uuid, ids uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_indexonlyscan TO 'off'
    AS $$
begin
    update parley.message_blocks b
    set messages = counted.messages, by_type = counted.by_type
    from (
        select distinct (
            select o.first_id from parley.message_blocks o
            where o.chat_id = chat and o.first_id <= i order by o.first_id desc limit 1) as first_id
        from unnest(ids) i
    ) touched cross join lateral (
        select coalesce(sum(t.messages), 0) as messages, coalesce(jsonb_object_agg(t.type, t.messages), '{}') as by_type
        from (
            select m.type, count(*) as messages from parley.message_blocks o join parley.messages m
                on m.chat_id = o.chat_id and m.id >= o.first_id and m.id < o.before_id
            where o.chat_id = chat and o.first_id = touched.first_id group by m.type) t
    ) counted
    where b.chat_id = chat and b.first_id = touched.first_id;
    update parley.chats c set counted_messages = coalesce(
        (select sum(b.messages) from parley.message_blocks b where b.chat_id = chat), 0)
    where c.id = chat;
end $$;

ALTER FUNCTION parley.recount_blocks(chat uuid, ids uuid[]) OWNER TO postgres;

CREATE FUNCTION parley.recount_chat(chat uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform from parley.chats c where c.id = chat for no key update;
    delete from parley.message_blocks b where b.chat_id = chat;
    update parley.chats c
    set message_count = (select count(*) from parley.messages m where m.chat_id = chat), counted_messages = 0,
        last_message_id = (select m.id from parley.messages m where m.chat_id = chat order by m.id desc limit 1)
    where c.id = chat;
    while (select c.message_count - c.counted_messages > 1000 from parley.chats c where c.id = chat) loop
        perform parley.close_block(chat);
    end loop;
end $$;

ALTER FUNCTION parley.recount_chat(chat uuid) OWNER TO postgres;

CREATE FUNCTION parley.recount_rollups() RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    delete from parley.rollup_state;
    insert into parley.rollup_state default values;
    delete from parley.rollup_periods;
    delete from parley.rollup_seen;
    delete from parley.rollup_users;
    delete from parley.rollup_chats;
    delete from parley.rollup_retention;
    delete from parley.rollup_responses;
end $$;

ALTER FUNCTION parley.recount_rollups() OWNER TO postgres;

CREATE FUNCTION parley.reject(problems jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    problems := jsonb_strip_nulls(problems);
    if problems <> '{}' then
        perform parley.fail('PT400', 'The request has invalid fields.', jsonb_build_object('fields', problems));
    end if;
end $$;

ALTER FUNCTION parley.reject(problems jsonb) OWNER TO postgres;

CREATE FUNCTION parley.remove_old_chats(inactive_for interval, max_messages integer DEFAULT 1000) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    AS $$
declare
    max_chats constant integer := 100;
    chats uuid[];
    messages bigint;
    emptied bigint;
begin
    if inactive_for is null or inactive_for <= interval '0' then
        raise exception using errcode = 'invalid_parameter_value', message = 'inactive_for must be a time, like 2 years';
    elsif max_messages is null or max_messages < 1 then
        raise exception using errcode = 'invalid_parameter_value', message = 'max_messages must be 1 or more';
    end if;
    chats := array(
        select c.id from parley.chats c where c.is_being_removed order by c.id limit max_chats for update skip locked);
    if chats = '{}' then
        chats := parley.close_old_chats(parley.uuid7_from(now() - inactive_for), max_chats);
    end if;
    with old as materialized (
        select m.chat_id, m.id from unnest(chats) with ordinality c (id, place) cross join lateral (
            select o.chat_id, o.id from parley.messages o where o.chat_id = c.id order by o.id for update skip locked) m
        limit max_messages
    )
    delete from parley.messages m using old where m.chat_id = old.chat_id and m.id = old.id;
    get diagnostics messages = row_count;
    delete from parley.chats c
    where c.id = any (chats) and not exists (select from parley.messages m where m.chat_id = c.id);
    get diagnostics emptied = row_count;
    return messages + emptied;
end $$;

ALTER FUNCTION parley.remove_old_chats(inactive_for interval, max_messages integer) OWNER TO postgres;

CREATE FUNCTION parley.require_image(url text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
    if parley.image_name(url) is null or url !~ '^https?://[^[:space:]]+$' or length(url) > 2000 then
        perform parley.reject('{"image": "is not in storage"}');
    end if;
    return parley.image_name(url);
end $_$;

ALTER FUNCTION parley.require_image(url text) OWNER TO postgres;

CREATE FUNCTION parley.require_one_of(body jsonb, fields text[]) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if not body ?| fields then
        perform parley.fail('PT400', format('The body must have at least one of: %s.', array_to_string(fields, ', ')));
    end if;
end $$;

ALTER FUNCTION parley.require_one_of(body jsonb, fields text[]) OWNER TO postgres;

CREATE FUNCTION parley.require_owner(chat uuid) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if not session.owns_chat(chat) then
        perform parley.fail('PT403', 'Only the owner of the chat may do this.');
    end if;
end $$;

ALTER FUNCTION parley.require_owner(chat uuid) OWNER TO postgres;

CREATE FUNCTION parley.require_user(id text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if id is null then
        perform parley.fail('PT401', 'Authentication required.');
    end if;
end $$;

ALTER FUNCTION parley.require_user(id text) OWNER TO postgres;

CREATE FUNCTION parley.roll_up_chats() RETURNS void
    LANGUAGE sql
    AS $$
    delete from parley.rollup_chat_sizes;
    insert into parley.rollup_chat_sizes (days_from, messages_from, chats, silent_chats, messages, members)
    select (array[0, 1, 7, 30, 90, 365])[width_bucket(extract(day from now() - c.created_at), array[0, 1, 7, 30, 90, 365])],
        (array[0, 1, 10, 100, 1000, 10000, 100000])[width_bucket(c.message_count, array[0, 1, 10, 100, 1000, 10000, 100000])],
        count(*), count(*) filter (where rules.uuid7_time(parley.activity(c)) < now() - interval '30 days'),
        sum(c.message_count), sum(coalesce(m.members, 0))
    from parley.chats c left join (
        select chat_id, count(*) as members from parley.members group by 1) m on m.chat_id = c.id
    where not parley.is_closed(c)
    group by 1, 2
$$;

ALTER FUNCTION parley.roll_up_chats() OWNER TO postgres;

CREATE FUNCTION parley.roll_up_settings() RETURNS void
    LANGUAGE sql
    AS $_$
    delete from parley.rollup_settings;
    insert into parley.rollup_settings (setting, value, users)
    select v.setting, case when v.users >= 5 and v.value ~ '^[[:alnum:]][[:alnum:] ._:/+-]{0,63}$' then v.value end, sum(v.users)
    from (
        select v.setting, v.value, count(*) as users from parley.settings s cross join lateral (values
            ('model', s.model), ('theme', s.theme), ('runtime', s.runtime), ('responseStyle', s.response_style),
            ('alwaysShowCode', s.always_show_code::text), ('isPremium', s.is_premium::text)) v (setting, value)
        group by 1, 2) v
    group by 1, 2
$_$;

ALTER FUNCTION parley.roll_up_settings() OWNER TO postgres;

CREATE FUNCTION parley.search_chat(query tsquery, wanted parley.filter, asked parley.page, OUT ids uuid[], OUT total bigint) RETURNS record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET work_mem TO '64MB'
    AS $$
declare
    chat constant uuid := session.chat_id();
    size constant bigint := asked.size + 1;
    near constant bigint := 10 * (asked.skip + size);
    before_id constant uuid := least(wanted.before_id, asked.before_id);
    hits uuid[];
begin
    if parley.count_messages((null, wanted.first_id, wanted.before_id)::parley.filter) <= 1000 then
        hits := array(
            select w.id from parley.message_words w
            where w.chat_id = chat and w.id >= wanted.first_id and w.id < wanted.before_id
              and (w.tsv @@ query) is true and (wanted.type is null or w.type = wanted.type)
            order by w.id desc);
    else
        if not asked.is_ascending and near <= 5000 then
            ids := array(
                select n.id from (
                    select w.id, w.type, w.tsv from parley.message_words w
                    where w.chat_id = chat and w.id >= wanted.first_id and w.id < before_id
                    order by w.id desc limit near) n
                where n.tsv @@ query and (wanted.type is null or n.type = wanted.type)
                order by n.id desc limit size offset asked.skip);
            if cardinality(ids) = size then
                total := (select count(*) from parley.look_up_in_chat(chat, query, wanted));
                return;
            end if;
        end if;
        hits := array(select f.id from parley.look_up_in_chat(chat, query, wanted) f order by f.id desc);
    end if;
    total := cardinality(hits);
    ids := parley.page_of_hits(hits, asked);
end $$;

ALTER FUNCTION parley.search_chat(query tsquery, wanted parley.filter, asked parley.page, OUT ids uuid[], OUT total bigint) OWNER TO postgres;

CREATE FUNCTION parley.search_chats(query tsquery, wanted parley.filter, asked parley.page, OUT chats uuid[], OUT ids uuid[], OUT total bigint) RETURNS record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET work_mem TO '64MB'
    AS $$
begin
    with hits as materialized (
        select h.chat_id, h.id from parley.find_hits(null, query, wanted) h
    ), page as (
        select h.chat_id, h.id from hits h where h.id > asked.after_id and h.id < asked.before_id
        order by case when asked.is_ascending then h.id end, h.id desc
        limit asked.size + 1 offset asked.skip
    )
    select array_agg(p.chat_id order by p.id desc), array_agg(p.id order by p.id desc), (select count(*) from hits)
    into chats, ids, total
    from page p;
end $$;

ALTER FUNCTION parley.search_chats(query tsquery, wanted parley.filter, asked parley.page, OUT chats uuid[], OUT ids uuid[], OUT total bigint) OWNER TO postgres;

CREATE FUNCTION parley.search_ranked(only_chat uuid, query tsquery, marks tsquery, phrase tsquery, wanted parley.filter, asked parley.page, OUT chats uuid[], OUT ids uuid[], OUT total bigint) RETURNS record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET work_mem TO '64MB'
    AS $$
begin
    with hits as materialized (
        select h.chat_id, h.id from parley.find_hits(only_chat, query, wanted) h
    ), newest as (
        select h.chat_id, h.id from hits h order by h.id desc limit 10000
    ), ranked as (
        select n.chat_id, n.id, row_number() over (
            order by w.tsv @@ phrase desc, ts_rank(w.tsv, marks, 1) desc, n.id desc) as place
        from newest n cross join lateral (
            select m.tsv from parley.message_words m where m.chat_id = n.chat_id and m.id = n.id offset 0) w
    )
    select array_agg(r.chat_id order by r.place), array_agg(r.id order by r.place), (select count(*) from hits)
    into chats, ids, total
    from ranked r where r.place > asked.skip and r.place <= asked.skip + asked.size + 1;
end $$;

ALTER FUNCTION parley.search_ranked(only_chat uuid, query tsquery, marks tsquery, phrase tsquery, wanted parley.filter, asked parley.page, OUT chats uuid[], OUT ids uuid[], OUT total bigint) OWNER TO postgres;

CREATE FUNCTION parley.settings_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    new.updated_at := parley.now_after(old.updated_at);
    return new;
end $$;

ALTER FUNCTION parley.settings_changed() OWNER TO postgres;

CREATE TABLE parley.settings (
    user_id text DEFAULT NULLIF(current_setting('parley.user_id'::text, true), ''::text) NOT NULL,
    model text DEFAULT 'default'::text NOT NULL,
    theme text DEFAULT 'system'::text NOT NULL,
    context text DEFAULT ''::text NOT NULL,
    runtime text DEFAULT 'default'::text NOT NULL,
    is_premium boolean DEFAULT false NOT NULL,
    response_style text DEFAULT 'detailed'::text NOT NULL,
    always_show_code boolean DEFAULT false NOT NULL,
    updated_at timestamp with time zone DEFAULT date_trunc('milliseconds'::text, clock_timestamp()) NOT NULL,
    CONSTRAINT settings_context_valid CHECK ((rules.problem('context'::text, context) IS NULL)),
    CONSTRAINT settings_model_valid CHECK ((rules.problem('model'::text, model) IS NULL)),
    CONSTRAINT settings_response_style_valid CHECK ((rules.problem('responseStyle'::text, response_style) IS NULL)),
    CONSTRAINT settings_runtime_valid CHECK ((rules.problem('runtime'::text, runtime) IS NULL)),
    CONSTRAINT settings_theme_valid CHECK ((rules.problem('theme'::text, theme) IS NULL))
);

ALTER TABLE parley.settings OWNER TO postgres;

COMMENT ON TABLE parley.settings IS 'What users chose. A row is made with the columns'' defaults at the user''s first request.';

COMMENT ON COLUMN parley.settings.is_premium IS 'Set by a DBA only.';

CREATE FUNCTION parley.settings_json(settings parley.settings) RETURNS json
    LANGUAGE sql STABLE
    AS $$
    select json_build_object('settings', json_build_object(
        'model', settings.model,
        'theme', settings.theme,
        'context', settings.context,
        'runtime', settings.runtime,
        'isPremium', settings.is_premium,
        'responseStyle', settings.response_style,
        'alwaysShowCode', settings.always_show_code,
        'updatedAt', parley.iso8601(settings.updated_at)))
$$;

ALTER FUNCTION parley.settings_json(settings parley.settings) OWNER TO postgres;

CREATE FUNCTION parley.skip_blocks(chat uuid, wanted parley.filter, INOUT skip bigint, OUT before_id uuid) RETURNS record
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET plan_cache_mode TO 'force_generic_plan'
    SET enable_seqscan TO 'off'
    SET enable_bitmapscan TO 'off'
    AS $$
#variable_conflict use_column
declare
    block record;
    newer bigint;
begin
    before_id := wanted.before_id;
    for block in
        select b.first_id, b.before_id, case
            when wanted.type is null then b.messages
            else coalesce((b.by_type ->> wanted.type)::integer, 0) end as messages
        from parley.message_blocks b
        where b.chat_id = chat and b.first_id >= wanted.first_id and b.first_id < wanted.before_id
          and b.before_id <= wanted.before_id
        order by b.first_id desc
    loop
        if newer is null then
            newer := case when wanted is distinct from parley.parse_filter(null, null, null)
                then parley.count_in_range(chat, (wanted.type, block.before_id, wanted.before_id)::parley.filter)
                else (select c.message_count - c.counted_messages from parley.chats c where c.id = chat) end;
            exit when skip < newer;
            skip := skip - newer;
            before_id := block.before_id;
        end if;
        exit when skip < block.messages;
        skip := skip - block.messages;
        before_id := block.first_id;
    end loop;
end $$;

ALTER FUNCTION parley.skip_blocks(chat uuid, wanted parley.filter, INOUT skip bigint, OUT before_id uuid) OWNER TO postgres;

CREATE FUNCTION parley.sleep_lock() RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ select 4242108501 $$;

ALTER FUNCTION parley.sleep_lock() OWNER TO postgres;

CREATE FUNCTION parley.socket_problem(socket_id text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $_$
    select case
        when coalesce(socket_id, '') = '' then 'is required'
        when socket_id !~ '^[0-9]{1,20}[.][0-9]{1,20}$' then 'must be the id of a connection to Pusher, like 1234.5678'
    end
$_$;

ALTER FUNCTION parley.socket_problem(socket_id text) OWNER TO postgres;

CREATE FUNCTION parley.sort_problems(sort text, search text, before text, after text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    select jsonb_build_object('sort', case
        when rules.problem('sort', sort) is not null then rules.problem('sort', sort)
        when sort = 'relevance' and rules.is_blank(search) is not false then 'needs a search'
        when sort = 'relevance' and coalesce(before, after) is not null then 'can''t go with before or after' end)
$$;

ALTER FUNCTION parley.sort_problems(sort text, search text, before text, after text) OWNER TO postgres;

CREATE FUNCTION parley.spelling_pattern(word text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    accents constant text := E'[\u00ad\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0640\u064b-\u065f\u0670\u200b-\u200d\u2060\ufe00-\ufe0f]*';
    joints constant text := E'[\u0003_''ʼ‘’‐-]?' || accents;
    pattern text := regexp_replace(word, '(.)(?=.)', '\1' || joints, 'g') || accents;
    spelling text[];
begin
    if word in ('cpp', 'csharp', 'fsharp') then
        return pattern || '|' || case word when 'cpp' then 'c\+\+' else left(word, 1) || '#' end;
    end if;
    foreach spelling slice 1 in array array[['ss', 'ß'], ['ae', 'æ'], ['oe', 'œ'], ['th', 'þ']] loop
        pattern := replace(pattern, left(spelling[1], 1) || joints || right(spelling[1], 1),
            format('(?:%s|%s%s%s)', spelling[2], left(spelling[1], 1), joints, right(spelling[1], 1)));
    end loop;
    foreach spelling slice 1 in array array[['o', 'oø'], ['l', 'lł'], ['d', 'dđð'], ['h', 'hħ'], ['t', 'tŧ'], ['i', 'iı'], ['σ', 'σς']] loop
        pattern := replace(pattern, spelling[1], '[' || spelling[2] || ']');
    end loop;
    return pattern;
end $$;

ALTER FUNCTION parley.spelling_pattern(word text) OWNER TO postgres;

CREATE FUNCTION parley.uncount_messages(chat uuid, ids uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    newest constant uuid := (select m.id from parley.messages m where m.chat_id = chat order by m.id desc limit 1);
begin
    update parley.chats c
    set seq = c.seq + cardinality(ids), message_count = c.message_count - cardinality(ids), last_message_id = newest
    where c.id = chat;
    delete from parley.message_blocks b
    where b.chat_id = chat and (b.before_id > newest or newest is null);
    perform parley.recount_blocks(chat, ids);
end $$;

ALTER FUNCTION parley.uncount_messages(chat uuid, ids uuid[]) OWNER TO postgres;

CREATE FUNCTION parley.user_channel(user_id text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ select 'private-user-' || parley.pusher_user(user_id) $$;

ALTER FUNCTION parley.user_channel(user_id text) OWNER TO postgres;

CREATE FUNCTION parley.user_name() RETURNS text
    LANGUAGE sql STABLE
    AS $$ select u.name from next_auth.users u where u.id = session.user_id() $$;

ALTER FUNCTION parley.user_name() OWNER TO postgres;

CREATE FUNCTION parley.users_changed() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    new.updated_at := parley.now_after(old.updated_at);
    if lower(new.email) is distinct from lower(old.email) and new."emailVerified" is not distinct from old."emailVerified" then
        new."emailVerified" := null;
    end if;
    return new;
end $$;

ALTER FUNCTION parley.users_changed() OWNER TO postgres;

CREATE FUNCTION parley.users_deleted() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    insert into parley.deleted_users (user_id) values (old.id)
    on conflict (user_id) do update set deleted_at = excluded.deleted_at;
    return null;
end $$;

ALTER FUNCTION parley.users_deleted() OWNER TO postgres;

CREATE FUNCTION parley.users_image_left() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if parley.image_name(old.image) is not null and (tg_op = 'DELETE' or new.image is distinct from old.image) then
        insert into parley.image_cleanup (name) values (parley.image_name(old.image));
    end if;
    return null;
end $$;

ALTER FUNCTION parley.users_image_left() OWNER TO postgres;

CREATE FUNCTION parley.users_leave() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform from parley.chats c
    where c.id in (select m.chat_id from parley.members m where m.user_id = old.id)
    order by c.id for no key update;
    return old;
end $$;

ALTER FUNCTION parley.users_leave() OWNER TO postgres;

CREATE FUNCTION parley.uuid7(instant timestamp with time zone, number bigint) RETURNS uuid
    LANGUAGE sql PARALLEL SAFE
    AS $$
    select (lpad(to_hex((extract(epoch from instant) * 1000)::bigint), 12, '0')
        || to_hex(x'7000'::int | (number >> 14 & 4095)::int)
        || to_hex(x'8000'::int | (number & 16383)::int)
        || right(gen_random_uuid()::text, 12))::uuid
$$;

ALTER FUNCTION parley.uuid7(instant timestamp with time zone, number bigint) OWNER TO postgres;

CREATE FUNCTION parley.uuid7_from(instant timestamp with time zone) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
    select (lpad(to_hex(greatest(ceil(extract(epoch from instant) * 1000), 0)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

ALTER FUNCTION parley.uuid7_from(instant timestamp with time zone) OWNER TO postgres;

CREATE FUNCTION parley.validate(body jsonb, required text[], optional text[] DEFAULT '{}'::text[]) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if jsonb_typeof(body) is distinct from 'object' then
        perform parley.fail('PT400', 'The body must be a JSON object.');
    end if;
    perform parley.reject(parley.field_problems(body, required, optional));
    perform parley.require_one_of(body, required || optional);
end $$;

ALTER FUNCTION parley.validate(body jsonb, required text[], optional text[]) OWNER TO postgres;

CREATE FUNCTION parley.word_query(words text, is_phrase boolean, is_open boolean) RETURNS tsquery
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    last_word constant text := substring(words from '[^ ]+$');
    before_last constant text := btrim(left(words, -char_length(last_word)));
    stem text;
    term tsquery;
begin
    if char_length(last_word) = 1 and rules.words(last_word || last_word) ~ ' ' then
        -- In a script without spaces, the last character is the first of a pair, unless it was the second.
        if before_last ~ ('(?<![^ ])[^ ]' || last_word || '$') then
            return phraseto_tsquery('pg_catalog.simple', before_last);
        end if;
        term := to_tsquery('pg_catalog.simple', last_word || ':*');
    elsif is_open and char_length(last_word) >= 3 and last_word !~ '^[0-9]+$' then
        term := to_tsquery('pg_catalog.simple', last_word || ':*');
    else
        term := phraseto_tsquery('pg_catalog.simple', last_word);
    end if;
    if before_last <> '' then
        return phraseto_tsquery('pg_catalog.simple', before_last) <-> term;
    elsif not is_phrase and last_word ~ '^[a-z]+$' then
        stem := (ts_lexize('rules.english', last_word))[1];
        term := term || format('''=%s''', stem)::tsquery;
        if stem <> last_word then
            term := term || phraseto_tsquery('pg_catalog.simple', stem);
        end if;
    end if;
    return term;
end $_$;

ALTER FUNCTION parley.word_query(words text, is_phrase boolean, is_open boolean) OWNER TO postgres;

CREATE FUNCTION rules.folded(value text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    marks constant text := '[\u00ad\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0640\u064b-\u065f\u0670'
        '\u200b-\u200d\u2060\u20d0-\u20f0\ufe00-\ufe0f\ufeff]';
begin
    if octet_length(value) = char_length(value) then
        return value;
    end if;
    value := normalize(regexp_replace(normalize(translate(value, '™℠', ''), nfkd), marks, '', 'g'), nfc);
    value := translate(value, 'øØłŁđĐðÐħĦŧŦıςʼ‘’‐٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹०१२३४५६७८९',
        'oOlLdDdDhHtTiσ''''''-012345678901234567890123456789');
    value := replace(replace(replace(replace(value, 'ß', 'ss'), 'ẞ', 'SS'), 'þ', 'th'), 'Þ', 'TH');
    return replace(replace(replace(replace(value, 'æ', 'ae'), 'Æ', 'AE'), 'œ', 'oe'), 'Œ', 'OE');
end $$;

ALTER FUNCTION rules.folded(value text) OWNER TO postgres;

CREATE FUNCTION rules.joined(folded text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    return regexp_replace(lower(folded), '(?<=[[:alpha:]])[_''-](?=[[:alnum:]])', '', 'g');
end $$;

ALTER FUNCTION rules.joined(folded text) OWNER TO postgres;

CREATE FUNCTION rules.search_vector(content text) RETURNS tsvector
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    folded constant text := rules.folded(content);
    words text := rules.words(folded);
    vector tsvector;
    stems text;
begin
    if folded ~ '[[:alpha:]][_''-][[:alnum:]]|[a-z0-9][A-Z]|[A-Z][A-Z][a-z]' then
        words := words || ' ꙮ ' || rules.words(rules.joined(folded));
    end if;
    vector := to_tsvector('pg_catalog.simple', words);
    stems := ts_delete(strip(to_tsvector('rules.stems', words)), tsvector_to_array(vector))::text;
    return vector || replace(' ' || stems, ' ''', ' ''=')::tsvector;
end $$;

ALTER FUNCTION rules.search_vector(content text) OWNER TO postgres;

CREATE FUNCTION rules.words(folded text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    separators constant text := '\u0001-/:-@[-`{-\u00bf\u00d7\u00f7\u0589\u05be\u05c0\u05c3\u05f3\u05f4\u060c\u061b\u061c\u061f'
        '\u066a-\u066d\u06d4\u0964\u0965\u0f0b-\u0f0d\u104a-\u104f\u10fb\u1361-\u1368\u17d4-\u17da\u2000-\u20cf\u2117\u2190-\u2bff'
        '\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u3030\u303d-\u303f\u30fb\ue000-\uf8ff\ufe10-\ufe6f\ufff0-\uffff'
        '\U0001f000-\U0001faff\U000f0000-\U0010ffff';
    unspaced constant text := '\u0e01-\u0e3a\u0e40-\u0e4e\u0e80-\u0eff\u1000-\u1049\u1050-\u109f\u1780-\u17d3\u17db-\u17ff'
        '\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u303c\u3041-\u30fa\u30fc-\u31ff\u3400-\u9fff\ua960-\ua97f\uac00-\ud7ff'
        '\uf900-\ufaff\U00020000-\U0003ffff';
begin
    folded := regexp_replace(folded, '\m[vV](?=\d+[.]\d)', '', 'g');
    folded := regexp_replace(folded, '\m([cC])\+\+', '\1pp', 'g');
    folded := regexp_replace(folded, '\m([cCfF])#', '\1sharp', 'g');
    folded := regexp_replace(folded, '(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', ' ', 'g');
    folded := regexp_replace(folded, '[' || separators || ']+', ' ', 'g');
    if octet_length(folded) <> char_length(folded) then
        folded := regexp_replace(folded,
            '(?<=[^ ' || unspaced || '])(?=[' || unspaced || '])|(?<=[' || unspaced || '])(?=[^ ' || unspaced || '])', ' ', 'g');
        folded := regexp_replace(folded, '(?<=[' || unspaced || '])([' || unspaced || '])', '\1 \1', 'g');
    end if;
    return regexp_replace(lower(btrim(folded)), '([^ ]{64})[^ ]+', '\1', 'g');
end $$;

ALTER FUNCTION rules.words(folded text) OWNER TO postgres;

CREATE FUNCTION session.begin(identity jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    subject constant text := coalesce(identity ->> 'sub', session.signed_in(identity -> 'session_digests'));
begin
    if rules.problem('userId', subject) is not null or subject is null then
        perform parley.fail('PT401', 'Authentication required.');
    end if;
    perform set_config('parley.user_id', subject, true);
    if not exists (select from parley.settings s where s.user_id = subject) then
        perform session.register(subject, identity ->> 'name', identity ->> 'email', identity ->> 'picture');
    end if;
end $$;

ALTER FUNCTION session.begin(identity jsonb) OWNER TO postgres;

CREATE FUNCTION session.chat_id() RETURNS uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    return (
        select m.chat_id from parley.members m
        where m.chat_id = nullif(current_setting('parley.chat_id', true), '')::uuid
          and m.user_id = session.user_id()
    );
end $$;

ALTER FUNCTION session.chat_id() OWNER TO postgres;

CREATE FUNCTION session.chat_ids() RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select m.chat_id from parley.members m where m.user_id = session.user_id()
$$;

ALTER FUNCTION session.chat_ids() OWNER TO postgres;

CREATE FUNCTION session.enter_chats(chats uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform set_config('parley.chat_ids', coalesce(chats::text, ''), true);
end $$;

ALTER FUNCTION session.enter_chats(chats uuid[]) OWNER TO postgres;

CREATE FUNCTION session.entered_chats() RETURNS uuid[]
    LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    return array(
        select m.chat_id from parley.members m
        where m.chat_id = any (nullif(current_setting('parley.chat_ids', true), '')::uuid[])
          and m.user_id = session.user_id());
end $$;

ALTER FUNCTION session.entered_chats() OWNER TO postgres;

CREATE FUNCTION session.owns_chat(chat uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (select from parley.chats c where c.id = chat and c.owner_id = session.user_id())
$$;

ALTER FUNCTION session.owns_chat(chat uuid) OWNER TO postgres;

CREATE FUNCTION session.page_of_chats(asked parley.page, OUT chats uuid[], OUT activities uuid[], OUT total bigint) RETURNS record
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    total := (select count(*) from parley.members m where m.user_id = session.user_id());
    select array_agg(p.id order by p.activity desc), array_agg(p.activity order by p.activity desc) into chats, activities
    from (
        select a.id, a.activity
        from (
            select c.id, parley.activity(c) as activity
            from parley.members m join parley.chats c on c.id = m.chat_id where m.user_id = session.user_id()) a
        where a.activity > asked.after_id and a.activity < asked.before_id
        order by case when asked.is_ascending then a.activity end, a.activity desc
        limit asked.size + 1 offset asked.skip
    ) p;
end $$;

ALTER FUNCTION session.page_of_chats(asked parley.page, OUT chats uuid[], OUT activities uuid[], OUT total bigint) OWNER TO postgres;

CREATE FUNCTION session.register(subject text, name text, email text, image text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    known_name constant text := case when not rules.is_blank(name) then left(name, upper(rules.length_limits('name')) - 1) end;
    known_image constant text := case when parley.image_name(image) is null then image end;
    is_new boolean;
begin
    insert into next_auth.users (id, name, email, image)
    values (subject, known_name, case when not rules.is_blank(email) and char_length(email) <= 254 then email end,
        known_image)
    on conflict do nothing;
    is_new := found;
    if not is_new then
        insert into next_auth.users (id, name, image)
        values (subject, known_name, known_image)
        on conflict do nothing;
        is_new := found;
    end if;
    if is_new and session.was_deleted(subject) then
        perform parley.fail('PT401', 'Authentication required.');
    end if;
    insert into parley.settings (user_id) values (subject)
    on conflict do nothing;
end $$;

ALTER FUNCTION session.register(subject text, name text, email text, image text) OWNER TO postgres;

CREATE FUNCTION session.signed_in(digests jsonb) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET enable_seqscan TO 'off'
    AS $$
declare
    digest text;
    subject text;
begin
    for digest in select jsonb_array_elements_text(digests) loop
        select s."userId" into subject from next_auth.sessions s
        where sha256(replace(s."sessionToken", '\', '\\')::bytea) = decode(digest, 'hex') and s.expires > now();
        exit when found;
    end loop;
    return subject;
end $$;

ALTER FUNCTION session.signed_in(digests jsonb) OWNER TO postgres;

CREATE FUNCTION session.user_id() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ select nullif(current_setting('parley.user_id', true), '') $$;

ALTER FUNCTION session.user_id() OWNER TO postgres;

CREATE FUNCTION session.was_deleted(subject text) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    select exists (select from parley.deleted_users d where d.user_id = subject)
$$;

ALTER FUNCTION session.was_deleted(subject text) OWNER TO postgres;

CREATE TEXT SEARCH DICTIONARY rules.english (
    TEMPLATE = pg_catalog.snowball,
    language = 'english' );

ALTER TEXT SEARCH DICTIONARY rules.english OWNER TO postgres;

COMMENT ON TEXT SEARCH DICTIONARY rules.english IS 'Stems of English words, those that PostgreSQL''s own leaves out too.';

CREATE TEXT SEARCH CONFIGURATION rules.stems (
    PARSER = pg_catalog."default" );

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR asciiword WITH rules.english;

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR word WITH simple;

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR numword WITH simple;

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR email WITH simple;

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR url WITH simple;

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR host WITH simple;

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR sfloat WITH simple;

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR version WITH simple;

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR hword_numpart WITH simple;

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR hword_part WITH simple;

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR hword_asciipart WITH simple;

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR numhword WITH simple;

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR asciihword WITH simple;

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR hword WITH simple;

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR url_path WITH simple;

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR file WITH simple;

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR "float" WITH simple;

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR "int" WITH simple;

ALTER TEXT SEARCH CONFIGURATION rules.stems
    ADD MAPPING FOR uint WITH simple;

ALTER TEXT SEARCH CONFIGURATION rules.stems OWNER TO postgres;

COMMENT ON TEXT SEARCH CONFIGURATION rules.stems IS 'Stems of words in Latin script, other words as they are.';

CREATE TABLE parley.rollup_periods (
    grain text NOT NULL,
    starts timestamp with time zone NOT NULL,
    messages bigint NOT NULL,
    text_messages bigint NOT NULL,
    code_messages bigint NOT NULL,
    image_messages bigint NOT NULL,
    active_users bigint NOT NULL,
    active_chats bigint NOT NULL,
    CONSTRAINT rollup_periods_grain CHECK ((grain = ANY (ARRAY['hour'::text, 'day'::text, 'week'::text])))
);

ALTER TABLE parley.rollup_periods OWNER TO postgres;

COMMENT ON TABLE parley.rollup_periods IS 'Messages by hour, day and week (from Monday), in UTC, with those deleted since.';

CREATE VIEW analytics.activity_by_day WITH (security_barrier='true') AS
 SELECT ((starts AT TIME ZONE 'UTC'::text))::date AS day,
    messages,
    text_messages,
    code_messages,
    image_messages,
    active_users,
    active_chats,
    ( SELECT s.as_of
           FROM parley.rollup_state s) AS as_of
   FROM parley.rollup_periods p
  WHERE (grain = 'day'::text);

ALTER VIEW analytics.activity_by_day OWNER TO postgres;

COMMENT ON VIEW analytics.activity_by_day IS 'Messages by the day, in UTC, on which they were sent. Days without any have no row.';

COMMENT ON COLUMN analytics.activity_by_day.day IS 'The day.';

COMMENT ON COLUMN analytics.activity_by_day.messages IS 'Messages sent, with those that were deleted since.';

COMMENT ON COLUMN analytics.activity_by_day.text_messages IS '… those of type text; of a message whose type was changed since, the type that it was sent with.';

COMMENT ON COLUMN analytics.activity_by_day.code_messages IS '… those of type code.';

COMMENT ON COLUMN analytics.activity_by_day.image_messages IS '… those of type image.';

COMMENT ON COLUMN analytics.activity_by_day.active_users IS 'Users who sent any of them, each once.';

COMMENT ON COLUMN analytics.activity_by_day.active_chats IS 'Chats that got any of them, each once.';

COMMENT ON COLUMN analytics.activity_by_day.as_of IS 'What was sent before this is counted.';

CREATE VIEW analytics.activity_by_hour WITH (security_barrier='true') AS
 SELECT starts AS hour,
    messages,
    text_messages,
    code_messages,
    image_messages,
    active_users,
    active_chats,
    ( SELECT s.as_of
           FROM parley.rollup_state s) AS as_of
   FROM parley.rollup_periods p
  WHERE (grain = 'hour'::text);

ALTER VIEW analytics.activity_by_hour OWNER TO postgres;

COMMENT ON VIEW analytics.activity_by_hour IS 'Messages by the hour in which they were sent. Hours without any have no row.';

COMMENT ON COLUMN analytics.activity_by_hour.hour IS 'When the hour begins.';

COMMENT ON COLUMN analytics.activity_by_hour.messages IS 'Messages sent, with those that were deleted since.';

COMMENT ON COLUMN analytics.activity_by_hour.text_messages IS '… those of type text; of a message whose type was changed since, the type that it was sent with.';

COMMENT ON COLUMN analytics.activity_by_hour.code_messages IS '… those of type code.';

COMMENT ON COLUMN analytics.activity_by_hour.image_messages IS '… those of type image.';

COMMENT ON COLUMN analytics.activity_by_hour.active_users IS 'Users who sent any of them, each once.';

COMMENT ON COLUMN analytics.activity_by_hour.active_chats IS 'Chats that got any of them, each once.';

COMMENT ON COLUMN analytics.activity_by_hour.as_of IS 'What was sent before this is counted.';

CREATE TABLE parley.rollup_chats (
    key uuid NOT NULL,
    created_on date NOT NULL,
    last_day date NOT NULL,
    messages bigint NOT NULL
);

ALTER TABLE parley.rollup_chats OWNER TO postgres;

COMMENT ON TABLE parley.rollup_chats IS 'Every chat that has got a message.';

CREATE VIEW analytics.chats WITH (security_barrier='true') AS
 SELECT key AS chat_key,
    created_on,
    last_day,
    messages,
    ( SELECT s.as_of
           FROM parley.rollup_state s) AS as_of
   FROM parley.rollup_chats c;

ALTER VIEW analytics.chats OWNER TO postgres;

COMMENT ON VIEW analytics.chats IS 'Every chat that has got a message, with those that were deleted since.';

COMMENT ON COLUMN analytics.chats.chat_key IS 'A pseudonym: the same chat has the same one everywhere, and a DBA alone can tell which it is.';

COMMENT ON COLUMN analytics.chats.created_on IS 'The day, in UTC, on which it was made.';

COMMENT ON COLUMN analytics.chats.last_day IS 'The day, in UTC, of its last message.';

COMMENT ON COLUMN analytics.chats.messages IS 'How many it got, with those that were deleted since.';

COMMENT ON COLUMN analytics.chats.as_of IS 'What was sent before this is counted.';

CREATE TABLE parley.rollup_chat_sizes (
    days_from integer NOT NULL,
    messages_from integer NOT NULL,
    chats bigint NOT NULL,
    silent_chats bigint NOT NULL,
    messages bigint NOT NULL,
    members bigint NOT NULL
);

ALTER TABLE parley.rollup_chat_sizes OWNER TO postgres;

COMMENT ON TABLE parley.rollup_chat_sizes IS 'Chats by size and age, made anew each hour.';

CREATE VIEW analytics.chats_by_size_and_age WITH (security_barrier='true') AS
 SELECT days_from,
    messages_from,
    chats,
    silent_chats,
    messages,
    members,
    ( SELECT s.chats_and_settings_as_of
           FROM parley.rollup_state s) AS as_of
   FROM parley.rollup_chat_sizes c;

ALTER VIEW analytics.chats_by_size_and_age OWNER TO postgres;

COMMENT ON VIEW analytics.chats_by_size_and_age IS 'The chats that there are, by age and by number of messages.';

COMMENT ON COLUMN analytics.chats_by_size_and_age.days_from IS 'Made so many days ago, or more: 0, 1, 7, 30, 90, 365; the next of these is where the next row begins.';

COMMENT ON COLUMN analytics.chats_by_size_and_age.messages_from IS 'So many messages, or more: 0, 1, 10, 100, 1,000, 10,000, 100,000.';

COMMENT ON COLUMN analytics.chats_by_size_and_age.chats IS 'How many chats are so old and so large.';

COMMENT ON COLUMN analytics.chats_by_size_and_age.silent_chats IS '… of which so many had no message for 30 days.';

COMMENT ON COLUMN analytics.chats_by_size_and_age.messages IS 'How many messages there are in all of them.';

COMMENT ON COLUMN analytics.chats_by_size_and_age.members IS 'How many members they have; a user is counted in each of their chats.';

COMMENT ON COLUMN analytics.chats_by_size_and_age.as_of IS 'When they were counted; it is done each hour.';

CREATE TABLE parley.outbox (
    id bigint NOT NULL,
    chat_id uuid NOT NULL,
    seq bigint NOT NULL,
    event text NOT NULL,
    payload json NOT NULL,
    recipients text[],
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    set_aside_at timestamp with time zone,
    error text
);
ALTER TABLE ONLY parley.outbox ALTER COLUMN recipients SET STORAGE EXTERNAL;

ALTER TABLE parley.outbox OWNER TO postgres;

COMMENT ON TABLE parley.outbox IS 'Events: what changed in chats, in the words of the real-time API. A log, kept for some days after it was published.';

COMMENT ON COLUMN parley.outbox.chat_id IS 'The chat; no foreign key, since its deletion is an event too.';

COMMENT ON COLUMN parley.outbox.seq IS 'The number that the change took in its chat: the order of the chat''s events.';

COMMENT ON COLUMN parley.outbox.event IS 'message:sent, message:updated, message:deleted, chat:updated, chat:deleted; or member:removed, which is not published, but ends the connections of who was removed.';

COMMENT ON COLUMN parley.outbox.payload IS 'What is published, of up to 10,000 bytes: a larger one is recorded without content, and with "truncated": true.';

COMMENT ON COLUMN parley.outbox.recipients IS 'The users who hear it on their own channels, or who were removed; null where it concerns the chat''s channel only.';

COMMENT ON COLUMN parley.outbox.recorded_at IS 'The clock when it was recorded, within the transaction of the change.';

COMMENT ON COLUMN parley.outbox.set_aside_at IS 'When the listener gave it up; null for all others.';

COMMENT ON COLUMN parley.outbox.error IS 'Why it was set aside.';

CREATE TABLE parley.outbox_queue (
    id bigint NOT NULL,
    chat_id uuid NOT NULL
);

ALTER TABLE parley.outbox_queue OWNER TO postgres;

COMMENT ON TABLE parley.outbox_queue IS 'Events that are not published yet.';

COMMENT ON COLUMN parley.outbox_queue.id IS 'Of the event in parley.outbox.';

COMMENT ON COLUMN parley.outbox_queue.chat_id IS 'The event''s chat, so that a busy one can be passed over, and looked at by itself.';

CREATE VIEW analytics.event_health WITH (security_barrier='true') AS
 SELECT ( SELECT count(*) AS count
           FROM ( SELECT
                   FROM parley.outbox_queue
                 LIMIT 100000) q) AS waiting_events,
    (COALESCE(EXTRACT(epoch FROM (clock_timestamp() - ( SELECT o.recorded_at
           FROM parley.outbox o
          WHERE (o.id = ( SELECT min(q.id) AS min
                   FROM parley.outbox_queue q))))), (0)::numeric))::numeric(12,3) AS lag_seconds,
    events AS set_aside_events,
    last_at AS last_set_aside_at,
    now() AS as_of
   FROM ( SELECT count(*) AS events,
            max(o.set_aside_at) AS last_at
           FROM parley.outbox o
          WHERE (o.set_aside_at IS NOT NULL)) a;

ALTER VIEW analytics.event_health OWNER TO postgres;

COMMENT ON VIEW analytics.event_health IS 'Events on their way to Pusher: one row.';

COMMENT ON COLUMN analytics.event_health.waiting_events IS 'How many are not published yet, counted up to 100,000.';

COMMENT ON COLUMN analytics.event_health.lag_seconds IS 'How long the oldest of them has been waiting; 0 without any.';

COMMENT ON COLUMN analytics.event_health.set_aside_events IS 'How many Pusher refused and the listener gave up: those of set_aside_events.';

COMMENT ON COLUMN analytics.event_health.last_set_aside_at IS 'When that was last.';

COMMENT ON COLUMN analytics.event_health.as_of IS 'Now.';

CREATE TABLE parley.rollup_retention (
    first_week date NOT NULL,
    week date NOT NULL,
    users bigint NOT NULL
);

ALTER TABLE parley.rollup_retention OWNER TO postgres;

COMMENT ON TABLE parley.rollup_retention IS 'How many of those who sent their first message in one week sent any in another.';

CREATE VIEW analytics.growth_by_week WITH (security_barrier='true') AS
 SELECT ((p.starts AT TIME ZONE 'UTC'::text))::date AS week,
    COALESCE(r.users, (0)::bigint) AS new_users,
    (p.active_users - COALESCE(r.users, (0)::bigint)) AS returning_users,
    p.active_users,
    (sum(COALESCE(r.users, (0)::bigint)) OVER (ORDER BY p.starts))::bigint AS users_so_far,
    p.active_chats,
    p.messages,
    ( SELECT s.as_of
           FROM parley.rollup_state s) AS as_of
   FROM (parley.rollup_periods p
     LEFT JOIN parley.rollup_retention r ON (((r.first_week = ((p.starts AT TIME ZONE 'UTC'::text))::date) AND (r.week = r.first_week))))
  WHERE (p.grain = 'week'::text);

ALTER VIEW analytics.growth_by_week OWNER TO postgres;

COMMENT ON VIEW analytics.growth_by_week IS 'Users by the week. Weeks without a message have no row.';

COMMENT ON COLUMN analytics.growth_by_week.week IS 'The week''s Monday, in UTC.';

COMMENT ON COLUMN analytics.growth_by_week.new_users IS 'Users who sent their first message.';

COMMENT ON COLUMN analytics.growth_by_week.returning_users IS 'Users who sent any, and had before that week.';

COMMENT ON COLUMN analytics.growth_by_week.active_users IS 'Both.';

COMMENT ON COLUMN analytics.growth_by_week.users_so_far IS 'Everybody who has sent a message by then, with those who were deleted since.';

COMMENT ON COLUMN analytics.growth_by_week.active_chats IS 'Chats that got a message.';

COMMENT ON COLUMN analytics.growth_by_week.messages IS 'Messages sent, with those that were deleted since.';

COMMENT ON COLUMN analytics.growth_by_week.as_of IS 'What was sent before this is counted; the last week may not be over.';

CREATE TABLE parley.rollup_responses (
    day date NOT NULL,
    step smallint NOT NULL,
    responses bigint NOT NULL
);

ALTER TABLE parley.rollup_responses OWNER TO postgres;

COMMENT ON TABLE parley.rollup_responses IS 'Responses by day and time. A response is a message after somebody else''s in the same chat, within 7 days.';

COMMENT ON COLUMN parley.rollup_responses.step IS 'Eight steps double the time: it was up to 2 ^ (step / 8) seconds.';

CREATE VIEW analytics.response_times WITH (security_barrier='true') AS
 SELECT day,
    (power((2.0)::double precision, ((step)::double precision / (8.0)::double precision)))::numeric(10,1) AS up_to_seconds,
    responses,
    ( SELECT s.as_of
           FROM parley.rollup_state s) AS as_of
   FROM parley.rollup_responses r;

ALTER VIEW analytics.response_times OWNER TO postgres;

COMMENT ON VIEW analytics.response_times IS 'How long responses took: a histogram for each day. A response is a message after somebody else''s in the same chat, within 7 days; it is measured from the message before it that was still there when it was counted.';

COMMENT ON COLUMN analytics.response_times.day IS 'The day of the response, in UTC.';

COMMENT ON COLUMN analytics.response_times.up_to_seconds IS 'They took up to so long, and longer than 0.917 of it; the least is 1.';

COMMENT ON COLUMN analytics.response_times.responses IS 'How many did.';

COMMENT ON COLUMN analytics.response_times.as_of IS 'What was sent before this is counted.';

CREATE VIEW analytics.response_times_by_day WITH (security_barrier='true') AS
 SELECT day,
    (max(up_to))::bigint AS responses,
    min(up_to_seconds) FILTER (WHERE (up_to >= (0.5 * of_day))) AS median_seconds,
    min(up_to_seconds) FILTER (WHERE (up_to >= (0.9 * of_day))) AS p90_seconds,
    as_of
   FROM ( SELECT r.day,
            r.up_to_seconds,
            r.as_of,
            sum(r.responses) OVER (PARTITION BY r.day ORDER BY r.up_to_seconds) AS up_to,
            sum(r.responses) OVER (PARTITION BY r.day) AS of_day
           FROM analytics.response_times r) t
  GROUP BY day, as_of;

ALTER VIEW analytics.response_times_by_day OWNER TO postgres;

COMMENT ON VIEW analytics.response_times_by_day IS 'Times of responses by day. A response is as in response_times.';

COMMENT ON COLUMN analytics.response_times_by_day.day IS 'The day of the responses, in UTC.';

COMMENT ON COLUMN analytics.response_times_by_day.responses IS 'How many there were.';

COMMENT ON COLUMN analytics.response_times_by_day.median_seconds IS 'Half of them took no longer; up to 9 % too much.';

COMMENT ON COLUMN analytics.response_times_by_day.p90_seconds IS 'Nine in ten took no longer; up to 9 % too much.';

COMMENT ON COLUMN analytics.response_times_by_day.as_of IS 'What was sent before this is counted.';

CREATE VIEW analytics.retention_by_cohort WITH (security_barrier='true') AS
 SELECT c.first_week AS cohort,
    (w.week)::date AS week,
    (((w.week)::date - c.first_week) / 7) AS weeks_later,
    c.users AS cohort_users,
    COALESCE(r.users, (0)::bigint) AS active_users,
    round(((COALESCE(r.users, (0)::bigint))::numeric / (c.users)::numeric), 4) AS retained,
    ( SELECT s.as_of
           FROM parley.rollup_state s) AS as_of
   FROM ((parley.rollup_retention c
     CROSS JOIN LATERAL generate_series((c.first_week)::timestamp without time zone, (( SELECT s.as_of
           FROM parley.rollup_state s) AT TIME ZONE 'UTC'::text), '7 days'::interval) w(week))
     LEFT JOIN parley.rollup_retention r ON (((r.first_week = c.first_week) AND (r.week = (w.week)::date))))
  WHERE (c.week = c.first_week);

ALTER VIEW analytics.retention_by_cohort OWNER TO postgres;

COMMENT ON VIEW analytics.retention_by_cohort IS 'How many of each cohort sent a message in each week since.';

COMMENT ON COLUMN analytics.retention_by_cohort.cohort IS 'The Monday, in UTC, of the week in which they sent their first message.';

COMMENT ON COLUMN analytics.retention_by_cohort.week IS 'The Monday of the week that is looked at.';

COMMENT ON COLUMN analytics.retention_by_cohort.weeks_later IS 'How many weeks later that is; 0 is the first week itself.';

COMMENT ON COLUMN analytics.retention_by_cohort.cohort_users IS 'How many users the cohort has, with those who were deleted since.';

COMMENT ON COLUMN analytics.retention_by_cohort.active_users IS 'How many of them sent a message in that week.';

COMMENT ON COLUMN analytics.retention_by_cohort.retained IS 'Their share, 0 to 1.';

COMMENT ON COLUMN analytics.retention_by_cohort.as_of IS 'What was sent before this is counted; the last week may not be over.';

CREATE TABLE parley.message_words (
    chat_id uuid NOT NULL,
    id uuid NOT NULL,
    type text NOT NULL,
    tsv tsvector NOT NULL
)
PARTITION BY HASH (chat_id);

ALTER TABLE parley.message_words OWNER TO postgres;

COMMENT ON TABLE parley.message_words IS 'What of a message is searched, beside it; in partitions by chat.';

COMMENT ON COLUMN parley.message_words.id IS 'The message''s.';

COMMENT ON COLUMN parley.message_words.type IS 'The message''s, since searches filter by it.';

COMMENT ON COLUMN parley.message_words.tsv IS 'rules.search_vector() of the message''s content.';

CREATE VIEW analytics.search_health WITH (security_barrier='true') AS
 SELECT (sum(t.n_live_tup))::bigint AS messages,
    (sum(t.n_dead_tup))::bigint AS dead_rows,
    (sum(t.n_ins_since_vacuum))::bigint AS unmerged_messages,
    min(COALESCE(t.last_autovacuum, t.last_vacuum)) AS vacuumed_at,
    (sum(pg_table_size((t.relid)::regclass)))::bigint AS words_bytes,
    (sum(pg_relation_size((i.indexrelid)::regclass)))::bigint AS index_bytes,
    (sum(i.idx_scan))::bigint AS index_scans,
    now() AS as_of
   FROM (((pg_partition_tree('parley.message_words'::regclass) p(relid, parentrelid, isleaf, level)
     JOIN pg_stat_all_tables t ON ((t.relid = (p.relid)::oid)))
     JOIN pg_index x ON (((x.indrelid = (p.relid)::oid) AND (NOT x.indisunique))))
     JOIN pg_stat_all_indexes i ON ((i.indexrelid = x.indexrelid)))
  WHERE p.isleaf;

ALTER VIEW analytics.search_health OWNER TO postgres;

COMMENT ON VIEW analytics.search_health IS 'The words that search looks in, and their index, by PostgreSQL''s statistics: one row.';

COMMENT ON COLUMN analytics.search_health.messages IS 'How many messages can be found, about.';

COMMENT ON COLUMN analytics.search_health.dead_rows IS 'Rows that were changed or deleted and are still in the way; autovacuum removes them.';

COMMENT ON COLUMN analytics.search_health.unmerged_messages IS 'How many came since the last vacuum, about: those may be in the list that each search reads through.';

COMMENT ON COLUMN analytics.search_health.vacuumed_at IS 'Since then at the latest, every partition was vacuumed; null when one never was.';

COMMENT ON COLUMN analytics.search_health.words_bytes IS 'The size of the words.';

COMMENT ON COLUMN analytics.search_health.index_bytes IS 'The size of their index.';

COMMENT ON COLUMN analytics.search_health.index_scans IS 'How often the index was asked, since the statistics were reset.';

COMMENT ON COLUMN analytics.search_health.as_of IS 'Now.';

CREATE VIEW analytics.set_aside_events WITH (security_barrier='true') AS
 SELECT id,
    event,
    recorded_at,
    set_aside_at,
    octet_length((payload)::text) AS bytes,
    "substring"(error, '^HTTP [0-9]{3}'::text) AS error
   FROM parley.outbox o
  WHERE (set_aside_at IS NOT NULL);

ALTER VIEW analytics.set_aside_events OWNER TO postgres;

COMMENT ON VIEW analytics.set_aside_events IS 'Events that Pusher refused and the listener gave up.';

COMMENT ON COLUMN analytics.set_aside_events.id IS 'Of the event in parley.outbox: select parley.queue_again(id) has it published again.';

COMMENT ON COLUMN analytics.set_aside_events.event IS 'What happened: message:sent and so on.';

COMMENT ON COLUMN analytics.set_aside_events.recorded_at IS 'When it happened.';

COMMENT ON COLUMN analytics.set_aside_events.set_aside_at IS 'When it was given up.';

COMMENT ON COLUMN analytics.set_aside_events.bytes IS 'The size of its payload.';

COMMENT ON COLUMN analytics.set_aside_events.error IS 'The status that Pusher answered, or null; its words are in parley.outbox.error, for a DBA.';

CREATE TABLE parley.rollup_settings (
    setting text NOT NULL,
    value text,
    users bigint NOT NULL
);

ALTER TABLE parley.rollup_settings OWNER TO postgres;

COMMENT ON TABLE parley.rollup_settings IS 'How many users have which settings, made anew each hour. What few have, or is no plain name, is null.';

CREATE VIEW analytics.settings_in_use WITH (security_barrier='true') AS
 SELECT setting,
    value,
    users,
    round(((users)::numeric / sum(users) OVER (PARTITION BY setting)), 4) AS share,
    ( SELECT s.chats_and_settings_as_of
           FROM parley.rollup_state s) AS as_of
   FROM parley.rollup_settings r;

ALTER VIEW analytics.settings_in_use OWNER TO postgres;

COMMENT ON VIEW analytics.settings_in_use IS 'What users have set: model, theme, runtime, responseStyle, alwaysShowCode, and isPremium.';

COMMENT ON COLUMN analytics.settings_in_use.setting IS 'Which setting, by its name in the API.';

COMMENT ON COLUMN analytics.settings_in_use.value IS 'What it is set to; null for all values together that fewer than five users have, or that are no plain name of up to 64 characters.';

COMMENT ON COLUMN analytics.settings_in_use.users IS 'How many users have it so.';

COMMENT ON COLUMN analytics.settings_in_use.share IS 'Their share of all users, 0 to 1.';

COMMENT ON COLUMN analytics.settings_in_use.as_of IS 'When they were counted; it is done each hour.';

CREATE TABLE parley.rollup_users (
    key uuid NOT NULL,
    first_week date NOT NULL,
    last_day date NOT NULL,
    messages bigint NOT NULL
);

ALTER TABLE parley.rollup_users OWNER TO postgres;

COMMENT ON TABLE parley.rollup_users IS 'Everybody who has sent a message.';

CREATE VIEW analytics.users WITH (security_barrier='true') AS
 SELECT key AS user_key,
    first_week AS cohort,
    last_day,
    messages,
    ( SELECT s.as_of
           FROM parley.rollup_state s) AS as_of
   FROM parley.rollup_users u;

ALTER VIEW analytics.users OWNER TO postgres;

COMMENT ON VIEW analytics.users IS 'Everybody who has sent a message, with those who were deleted since.';

COMMENT ON COLUMN analytics.users.user_key IS 'A pseudonym: the same user has the same one everywhere, and a DBA alone can tell whose it is.';

COMMENT ON COLUMN analytics.users.cohort IS 'The Monday, in UTC, of the week in which they sent their first message.';

COMMENT ON COLUMN analytics.users.last_day IS 'The day, in UTC, on which they sent their last.';

COMMENT ON COLUMN analytics.users.messages IS 'How many they sent, with those that were deleted since.';

COMMENT ON COLUMN analytics.users.as_of IS 'What was sent before this is counted.';

CREATE TABLE next_auth.accounts (
    id integer NOT NULL,
    "userId" text NOT NULL,
    type text NOT NULL,
    provider text NOT NULL,
    "providerAccountId" text NOT NULL,
    refresh_token text,
    access_token text,
    expires_at bigint,
    id_token text,
    scope text,
    session_state text,
    token_type text
);

ALTER TABLE next_auth.accounts OWNER TO postgres;

COMMENT ON TABLE next_auth.accounts IS 'Sign-ins at providers, written by the web app.';

ALTER TABLE next_auth.accounts ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME next_auth.accounts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE next_auth.sessions (
    id integer NOT NULL,
    "userId" text NOT NULL,
    expires timestamp with time zone NOT NULL,
    "sessionToken" text NOT NULL
);

ALTER TABLE next_auth.sessions OWNER TO postgres;

COMMENT ON TABLE next_auth.sessions IS 'Database sessions, written by the web app.';

ALTER TABLE next_auth.sessions ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME next_auth.sessions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE next_auth.users (
    id text DEFAULT (gen_random_uuid())::text NOT NULL,
    name text,
    email text,
    "emailVerified" timestamp with time zone,
    image text,
    updated_at timestamp with time zone DEFAULT date_trunc('milliseconds'::text, now()) NOT NULL,
    CONSTRAINT users_id_valid CHECK (((char_length(id) >= 1) AND (char_length(id) <= 255)))
);

ALTER TABLE next_auth.users OWNER TO postgres;

COMMENT ON TABLE next_auth.users IS 'Everybody who has signed in. A user that only a token told of is added at the first request.';

COMMENT ON COLUMN next_auth.users.id IS 'The subject (sub) of the user''s session token.';

COMMENT ON COLUMN next_auth.users.image IS 'Where the user''s image is: a URL, of the web app''s or of Parley''s storage.';

COMMENT ON COLUMN next_auth.users.updated_at IS 'When name, email or image last changed; for who was there before this was recorded, when that began.';

CREATE TABLE next_auth.verification_token (
    identifier text NOT NULL,
    expires timestamp with time zone NOT NULL,
    token text NOT NULL
);

ALTER TABLE next_auth.verification_token OWNER TO postgres;

COMMENT ON TABLE next_auth.verification_token IS 'Sign-in links under way, written by the web app.';

CREATE TABLE parley.deleted_users (
    user_id text NOT NULL,
    deleted_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE parley.deleted_users OWNER TO postgres;

COMMENT ON TABLE parley.deleted_users IS 'Users who were deleted, whose session tokens may still be about: they don''t get in, and nobody else becomes them. An inserted row of next_auth.users lets one back in.';

COMMENT ON COLUMN parley.deleted_users.user_id IS 'The id that they had.';

COMMENT ON COLUMN parley.deleted_users.deleted_at IS 'When they were deleted, last.';

CREATE TABLE parley.image_cleanup (
    id bigint NOT NULL,
    name text NOT NULL,
    due timestamp with time zone DEFAULT now() NOT NULL,
    is_being_removed boolean DEFAULT false NOT NULL
);

ALTER TABLE parley.image_cleanup OWNER TO postgres;

COMMENT ON TABLE parley.image_cleanup IS 'Images to look at: one that nobody uses when its row is due goes from storage.';

COMMENT ON COLUMN parley.image_cleanup.name IS 'The name in storage: SHA-256 of the content, and .gif, .jpg or .png.';

COMMENT ON COLUMN parley.image_cleanup.due IS 'An image about to be stored has some minutes, in case that comes to nothing; one that was left is due at once; one whose removal failed is tried again.';

COMMENT ON COLUMN parley.image_cleanup.is_being_removed IS 'A removal may be under way: nobody may store that image until this row is gone. When it is due, the removal is tried again.';

ALTER TABLE parley.image_cleanup ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME parley.image_cleanup_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE parley.members (
    chat_id uuid NOT NULL,
    user_id text NOT NULL,
    joined_at timestamp with time zone DEFAULT date_trunc('milliseconds'::text, clock_timestamp()) NOT NULL
);

ALTER TABLE parley.members OWNER TO postgres;

COMMENT ON TABLE parley.members IS 'Who is in which chat, the owner included.';

CREATE TABLE parley.message_blocks (
    chat_id uuid NOT NULL,
    first_id uuid NOT NULL,
    before_id uuid NOT NULL,
    messages integer NOT NULL,
    by_type jsonb NOT NULL
);

ALTER TABLE parley.message_blocks OWNER TO postgres;

COMMENT ON TABLE parley.message_blocks IS 'How many messages there are, in blocks of a thousand neighbours when they were counted first: what lets a page be found without reading those before it. The newest messages of a chat are in no block yet.';

COMMENT ON COLUMN parley.message_blocks.first_id IS 'Of the block''s oldest message, when it was counted first.';

COMMENT ON COLUMN parley.message_blocks.before_id IS 'The block''s messages have lesser ids: first_id of the next block.';

COMMENT ON COLUMN parley.message_blocks.messages IS 'How many there are, kept up to date.';

COMMENT ON COLUMN parley.message_blocks.by_type IS 'The same for each type.';

ALTER TABLE parley.outbox ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME parley.outbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE parley.pseudonym_key (
    id boolean DEFAULT true NOT NULL,
    inner_key bytea NOT NULL,
    outer_key bytea NOT NULL,
    CONSTRAINT pseudonym_key_is_one CHECK (id)
);

ALTER TABLE parley.pseudonym_key OWNER TO postgres;

COMMENT ON TABLE parley.pseudonym_key IS 'What pseudonyms are made with: who has it can tell whose a pseudonym is. One row.';

CREATE TABLE parley.reloaded_parts (
    part text NOT NULL,
    digest text NOT NULL,
    loaded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE parley.reloaded_parts OWNER TO postgres;

COMMENT ON TABLE parley.reloaded_parts IS 'The part of sql/ and the SHA-256 of what was loaded, with the migrations it was loaded on.';

CREATE TABLE parley.rollup_seen (
    grain text NOT NULL,
    starts timestamp with time zone NOT NULL,
    kind text NOT NULL,
    key uuid NOT NULL
);

ALTER TABLE parley.rollup_seen OWNER TO postgres;

COMMENT ON TABLE parley.rollup_seen IS 'Who has sent a message and which chats have got one in the periods that are not over yet, so that each is counted once.';

COMMENT ON COLUMN parley.rollup_seen.kind IS 'user or chat.';

ALTER TABLE ONLY next_auth.accounts
    ADD CONSTRAINT accounts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY next_auth.accounts
    ADD CONSTRAINT accounts_provider_unique UNIQUE (provider, "providerAccountId");

ALTER TABLE ONLY next_auth.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY next_auth.sessions
    ADD CONSTRAINT sessions_token_unique UNIQUE ("sessionToken");

ALTER TABLE ONLY next_auth.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

ALTER TABLE ONLY next_auth.verification_token
    ADD CONSTRAINT verification_token_pkey PRIMARY KEY (identifier, token);

ALTER TABLE ONLY parley.chats
    ADD CONSTRAINT chats_pkey PRIMARY KEY (id);

ALTER TABLE ONLY parley.deleted_users
    ADD CONSTRAINT deleted_users_pkey PRIMARY KEY (user_id);

ALTER TABLE ONLY parley.image_cleanup
    ADD CONSTRAINT image_cleanup_pkey PRIMARY KEY (id);

ALTER TABLE ONLY parley.members
    ADD CONSTRAINT members_once_per_chat PRIMARY KEY (chat_id, user_id);

ALTER TABLE ONLY parley.message_blocks
    ADD CONSTRAINT message_blocks_pkey PRIMARY KEY (chat_id, first_id);

ALTER TABLE ONLY parley.message_words
    ADD CONSTRAINT message_words_pkey PRIMARY KEY (chat_id, id);

ALTER TABLE ONLY parley.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (chat_id, id);

ALTER TABLE ONLY parley.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);

ALTER TABLE ONLY parley.outbox_queue
    ADD CONSTRAINT outbox_queue_pkey PRIMARY KEY (id);

ALTER TABLE ONLY parley.pseudonym_key
    ADD CONSTRAINT pseudonym_key_pkey PRIMARY KEY (id);

ALTER TABLE ONLY parley.reloaded_parts
    ADD CONSTRAINT reloaded_parts_pkey PRIMARY KEY (part);

ALTER TABLE ONLY parley.rollup_chat_sizes
    ADD CONSTRAINT rollup_chat_sizes_pkey PRIMARY KEY (days_from, messages_from);

ALTER TABLE ONLY parley.rollup_chats
    ADD CONSTRAINT rollup_chats_pkey PRIMARY KEY (key);

ALTER TABLE ONLY parley.rollup_periods
    ADD CONSTRAINT rollup_periods_pkey PRIMARY KEY (grain, starts);

ALTER TABLE ONLY parley.rollup_responses
    ADD CONSTRAINT rollup_responses_pkey PRIMARY KEY (day, step);

ALTER TABLE ONLY parley.rollup_retention
    ADD CONSTRAINT rollup_retention_pkey PRIMARY KEY (first_week, week);

ALTER TABLE ONLY parley.rollup_seen
    ADD CONSTRAINT rollup_seen_pkey PRIMARY KEY (grain, starts, kind, key);

ALTER TABLE ONLY parley.rollup_settings
    ADD CONSTRAINT rollup_settings_once UNIQUE NULLS NOT DISTINCT (setting, value);

ALTER TABLE ONLY parley.rollup_state
    ADD CONSTRAINT rollup_state_pkey PRIMARY KEY (id);

ALTER TABLE ONLY parley.rollup_users
    ADD CONSTRAINT rollup_users_pkey PRIMARY KEY (key);

ALTER TABLE ONLY parley.settings
    ADD CONSTRAINT settings_pkey PRIMARY KEY (user_id);

CREATE INDEX accounts_user ON next_auth.accounts USING btree ("userId");

CREATE INDEX sessions_token_digest ON next_auth.sessions USING btree (sha256((replace("sessionToken", '\'::text, '\\'::text))::bytea));

COMMENT ON INDEX next_auth.sessions_token_digest IS 'SHA-256 of the token: what the API looks a session up by.';

CREATE INDEX sessions_user ON next_auth.sessions USING btree ("userId");

CREATE UNIQUE INDEX users_email_unique ON next_auth.users USING btree (lower(email));

COMMENT ON INDEX next_auth.users_email_unique IS 'An e-mail address belongs to one user, without regard to case.';

CREATE INDEX users_stored_image ON next_auth.users USING btree ("substring"("right"(image, 80), '/images/([0-9a-f]{64}[.](?:gif|jpg|png))$'::text)) WHERE ("substring"("right"(image, 80), '/images/([0-9a-f]{64}[.](?:gif|jpg|png))$'::text) IS NOT NULL);

COMMENT ON INDEX next_auth.users_stored_image IS 'Who uses an image in Parley''s storage.';

CREATE INDEX chats_being_removed ON parley.chats USING btree (id) WHERE is_being_removed;

COMMENT ON INDEX parley.chats_being_removed IS 'Chats whose messages are on their way out.';

CREATE INDEX chats_owner ON parley.chats USING btree (owner_id);

CREATE UNIQUE INDEX image_cleanup_being_removed ON parley.image_cleanup USING btree (name) WHERE is_being_removed;

CREATE INDEX image_cleanup_due ON parley.image_cleanup USING btree (due);

CREATE INDEX members_user ON parley.members USING btree (user_id, chat_id);

CREATE INDEX message_words_search ON ONLY parley.message_words USING gin (chat_id, tsv) WITH (gin_pending_list_limit='256');

CREATE INDEX messages_type ON parley.messages USING btree (chat_id, type, id);

COMMENT ON INDEX parley.messages_type IS 'The messages of a type, in their order.';

CREATE INDEX outbox_queue_chat ON parley.outbox_queue USING btree (chat_id, id);

CREATE INDEX outbox_set_aside ON parley.outbox USING btree (id) WHERE (set_aside_at IS NOT NULL);

CREATE TRIGGER users_changed BEFORE UPDATE OF name, email, image ON next_auth.users FOR EACH ROW WHEN ((((old.name IS DISTINCT FROM new.name) OR (old.email IS DISTINCT FROM new.email)) OR (old.image IS DISTINCT FROM new.image))) EXECUTE FUNCTION parley.users_changed();

CREATE TRIGGER users_deleted AFTER DELETE ON next_auth.users FOR EACH ROW EXECUTE FUNCTION parley.users_deleted();

CREATE TRIGGER users_image_left AFTER DELETE OR UPDATE OF image ON next_auth.users FOR EACH ROW EXECUTE FUNCTION parley.users_image_left();

CREATE TRIGGER users_leave BEFORE DELETE ON next_auth.users FOR EACH ROW EXECUTE FUNCTION parley.users_leave();

CREATE TRIGGER chats_add_owner AFTER INSERT ON parley.chats FOR EACH ROW WHEN ((new.owner_id IS NOT NULL)) EXECUTE FUNCTION parley.chats_add_owner();

CREATE TRIGGER chats_closed BEFORE UPDATE OF is_being_removed ON parley.chats FOR EACH ROW WHEN ((new.is_being_removed AND (NOT old.is_being_removed))) EXECUTE FUNCTION parley.chats_gone();

CREATE TRIGGER chats_gone BEFORE DELETE ON parley.chats FOR EACH ROW WHEN ((NOT old.is_being_removed)) EXECUTE FUNCTION parley.chats_gone();

CREATE TRIGGER chats_new BEFORE INSERT ON parley.chats FOR EACH ROW EXECUTE FUNCTION parley.chats_new();

CREATE TRIGGER chats_renamed BEFORE UPDATE OF title ON parley.chats FOR EACH ROW WHEN ((old.title IS DISTINCT FROM new.title)) EXECUTE FUNCTION parley.chats_renamed();

CREATE TRIGGER members_gone AFTER DELETE ON parley.members REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION parley.members_gone();

CREATE TRIGGER members_new BEFORE INSERT ON parley.members FOR EACH ROW EXECUTE FUNCTION parley.members_new();

CREATE TRIGGER members_stay BEFORE UPDATE ON parley.members FOR EACH ROW WHEN (((old.chat_id IS DISTINCT FROM new.chat_id) OR (old.user_id IS DISTINCT FROM new.user_id))) EXECUTE FUNCTION parley.members_stay();

CREATE TRIGGER messages_changed BEFORE UPDATE OF content, type ON parley.messages FOR EACH ROW WHEN (((old.content IS DISTINCT FROM new.content) OR (old.type IS DISTINCT FROM new.type))) EXECUTE FUNCTION parley.messages_changed();

CREATE TRIGGER messages_gone AFTER DELETE ON parley.messages REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION parley.messages_gone();

CREATE TRIGGER messages_new BEFORE INSERT ON parley.messages FOR EACH ROW EXECUTE FUNCTION parley.messages_new();

CREATE TRIGGER messages_retyped AFTER UPDATE ON parley.messages REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION parley.messages_retyped();

CREATE TRIGGER messages_stay BEFORE UPDATE ON parley.messages FOR EACH ROW WHEN (((old.chat_id IS DISTINCT FROM new.chat_id) OR (old.id IS DISTINCT FROM new.id))) EXECUTE FUNCTION parley.messages_stay();

CREATE TRIGGER messages_words AFTER INSERT OR UPDATE OF content, type ON parley.messages FOR EACH ROW EXECUTE FUNCTION parley.messages_words();

CREATE TRIGGER messages_words_gone AFTER DELETE ON parley.messages REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION parley.messages_words_gone();

CREATE TRIGGER settings_changed BEFORE UPDATE ON parley.settings FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION parley.settings_changed();

ALTER TABLE ONLY next_auth.accounts
    ADD CONSTRAINT "accounts_userId_fkey" FOREIGN KEY ("userId") REFERENCES next_auth.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY next_auth.sessions
    ADD CONSTRAINT "sessions_userId_fkey" FOREIGN KEY ("userId") REFERENCES next_auth.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY parley.chats
    ADD CONSTRAINT chats_owner_exists FOREIGN KEY (owner_id) REFERENCES next_auth.users(id) ON DELETE SET NULL;

ALTER TABLE ONLY parley.members
    ADD CONSTRAINT members_chat_exists FOREIGN KEY (chat_id) REFERENCES parley.chats(id) ON DELETE CASCADE;

ALTER TABLE ONLY parley.members
    ADD CONSTRAINT members_user_exists FOREIGN KEY (user_id) REFERENCES next_auth.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY parley.message_blocks
    ADD CONSTRAINT message_blocks_chat_exists FOREIGN KEY (chat_id) REFERENCES parley.chats(id) ON DELETE CASCADE;

ALTER TABLE ONLY parley.messages
    ADD CONSTRAINT messages_chat_exists FOREIGN KEY (chat_id) REFERENCES parley.chats(id) ON DELETE CASCADE;

ALTER TABLE ONLY parley.settings
    ADD CONSTRAINT settings_user_exists FOREIGN KEY (user_id) REFERENCES next_auth.users(id) ON DELETE CASCADE;

ALTER TABLE next_auth.accounts ENABLE ROW LEVEL SECURITY;

CREATE POLICY accounts_web ON next_auth.accounts TO parley_web USING (true);

ALTER TABLE next_auth.sessions ENABLE ROW LEVEL SECURITY;

CREATE POLICY sessions_web ON next_auth.sessions TO parley_web USING (true);

ALTER TABLE next_auth.users ENABLE ROW LEVEL SECURITY;

CREATE POLICY users_select ON next_auth.users FOR SELECT TO parley_api USING ((id = ( SELECT session.user_id() AS user_id)));

CREATE POLICY users_web ON next_auth.users TO parley_web USING (true);

ALTER TABLE next_auth.verification_token ENABLE ROW LEVEL SECURITY;

CREATE POLICY verification_token_web ON next_auth.verification_token TO parley_web USING (true);

ALTER TABLE parley.chats ENABLE ROW LEVEL SECURITY;

CREATE POLICY chats_delete ON parley.chats FOR DELETE TO parley_api USING ((owner_id = ( SELECT session.user_id() AS user_id)));

CREATE POLICY chats_insert ON parley.chats FOR INSERT TO parley_api WITH CHECK ((owner_id = ( SELECT session.user_id() AS user_id)));

CREATE POLICY chats_select ON parley.chats FOR SELECT TO parley_api USING (((id = ( SELECT session.chat_id() AS chat_id)) OR (id = ANY (( SELECT session.entered_chats() AS entered_chats)::uuid[])) OR (owner_id = ( SELECT session.user_id() AS user_id)) OR (id IN ( SELECT session.chat_ids() AS chat_ids))));

CREATE POLICY chats_update ON parley.chats FOR UPDATE TO parley_api USING ((owner_id = ( SELECT session.user_id() AS user_id)));

ALTER TABLE parley.deleted_users ENABLE ROW LEVEL SECURITY;

ALTER TABLE parley.image_cleanup ENABLE ROW LEVEL SECURITY;

ALTER TABLE parley.members ENABLE ROW LEVEL SECURITY;

CREATE POLICY members_delete ON parley.members FOR DELETE TO parley_api USING (((user_id = ( SELECT session.user_id() AS user_id)) <> session.owns_chat(chat_id)));

CREATE POLICY members_insert ON parley.members FOR INSERT TO parley_api WITH CHECK (session.owns_chat(chat_id));

CREATE POLICY members_select ON parley.members FOR SELECT TO parley_api USING (((chat_id = ( SELECT session.chat_id() AS chat_id)) OR (user_id = ( SELECT session.user_id() AS user_id)) OR (chat_id IN ( SELECT session.chat_ids() AS chat_ids))));

ALTER TABLE parley.message_blocks ENABLE ROW LEVEL SECURITY;

ALTER TABLE parley.message_words ENABLE ROW LEVEL SECURITY;

ALTER TABLE parley.messages ENABLE ROW LEVEL SECURITY;

CREATE POLICY messages_delete ON parley.messages FOR DELETE TO parley_api USING ((((user_id = ( SELECT session.user_id() AS user_id)) OR session.owns_chat(chat_id)) AND ((chat_id = ( SELECT session.chat_id() AS chat_id)) OR (chat_id IN ( SELECT session.chat_ids() AS chat_ids)))));

CREATE POLICY messages_insert ON parley.messages FOR INSERT TO parley_api WITH CHECK (((user_id = ( SELECT session.user_id() AS user_id)) AND ((chat_id = ( SELECT session.chat_id() AS chat_id)) OR (chat_id IN ( SELECT session.chat_ids() AS chat_ids)))));

CREATE POLICY messages_select ON parley.messages FOR SELECT TO parley_api USING (((chat_id = ( SELECT session.chat_id() AS chat_id)) OR (chat_id = ANY (( SELECT session.entered_chats() AS entered_chats)::uuid[])) OR (chat_id IN ( SELECT session.chat_ids() AS chat_ids))));

CREATE POLICY messages_update ON parley.messages FOR UPDATE TO parley_api USING (((user_id = ( SELECT session.user_id() AS user_id)) AND ((chat_id = ( SELECT session.chat_id() AS chat_id)) OR (chat_id IN ( SELECT session.chat_ids() AS chat_ids)))));

ALTER TABLE parley.outbox ENABLE ROW LEVEL SECURITY;

ALTER TABLE parley.outbox_queue ENABLE ROW LEVEL SECURITY;

ALTER TABLE parley.pseudonym_key ENABLE ROW LEVEL SECURITY;

ALTER TABLE parley.reloaded_parts ENABLE ROW LEVEL SECURITY;

ALTER TABLE parley.rollup_chat_sizes ENABLE ROW LEVEL SECURITY;

ALTER TABLE parley.rollup_chats ENABLE ROW LEVEL SECURITY;

ALTER TABLE parley.rollup_periods ENABLE ROW LEVEL SECURITY;

ALTER TABLE parley.rollup_responses ENABLE ROW LEVEL SECURITY;

ALTER TABLE parley.rollup_retention ENABLE ROW LEVEL SECURITY;

ALTER TABLE parley.rollup_seen ENABLE ROW LEVEL SECURITY;

ALTER TABLE parley.rollup_settings ENABLE ROW LEVEL SECURITY;

ALTER TABLE parley.rollup_state ENABLE ROW LEVEL SECURITY;

ALTER TABLE parley.rollup_users ENABLE ROW LEVEL SECURITY;

ALTER TABLE parley.settings ENABLE ROW LEVEL SECURITY;

CREATE POLICY settings_select ON parley.settings FOR SELECT TO parley_api USING ((user_id = ( SELECT session.user_id() AS user_id)));

CREATE POLICY settings_update ON parley.settings FOR UPDATE TO parley_api USING ((user_id = ( SELECT session.user_id() AS user_id)));

GRANT USAGE ON SCHEMA analytics TO parley_analyst;

GRANT USAGE ON SCHEMA api TO parley_api;

GRANT USAGE ON SCHEMA listener TO parley_listener;

GRANT USAGE ON SCHEMA next_auth TO parley_api;
GRANT USAGE ON SCHEMA next_auth TO parley_web;

GRANT USAGE ON SCHEMA parley TO parley_api;

GRANT USAGE ON SCHEMA rules TO parley_api;

GRANT USAGE ON SCHEMA session TO parley_api;

REVOKE ALL ON TYPE parley.filter FROM PUBLIC;

REVOKE ALL ON TYPE parley.page FROM PUBLIC;

REVOKE ALL ON FUNCTION api.add_member(chat_id text, body jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION api.add_member(chat_id text, body jsonb) TO parley_api;

REVOKE ALL ON FUNCTION api.authorize_channel(socket_id text, channel_name text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.authorize_channel(socket_id text, channel_name text) TO parley_api;

REVOKE ALL ON FUNCTION api.authorize_user(socket_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.authorize_user(socket_id text) TO parley_api;

REVOKE ALL ON FUNCTION api.create_chat(body jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION api.create_chat(body jsonb) TO parley_api;

REVOKE ALL ON FUNCTION api.delete_chat(chat_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.delete_chat(chat_id text) TO parley_api;

REVOKE ALL ON FUNCTION api.delete_message(chat_id text, message_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.delete_message(chat_id text, message_id text) TO parley_api;

REVOKE ALL ON FUNCTION api.expect_image(image_url text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.expect_image(image_url text) TO parley_api;

REVOKE ALL ON FUNCTION api.forget_image(name text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.forget_image(name text) TO parley_api;

REVOKE ALL ON FUNCTION api.get_chat(chat_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.get_chat(chat_id text) TO parley_api;

REVOKE ALL ON FUNCTION api.get_message(chat_id text, message_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.get_message(chat_id text, message_id text) TO parley_api;

REVOKE ALL ON FUNCTION api.get_profile() FROM PUBLIC;
GRANT ALL ON FUNCTION api.get_profile() TO parley_api;

REVOKE ALL ON FUNCTION api.get_settings() FROM PUBLIC;
GRANT ALL ON FUNCTION api.get_settings() TO parley_api;

REVOKE ALL ON FUNCTION api.list_chats(page text, "limit" text, before text, after text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.list_chats(page text, "limit" text, before text, after text) TO parley_api;

REVOKE ALL ON FUNCTION api.list_members(chat_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.list_members(chat_id text) TO parley_api;

REVOKE ALL ON FUNCTION api.list_messages(chat_id text, page text, "limit" text, type text, search text, start_date text, end_date text, sort text, before text, after text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.list_messages(chat_id text, page text, "limit" text, type text, search text, start_date text, end_date text, sort text, before text, after text) TO parley_api;

REVOKE ALL ON FUNCTION api.parse_json(document bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION api.parse_json(document bytea) TO parley_api;

REVOKE ALL ON FUNCTION api.ready() FROM PUBLIC;
GRANT ALL ON FUNCTION api.ready() TO parley_api;

REVOKE ALL ON FUNCTION api.remove_member(chat_id text, user_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.remove_member(chat_id text, user_id text) TO parley_api;

REVOKE ALL ON FUNCTION api.search(page text, "limit" text, type text, search text, start_date text, end_date text, sort text, before text, after text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.search(page text, "limit" text, type text, search text, start_date text, end_date text, sort text, before text, after text) TO parley_api;

REVOKE ALL ON FUNCTION api.send_message(chat_id text, body jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION api.send_message(chat_id text, body jsonb) TO parley_api;

REVOKE ALL ON FUNCTION api.set_image(image_url text) FROM PUBLIC;
GRANT ALL ON FUNCTION api.set_image(image_url text) TO parley_api;

REVOKE ALL ON FUNCTION api.take_unused_image() FROM PUBLIC;
GRANT ALL ON FUNCTION api.take_unused_image() TO parley_api;

REVOKE ALL ON FUNCTION api.update_chat(chat_id text, body jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION api.update_chat(chat_id text, body jsonb) TO parley_api;

REVOKE ALL ON FUNCTION api.update_message(chat_id text, message_id text, body jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION api.update_message(chat_id text, message_id text, body jsonb) TO parley_api;

REVOKE ALL ON FUNCTION api.update_profile(body jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION api.update_profile(body jsonb) TO parley_api;

REVOKE ALL ON FUNCTION api.update_settings(body jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION api.update_settings(body jsonb) TO parley_api;

REVOKE ALL ON FUNCTION listener.lead() FROM PUBLIC;
GRANT ALL ON FUNCTION listener.lead() TO parley_listener;

REVOKE ALL ON FUNCTION listener.remove_events(older_than interval, max_events integer) FROM PUBLIC;
GRANT ALL ON FUNCTION listener.remove_events(older_than interval, max_events integer) TO parley_listener;

REVOKE ALL ON FUNCTION listener.roll_up(max_messages integer) FROM PUBLIC;
GRANT ALL ON FUNCTION listener.roll_up(max_messages integer) TO parley_listener;

REVOKE ALL ON FUNCTION listener.set_aside(event_id bigint, error text) FROM PUBLIC;
GRANT ALL ON FUNCTION listener.set_aside(event_id bigint, error text) TO parley_listener;

REVOKE ALL ON FUNCTION listener.sleep() FROM PUBLIC;
GRANT ALL ON FUNCTION listener.sleep() TO parley_listener;

REVOKE ALL ON FUNCTION listener.take_events(done bigint[], after_id bigint, held bigint[], busy_chats uuid[], hungry_chats uuid[], hungry_after bigint[], max_events integer, max_of_chat integer, max_bytes integer) FROM PUBLIC;
GRANT ALL ON FUNCTION listener.take_events(done bigint[], after_id bigint, held bigint[], busy_chats uuid[], hungry_chats uuid[], hungry_after bigint[], max_events integer, max_of_chat integer, max_bytes integer) TO parley_listener;

REVOKE ALL ON FUNCTION listener.wake() FROM PUBLIC;
GRANT ALL ON FUNCTION listener.wake() TO parley_listener;

REVOKE ALL ON FUNCTION rules.choices(field text) FROM PUBLIC;
GRANT ALL ON FUNCTION rules.choices(field text) TO parley_api;

REVOKE ALL ON FUNCTION rules.is_blank(value text) FROM PUBLIC;
GRANT ALL ON FUNCTION rules.is_blank(value text) TO parley_api;

REVOKE ALL ON FUNCTION rules.is_email(value text) FROM PUBLIC;
GRANT ALL ON FUNCTION rules.is_email(value text) TO parley_api;

REVOKE ALL ON FUNCTION rules.length_limits(field text) FROM PUBLIC;
GRANT ALL ON FUNCTION rules.length_limits(field text) TO parley_api;

REVOKE ALL ON FUNCTION rules.may_be_blank(field text) FROM PUBLIC;
GRANT ALL ON FUNCTION rules.may_be_blank(field text) TO parley_api;

REVOKE ALL ON FUNCTION rules.problem(field text, value text) FROM PUBLIC;
GRANT ALL ON FUNCTION rules.problem(field text, value text) TO parley_api;

REVOKE ALL ON FUNCTION rules.uuid7_time(id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION rules.uuid7_time(id uuid) TO parley_api;

GRANT SELECT,DELETE ON TABLE parley.chats TO parley_api;

GRANT INSERT(title),UPDATE(title) ON TABLE parley.chats TO parley_api;

REVOKE ALL ON FUNCTION parley.activity(chat parley.chats) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.activity(chat parley.chats) TO parley_api;

REVOKE ALL ON FUNCTION parley.add_to_rollups(chats uuid[], ids uuid[], users text[], types text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.add_to_rollups(chats uuid[], ids uuid[], users text[], types text[]) TO parley_api;

REVOKE ALL ON FUNCTION parley.await_removal(name text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.await_removal(name text) TO parley_api;

REVOKE ALL ON FUNCTION parley.base64url(value bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.base64url(value bytea) TO parley_api;

REVOKE ALL ON FUNCTION parley.chat_channel(chat uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.chat_channel(chat uuid) TO parley_api;

GRANT SELECT,DELETE ON TABLE parley.messages TO parley_api;

GRANT INSERT(chat_id) ON TABLE parley.messages TO parley_api;

GRANT INSERT(type),UPDATE(type) ON TABLE parley.messages TO parley_api;

GRANT INSERT(content),UPDATE(content) ON TABLE parley.messages TO parley_api;

REVOKE ALL ON FUNCTION parley.chat_json(chat parley.chats, last_message parley.messages) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.chat_json(chat parley.chats, last_message parley.messages) TO parley_api;

REVOKE ALL ON FUNCTION parley.chats_add_owner() FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.chats_gone() FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.chats_new() FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.chats_renamed() FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.close_block(chat uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.close_block(chat uuid) TO parley_api;

REVOKE ALL ON FUNCTION parley.close_old_chats(before_id uuid, max_chats integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.count_events(state parley.rollup_state, max_messages integer) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.count_events(state parley.rollup_state, max_messages integer) TO parley_api;

REVOKE ALL ON FUNCTION parley.count_history(state parley.rollup_state, max_messages integer) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.count_history(state parley.rollup_state, max_messages integer) TO parley_api;

REVOKE ALL ON FUNCTION parley.count_in_range(chat uuid, wanted parley.filter) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.count_in_range(chat uuid, wanted parley.filter) TO parley_api;

REVOKE ALL ON FUNCTION parley.count_message(chat parley.chats, message uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.count_message(chat parley.chats, message uuid) TO parley_api;

REVOKE ALL ON FUNCTION parley.count_messages(wanted parley.filter) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.count_messages(wanted parley.filter) TO parley_api;

REVOKE ALL ON FUNCTION parley.counted_event() FROM PUBLIC;
GRANT ALL ON FUNCTION parley.counted_event() TO parley_api;

REVOKE ALL ON FUNCTION parley.cut(source text, start integer, size integer) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.cut(source text, start integer, size integer) TO parley_api;

REVOKE ALL ON FUNCTION parley.end_of(value text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.end_of(value text) TO parley_api;

REVOKE ALL ON FUNCTION parley.enter_chat(chat_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.enter_chat(chat_id text) TO parley_api;

REVOKE ALL ON FUNCTION parley.event_channels(chat uuid, recipients text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.event_channels(chat uuid, recipients text[]) TO parley_api;

REVOKE ALL ON FUNCTION parley."extract"(content text, marks tsquery) FROM PUBLIC;
GRANT ALL ON FUNCTION parley."extract"(content text, marks tsquery) TO parley_api;

REVOKE ALL ON FUNCTION parley.fail(state text, message text, details jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.fail(state text, message text, details jsonb) TO parley_api;

REVOKE ALL ON FUNCTION parley.field_problem(field text, value jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.field_problem(field text, value jsonb) TO parley_api;

REVOKE ALL ON FUNCTION parley.field_problems(body jsonb, required text[], optional text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.field_problems(body jsonb, required text[], optional text[]) TO parley_api;

REVOKE ALL ON FUNCTION parley.filter_problems(type text, search text, start_date text, end_date text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.filter_problems(type text, search text, start_date text, end_date text) TO parley_api;

REVOKE ALL ON FUNCTION parley.find_history() FROM PUBLIC;
GRANT ALL ON FUNCTION parley.find_history() TO parley_api;

REVOKE ALL ON FUNCTION parley.find_hits(only_chat uuid, query tsquery, wanted parley.filter) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.find_hits(only_chat uuid, query tsquery, wanted parley.filter) TO parley_api;

REVOKE ALL ON FUNCTION parley.find_message(chat_id text, message_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.find_message(chat_id text, message_id text) TO parley_api;

REVOKE ALL ON FUNCTION parley.finish_page(asked parley.page, ids uuid[], sort text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.finish_page(asked parley.page, ids uuid[], sort text) TO parley_api;

REVOKE ALL ON FUNCTION parley.forget_seen() FROM PUBLIC;
GRANT ALL ON FUNCTION parley.forget_seen() TO parley_api;

REVOKE ALL ON FUNCTION parley.hit_json(message parley.messages, marks tsquery) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.hit_json(message parley.messages, marks tsquery) TO parley_api;

REVOKE ALL ON FUNCTION parley.image_is_being_removed(name text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.image_is_being_removed(name text) TO parley_api;

REVOKE ALL ON FUNCTION parley.image_is_used(name text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.image_is_used(name text) TO parley_api;

REVOKE ALL ON FUNCTION parley.image_name(url text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.image_name(url text) TO parley_api;

REVOKE ALL ON FUNCTION parley.instant_problem(value text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.instant_problem(value text) TO parley_api;

REVOKE ALL ON FUNCTION parley.is_closed(chat parley.chats) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.is_closed(chat parley.chats) TO parley_api;

REVOKE ALL ON FUNCTION parley.iso8601(instant timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.iso8601(instant timestamp with time zone) TO parley_api;

REVOKE ALL ON FUNCTION parley.last_message_at(chat parley.chats) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.last_message_at(chat parley.chats) TO parley_api;

REVOKE ALL ON FUNCTION parley.link_pages(next json, prev json) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.link_pages(next json, prev json) TO parley_api;

REVOKE ALL ON FUNCTION parley.lock_chat() FROM PUBLIC;
GRANT ALL ON FUNCTION parley.lock_chat() TO parley_api;

REVOKE ALL ON FUNCTION parley.lock_image(name text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.lock_image(name text) TO parley_api;

REVOKE ALL ON FUNCTION parley.look_up(query tsquery, wanted parley.filter) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.look_up(query tsquery, wanted parley.filter) TO parley_api;

REVOKE ALL ON FUNCTION parley.look_up_in_chat(chat uuid, query tsquery, wanted parley.filter) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.look_up_in_chat(chat uuid, query tsquery, wanted parley.filter) TO parley_api;

REVOKE ALL ON FUNCTION parley.mark(part text, marks tsquery) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.mark(part text, marks tsquery) TO parley_api;

REVOKE ALL ON FUNCTION parley.mark_pattern(part text, marks tsquery) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.mark_pattern(part text, marks tsquery) TO parley_api;

REVOKE ALL ON FUNCTION parley.may_hear(channel text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.may_hear(channel text) TO parley_api;

REVOKE ALL ON FUNCTION parley.members_gone() FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.members_json(OUT user_id text, OUT joined_at timestamp with time zone, OUT member json) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.members_json(OUT user_id text, OUT joined_at timestamp with time zone, OUT member json) TO parley_api;

REVOKE ALL ON FUNCTION parley.members_new() FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.members_stay() FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.message_json(message parley.messages) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.message_json(message parley.messages) TO parley_api;

REVOKE ALL ON FUNCTION parley.messages_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.messages_gone() FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.messages_new() FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.messages_retyped() FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.messages_stay() FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.messages_words() FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.messages_words_gone() FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.not_found(what text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.not_found(what text) TO parley_api;

REVOKE ALL ON FUNCTION parley.now_after(instant timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.now_after(instant timestamp with time zone) TO parley_api;

REVOKE ALL ON FUNCTION parley.now_ms() FROM PUBLIC;
GRANT ALL ON FUNCTION parley.now_ms() TO parley_api;

REVOKE ALL ON FUNCTION parley.number_problem(value text, lowest bigint, highest bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.number_problem(value text, lowest bigint, highest bigint) TO parley_api;

REVOKE ALL ON FUNCTION parley.page_of_hits(hits uuid[], asked parley.page) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.page_of_hits(hits uuid[], asked parley.page) TO parley_api;

REVOKE ALL ON FUNCTION parley.page_of_messages(wanted parley.filter, asked parley.page) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.page_of_messages(wanted parley.filter, asked parley.page) TO parley_api;

REVOKE ALL ON FUNCTION parley.page_problems(page text, "limit" text, before text, after text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.page_problems(page text, "limit" text, before text, after text) TO parley_api;

REVOKE ALL ON FUNCTION parley.parse_filter(type text, start_date text, end_date text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.parse_filter(type text, start_date text, end_date text) TO parley_api;

REVOKE ALL ON FUNCTION parley.parse_instant(value text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.parse_instant(value text) TO parley_api;

REVOKE ALL ON FUNCTION parley.parse_page(page text, "limit" text, before text, after text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.parse_page(page text, "limit" text, before text, after text) TO parley_api;

REVOKE ALL ON FUNCTION parley.parse_search(search text, OUT query tsquery, OUT marks tsquery, OUT phrase tsquery) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.parse_search(search text, OUT query tsquery, OUT marks tsquery, OUT phrase tsquery) TO parley_api;

REVOKE ALL ON FUNCTION parley.parse_term(typed text, is_phrase boolean, is_open boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.parse_term(typed text, is_phrase boolean, is_open boolean) TO parley_api;

REVOKE ALL ON FUNCTION parley.parse_uuid(value text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.parse_uuid(value text) TO parley_api;

REVOKE ALL ON FUNCTION parley.pseudonym(kind text, subject text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.pseudonym(kind text, subject text) TO parley_api;

REVOKE ALL ON FUNCTION parley.pusher_user(user_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.pusher_user(user_id text) TO parley_api;

REVOKE ALL ON FUNCTION parley.queue_again(VARIADIC event_ids bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.queue_again(VARIADIC event_ids bigint[]) TO parley_api;

REVOKE ALL ON FUNCTION parley.record_event(chat uuid, seq bigint, event text, payload json, recipients text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.record_event(chat uuid, seq bigint, event text, payload json, recipients text[]) TO parley_api;

REVOKE ALL ON FUNCTION parley.recount_blocks(chat uuid, ids uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.recount_blocks(chat uuid, ids uuid[]) TO parley_api;

REVOKE ALL ON FUNCTION parley.recount_chat(chat uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.recount_chat(chat uuid) TO parley_api;

REVOKE ALL ON FUNCTION parley.recount_rollups() FROM PUBLIC;
GRANT ALL ON FUNCTION parley.recount_rollups() TO parley_api;

REVOKE ALL ON FUNCTION parley.reject(problems jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.reject(problems jsonb) TO parley_api;

REVOKE ALL ON FUNCTION parley.remove_old_chats(inactive_for interval, max_messages integer) FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.require_image(url text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.require_image(url text) TO parley_api;

REVOKE ALL ON FUNCTION parley.require_one_of(body jsonb, fields text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.require_one_of(body jsonb, fields text[]) TO parley_api;

REVOKE ALL ON FUNCTION parley.require_owner(chat uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.require_owner(chat uuid) TO parley_api;

REVOKE ALL ON FUNCTION parley.require_user(id text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.require_user(id text) TO parley_api;

REVOKE ALL ON FUNCTION parley.roll_up_chats() FROM PUBLIC;
GRANT ALL ON FUNCTION parley.roll_up_chats() TO parley_api;

REVOKE ALL ON FUNCTION parley.roll_up_settings() FROM PUBLIC;
GRANT ALL ON FUNCTION parley.roll_up_settings() TO parley_api;

REVOKE ALL ON FUNCTION parley.search_chat(query tsquery, wanted parley.filter, asked parley.page, OUT ids uuid[], OUT total bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.search_chat(query tsquery, wanted parley.filter, asked parley.page, OUT ids uuid[], OUT total bigint) TO parley_api;

REVOKE ALL ON FUNCTION parley.search_chats(query tsquery, wanted parley.filter, asked parley.page, OUT chats uuid[], OUT ids uuid[], OUT total bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.search_chats(query tsquery, wanted parley.filter, asked parley.page, OUT chats uuid[], OUT ids uuid[], OUT total bigint) TO parley_api;

REVOKE ALL ON FUNCTION parley.search_ranked(only_chat uuid, query tsquery, marks tsquery, phrase tsquery, wanted parley.filter, asked parley.page, OUT chats uuid[], OUT ids uuid[], OUT total bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.search_ranked(only_chat uuid, query tsquery, marks tsquery, phrase tsquery, wanted parley.filter, asked parley.page, OUT chats uuid[], OUT ids uuid[], OUT total bigint) TO parley_api;

REVOKE ALL ON FUNCTION parley.settings_changed() FROM PUBLIC;

GRANT SELECT ON TABLE parley.settings TO parley_api;

GRANT UPDATE(model) ON TABLE parley.settings TO parley_api;

GRANT UPDATE(theme) ON TABLE parley.settings TO parley_api;

GRANT UPDATE(context) ON TABLE parley.settings TO parley_api;

GRANT UPDATE(runtime) ON TABLE parley.settings TO parley_api;

GRANT UPDATE(response_style) ON TABLE parley.settings TO parley_api;

GRANT UPDATE(always_show_code) ON TABLE parley.settings TO parley_api;

REVOKE ALL ON FUNCTION parley.settings_json(settings parley.settings) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.settings_json(settings parley.settings) TO parley_api;

REVOKE ALL ON FUNCTION parley.skip_blocks(chat uuid, wanted parley.filter, INOUT skip bigint, OUT before_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.skip_blocks(chat uuid, wanted parley.filter, INOUT skip bigint, OUT before_id uuid) TO parley_api;

REVOKE ALL ON FUNCTION parley.sleep_lock() FROM PUBLIC;
GRANT ALL ON FUNCTION parley.sleep_lock() TO parley_api;

REVOKE ALL ON FUNCTION parley.socket_problem(socket_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.socket_problem(socket_id text) TO parley_api;

REVOKE ALL ON FUNCTION parley.sort_problems(sort text, search text, before text, after text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.sort_problems(sort text, search text, before text, after text) TO parley_api;

REVOKE ALL ON FUNCTION parley.spelling_pattern(word text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.spelling_pattern(word text) TO parley_api;

REVOKE ALL ON FUNCTION parley.uncount_messages(chat uuid, ids uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.uncount_messages(chat uuid, ids uuid[]) TO parley_api;

REVOKE ALL ON FUNCTION parley.user_channel(user_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.user_channel(user_id text) TO parley_api;

REVOKE ALL ON FUNCTION parley.user_name() FROM PUBLIC;
GRANT ALL ON FUNCTION parley.user_name() TO parley_api;

REVOKE ALL ON FUNCTION parley.users_changed() FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.users_deleted() FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.users_image_left() FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.users_leave() FROM PUBLIC;

REVOKE ALL ON FUNCTION parley.uuid7(instant timestamp with time zone, number bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.uuid7(instant timestamp with time zone, number bigint) TO parley_api;

REVOKE ALL ON FUNCTION parley.uuid7_from(instant timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.uuid7_from(instant timestamp with time zone) TO parley_api;

REVOKE ALL ON FUNCTION parley.validate(body jsonb, required text[], optional text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.validate(body jsonb, required text[], optional text[]) TO parley_api;

REVOKE ALL ON FUNCTION parley.word_query(words text, is_phrase boolean, is_open boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION parley.word_query(words text, is_phrase boolean, is_open boolean) TO parley_api;

REVOKE ALL ON FUNCTION rules.folded(value text) FROM PUBLIC;
GRANT ALL ON FUNCTION rules.folded(value text) TO parley_api;

REVOKE ALL ON FUNCTION rules.joined(folded text) FROM PUBLIC;
GRANT ALL ON FUNCTION rules.joined(folded text) TO parley_api;

REVOKE ALL ON FUNCTION rules.search_vector(content text) FROM PUBLIC;
GRANT ALL ON FUNCTION rules.search_vector(content text) TO parley_api;

REVOKE ALL ON FUNCTION rules.words(folded text) FROM PUBLIC;
GRANT ALL ON FUNCTION rules.words(folded text) TO parley_api;

REVOKE ALL ON FUNCTION session.begin(identity jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION session.begin(identity jsonb) TO parley_api;

REVOKE ALL ON FUNCTION session.chat_id() FROM PUBLIC;
GRANT ALL ON FUNCTION session.chat_id() TO parley_api;

REVOKE ALL ON FUNCTION session.chat_ids() FROM PUBLIC;
GRANT ALL ON FUNCTION session.chat_ids() TO parley_api;

REVOKE ALL ON FUNCTION session.enter_chats(chats uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION session.enter_chats(chats uuid[]) TO parley_api;

REVOKE ALL ON FUNCTION session.entered_chats() FROM PUBLIC;
GRANT ALL ON FUNCTION session.entered_chats() TO parley_api;

REVOKE ALL ON FUNCTION session.owns_chat(chat uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION session.owns_chat(chat uuid) TO parley_api;

REVOKE ALL ON FUNCTION session.page_of_chats(asked parley.page, OUT chats uuid[], OUT activities uuid[], OUT total bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION session.page_of_chats(asked parley.page, OUT chats uuid[], OUT activities uuid[], OUT total bigint) TO parley_api;

REVOKE ALL ON FUNCTION session.register(subject text, name text, email text, image text) FROM PUBLIC;
GRANT ALL ON FUNCTION session.register(subject text, name text, email text, image text) TO parley_api;

REVOKE ALL ON FUNCTION session.signed_in(digests jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION session.signed_in(digests jsonb) TO parley_api;

REVOKE ALL ON FUNCTION session.user_id() FROM PUBLIC;
GRANT ALL ON FUNCTION session.user_id() TO parley_api;

REVOKE ALL ON FUNCTION session.was_deleted(subject text) FROM PUBLIC;
GRANT ALL ON FUNCTION session.was_deleted(subject text) TO parley_api;

GRANT SELECT ON TABLE analytics.activity_by_day TO parley_analyst;

GRANT SELECT ON TABLE analytics.activity_by_hour TO parley_analyst;

GRANT SELECT ON TABLE analytics.chats TO parley_analyst;

GRANT SELECT ON TABLE analytics.chats_by_size_and_age TO parley_analyst;

GRANT SELECT ON TABLE analytics.event_health TO parley_analyst;

GRANT SELECT ON TABLE analytics.growth_by_week TO parley_analyst;

GRANT SELECT ON TABLE analytics.response_times TO parley_analyst;

GRANT SELECT ON TABLE analytics.response_times_by_day TO parley_analyst;

GRANT SELECT ON TABLE analytics.retention_by_cohort TO parley_analyst;

GRANT SELECT ON TABLE analytics.search_health TO parley_analyst;

GRANT SELECT ON TABLE analytics.set_aside_events TO parley_analyst;

GRANT SELECT ON TABLE analytics.settings_in_use TO parley_analyst;

GRANT SELECT ON TABLE analytics.users TO parley_analyst;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE next_auth.accounts TO parley_web;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE next_auth.sessions TO parley_web;

GRANT SELECT ON TABLE next_auth.users TO parley_api;
GRANT SELECT,DELETE ON TABLE next_auth.users TO parley_web;

GRANT INSERT(id) ON TABLE next_auth.users TO parley_web;

GRANT INSERT(name),UPDATE(name) ON TABLE next_auth.users TO parley_web;

GRANT INSERT(email),UPDATE(email) ON TABLE next_auth.users TO parley_web;

GRANT INSERT("emailVerified"),UPDATE("emailVerified") ON TABLE next_auth.users TO parley_web;

GRANT INSERT(image),UPDATE(image) ON TABLE next_auth.users TO parley_web;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE next_auth.verification_token TO parley_web;

GRANT SELECT,DELETE ON TABLE parley.members TO parley_api;

GRANT INSERT(chat_id) ON TABLE parley.members TO parley_api;

GRANT INSERT(user_id) ON TABLE parley.members TO parley_api;

ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA rules GRANT ALL ON FUNCTIONS TO parley_api;

ALTER DEFAULT PRIVILEGES FOR ROLE postgres REVOKE ALL ON TYPES FROM PUBLIC;

ALTER DEFAULT PRIVILEGES FOR ROLE postgres REVOKE ALL ON FUNCTIONS FROM PUBLIC;
