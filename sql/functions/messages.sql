-- Messages: the API's functions, and the triggers of parley.messages.
--
--   api.list_messages                   GET    /api/chats/{chatId}/messages
--   api.send_message                    POST   /api/chats/{chatId}/messages
--   api.get_message                     GET    /api/chats/{chatId}/messages/{messageId}
--   api.update_message                  PUT    /api/chats/{chatId}/messages/{messageId}
--   api.delete_message                  DELETE /api/chats/{chatId}/messages/{messageId}
--   parley.validate_message_query       validates the parameters of a list of messages
--   parley.message_fields               the JSON fields of a message
--   parley.message_version              the version of a message, for its entity tag
--   parley.find_message                 the message of a route's {messageId}, or raises "not found"
--   parley.messages_before_insert       trigger: generates the id, counts the message, records the event
--   parley.messages_before_update       trigger: when content or type changes, sets updated_at, records the event
--   parley.messages_after_delete        trigger: subtracts the messages from the counters, records the events
--   parley.messages_reject_key_update   trigger: rejects updates of the primary key
--
-- A new message increments the chat's seq, which locks the chat's row until the commit. So in a chat the order of ids is the
-- order of commits: a client that has seen an id has missed no earlier one.

-- A filter on time is a range of ids, so it uses the primary key.
create or replace function api.list_messages(
    chat_id text, page text default null, "limit" text default null, type text default null,
    search text default null, start_date text default null, end_date text default null,
    sort text default null, before text default null, after text default null, include text default null,
    around text default null) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_column
declare
    chat constant uuid := parley.select_chat(chat_id);
    revision constant bigint := (parley.set_chat_seq_header()).revision;
    includes_users constant boolean := parley.is_included(include, 'users');
    filter parley.message_filter;
    page_request parley.page_request;
    ids uuid[];
    total bigint;
    response json;
begin
    if num_nonnulls(page, "limit", type, search, start_date, end_date, sort, before, after, include, around) > 0 then
        perform parley.validate_message_query(
            chat_id, page, "limit", type, search, start_date, end_date, sort, before, after, include, around);
    end if;
    -- A page with users has no entity tag: a user's name may change without an event of the chat.
    if not includes_users and parley.check_preconditions(revision::text) then
        return null;
    end if;
    filter := parley.parse_filter(type, start_date, end_date);
    page_request := parley.parse_page(page, "limit", before, after);
    if around is not null then
        page_request := parley.find_page_around(around::uuid, filter, page_request);
    end if;
    if search is null or rules.is_blank(search) then
        select p.ids, p.total into ids, total from parley.find_message_page(filter, page_request) p;
    else
        select h.ids, h.total into ids, total from parley.find_hit_page(chat, search, sort, filter, page_request) h;
    end if;
    -- If there is a next page, ids has one id more than the page. set_response_links() needs it.
    perform parley.set_response_links(page_request, ids, sort);
    ids := parley.trim_page(page_request, ids);
    response := json_build_object(
        'messages', (
            select coalesce(json_agg(
                to_json(f) order by case when sort = 'relevance' then array_position(ids, f.id) end, f.id desc), '[]')
            from parley.messages m cross join lateral parley.message_fields(m) f
            where m.chat_id = chat and m.id = any (ids)),
        'total', total, 'page', page_request.number, 'limit', page_request.size);
    if include is not null then
        return parley.add_included_fields(response, include, array_fill(chat, array[cardinality(ids)]), ids);
    end if;
    return response;
end $$;
comment on function api.list_messages(text, text, text, text, text, text, text, text, text, text, text, text) is
    'Lists or searches the messages of a chat, newest first: {"messages": [message], "total", "page", "limit"}. limit is 1 to 100, by default 50. search accepts words, "a phrase", -not, or. Dates are ISO 8601 and inclusive. sort is newest or, for a search, relevance. before or after, in place of page, is the id of a message; page is then null. around is the id of the message in the middle of the page; it excludes page, before, after, search and sort. include lists users, which adds "users": [{"id", "name", "imageUrl"}], the authors; and etag, which adds "etag" to each message. Returns null if If-None-Match lists the page''s entity tag; a page with users has none. Raises PT404 if around is not a message of the chat.';

-- A message that is not found is an error before If-None-Match is compared.
create or replace function parley.validate_message_query(
    chat_id text, page text, "limit" text, type text, search text, start_date text, end_date text, sort text,
    before text, after text, include text, around text) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.raise_invalid(parley.filter_errors(type, search, start_date, end_date)
        || parley.page_errors(page, "limit", before, after) || parley.sort_errors(sort, search, before, after)
        || parley.around_errors(around, page, search, sort, before, after)
        || jsonb_build_object('include', parley.include_error(include, '{users,etag}')));
    if around is not null then
        perform parley.find_message(chat_id, around);
    end if;
end $$;

create or replace function api.send_message(chat_id text, body jsonb) returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    chat constant uuid := parley.select_chat(chat_id);
    message parley.messages;
begin
    perform parley.validate_body(body, required => '{content}', optional => '{type,nonce}');
    perform parley.lock_selected_chat();
    perform set_config('request.nonce', body ->> 'nonce', true) where body ? 'nonce';
    -- user_id is the authenticated user by default.
    insert into parley.messages (chat_id, content, type)
    values (chat, body ->> 'content', coalesce(body ->> 'type', 'text'))
    returning * into message;
    perform set_config('request.nonce', '', true) where body ? 'nonce';  -- Another insert in the transaction has none.
    return json_build_object('id', message.id, 'content', message.content, 'type', message.type,
        'userId', message.user_id, 'createdAt', parley.iso8601(message.created_at));
end $$;
comment on function api.send_message(text, jsonb) is
    'Sends a message. Body: {"content", "type"?, "nonce"?}; type is text by default, and nonce is returned to the sender in the message''s event. Returns {"id", "content", "type", "userId", "createdAt"}.';

create or replace function api.get_message(chat_id text, message_id text, include text default null) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    message constant parley.messages := parley.find_message(chat_id, message_id);
    includes_users constant boolean := parley.is_included(include, 'users');
    response json;
begin
    if include is not null then
        perform parley.raise_invalid(jsonb_build_object('include', parley.include_error(include, '{users}')));
    end if;
    perform parley.set_chat_seq_header();
    if not includes_users and parley.check_preconditions(parley.message_version(message)) then
        return null;
    end if;
    response := (select to_json(f) from parley.message_fields(message) f);
    if includes_users then
        return parley.add_field(response, 'users', parley.authors_json(array[message.chat_id], array[message.id]));
    end if;
    return response;
end $$;
comment on function api.get_message(text, text, text) is
    'Returns a message: {"id", "content", "type", "userId", "createdAt", "updatedAt"}, or null if If-None-Match lists its entity tag. With include users there is no entity tag, and "users" is added: [{"id", "name", "imageUrl"}], the author.';

create or replace function api.update_message(chat_id text, message_id text, body jsonb) returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    message parley.messages := parley.find_message(chat_id, message_id);
begin
    if message.user_id <> session.user_id() then
        perform parley.raise_forbidden('Only the author may edit a message.');
    end if;
    perform parley.validate_body(body, required => '{}', optional => '{content,type}');
    perform parley.lock_selected_chat();
    update parley.messages m
    set content = coalesce(body ->> 'content', m.content), type = coalesce(body ->> 'type', m.type)
    where m.chat_id = message.chat_id and m.id = message.id and parley.assert_preconditions(parley.message_version(m))
    returning * into message;
    if not found then
        perform parley.raise_not_found('Message');
    end if;
    perform parley.set_response_etag(parley.message_version(message));
    return json_build_object('id', message.id, 'content', message.content, 'type', message.type,
        'updatedAt', parley.iso8601(message.updated_at));
end $$;
comment on function api.update_message(text, text, jsonb) is
    'Edits a message. Body: {"content"?, "type"?}, at least one. Returns {"id", "content", "type", "updatedAt"}. Raises PT403 unless the user is its author, and PT412 if If-Match does not list its entity tag.';

create or replace function api.delete_message(chat_id text, message_id text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    message constant parley.messages := parley.find_message(chat_id, message_id);
begin
    if message.user_id <> session.user_id() and not session.is_chat_owner(message.chat_id) then
        perform parley.raise_forbidden('Only the author or the owner of the chat may delete a message.');
    end if;
    perform parley.lock_selected_chat();
    delete from parley.messages m
    where m.chat_id = message.chat_id and m.id = message.id and parley.assert_preconditions(parley.message_version(m));
    if not found then
        perform parley.raise_not_found('Message');
    end if;
end $$;
comment on function api.delete_message(text, text) is
    'Deletes a message. Raises PT403 unless the user is its author or owns the chat, and PT412 if If-Match does not list its entity tag.';

-- Returns a row with the names of the JSON fields, because to_json() of a row is faster than json_build_object().
create or replace function parley.message_fields(message parley.messages)
returns table (id uuid, content text, type text, "userId" text, "createdAt" text, "updatedAt" text)
language sql stable as $$
    select message.id, message.content, message.type, message.user_id,
        parley.iso8601(message.created_at), parley.iso8601(message.updated_at)
$$;

create or replace function parley.message_version(message parley.messages) returns text
language sql stable as $$ select parley.iso8601(message.updated_at) $$;

create or replace function parley.find_message(chat_id text, message_id text) returns parley.messages
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    chat constant uuid := parley.select_chat(chat_id);
    message parley.messages;
begin
    select m.* into message from parley.messages m where m.chat_id = chat and m.id = parley.parse_uuid(message_id);
    if not found then
        perform parley.raise_not_found('Message');
    end if;
    return message;
end $$;

create or replace function parley.messages_before_insert() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    allocated constant record := parley.allocate_message(new.chat_id);
begin
    if allocated.id is not null then
        new.id := allocated.id;
        new.updated_at := rules.uuid7_timestamp(allocated.id);
        perform parley.record_event(new.chat_id, allocated.seq, 'message:sent', json_build_object(
            'id', new.id, 'content', new.content, 'type', new.type, 'userId', new.user_id,
            'createdAt', parley.iso8601(new.updated_at)), changed_at => new.updated_at,
            nonce => nullif(current_setting('request.nonce', true), ''));
        perform parley.advance_read_marker(new.chat_id, new.user_id, new.id);
        return new;
    elsif exists (select from parley.chats c where c.id = new.chat_id) then
        raise exception using errcode = 'foreign_key_violation', constraint = 'messages_chat_exists',
            message = 'the chat is being removed';
    end if;
    -- The chat does not exist. The columns are set so that the error is that of the foreign key, not of a null column.
    new.updated_at := parley.now_ms();
    new.id := parley.generate_uuid7(new.updated_at, 1);
    return new;
end $$;

create or replace function parley.messages_before_update() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    new_seq bigint;
begin
    new.updated_at := parley.next_updated_at(old.updated_at);
    update parley.chats c
    set seq = parley.next_seq(c), lineage = parley.write_lineage(), gap = parley.next_gap(c)
    where c.id = new.chat_id and not parley.is_being_removed(c) returning c.seq into new_seq;
    if found then
        perform parley.record_event(new.chat_id, new_seq, 'message:updated', json_build_object(
            'id', new.id,
            'updates', json_strip_nulls(json_build_object(
                'content', case when new.content is distinct from old.content then new.content end,
                'type', case when new.type is distinct from old.type then new.type end))), changed_at => new.updated_at);
    end if;
    return new;
end $$;

create or replace function parley.messages_reject_key_update() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    raise exception 'the primary key of a message cannot be updated: delete the row and insert another';
end $$;

create or replace function parley.messages_after_delete() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- Lock in a statement of its own: the next statement's snapshot then includes messages committed during the wait.
    perform from parley.chats c where c.id in (select d.chat_id from deleted_messages d) order by c.id for no key update;
    perform parley.update_counters_after_delete(d.chat_id, d.ids)
    from (select chat_id, array_agg(id) as ids from deleted_messages group by chat_id) d
        join parley.chats c on c.id = d.chat_id and not parley.is_being_removed(c);
    -- update_counters_after_delete() has advanced seq by the number of messages, so the last event gets the new seq.
    perform parley.record_event(d.chat_id, c.seq - d.later_count, 'message:deleted', to_json(d.id))
    from (
        select o.chat_id, o.id, row_number() over (partition by o.chat_id order by o.id desc) - 1 as later_count
        from deleted_messages o
    ) d join parley.chats c on c.id = d.chat_id and not parley.is_being_removed(c)
    order by d.chat_id, d.id;
    return null;
end $$;
