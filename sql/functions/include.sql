-- The query parameter include: optional fields of a response, as a list of names such as `users,etag`.
--
--   parley.include_error         the error of the parameter, or null
--   parley.is_included           whether the parameter lists a name
--   parley.add_field             appends a field to a JSON object
--   parley.add_etags             appends the entity tag of its version to each object of an array
--   parley.add_included_fields   adds the fields that the parameter lists to a page of messages
--   parley.authors_json          the authors of messages in the selected chats
--   parley.public_user_json      formats what other users may see of a user
--   parley.users_json            users with name and image; for functions that run as the tables' owner
--
-- Users can read names and images only of users with whom they share a chat, and of authors of messages in their chats. The API's
-- role therefore passes ids of messages, not of users: parley.authors_json() reads the authors from messages that the user may
-- read, and only functions that derive the ids in the same way may call parley.users_json().

-- An empty list includes nothing.
create or replace function parley.include_error(include text, allowed text[]) returns text
language sql immutable parallel safe as $$
    select case when not n.names <@ allowed or cardinality(n.names) > (select count(distinct name) from unnest(n.names) name)
        then 'must be a comma-separated list of: ' || array_to_string(allowed, ', ') || '; each at most once' end
    from (select string_to_array(include, ',')) n (names)
$$;

create or replace function parley.is_included(include text, name text) returns boolean
language sql immutable parallel safe as $$
    select coalesce(name = any (string_to_array(include, ',')), false)
$$;

-- Keeps the text of the object, because json_build_object() would format its values again and jsonb would reorder them. The object
-- must have a field already.
create or replace function parley.add_field(object json, field text, value json) returns json
language sql immutable parallel safe as $$
    select (left(object::text, -1) || ', "' || field || '" : ' || value::text || '}')::json
$$;

-- `versions` has the version of each item. A change of the item needs the same entity tag in If-Match.
create or replace function parley.add_etags(items json, versions text[]) returns json
language sql stable as $$
    select coalesce(json_agg(parley.add_field(i.item, 'etag', to_json(parley.etag(i.version))) order by i.place), '[]')
    from rows from (json_array_elements(items), unnest(versions)) with ordinality i (item, version, place)
$$;

-- `page` is a page of messages. `chats` and `ids` identify its messages, in their order.
create or replace function parley.add_included_fields(page json, include text, chats uuid[], ids uuid[]) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
    versions text[];
begin
    if parley.is_included(include, 'etag') then
        versions := array(
            select parley.message_version(m.message)
            from unnest(chats, ids) with ordinality p (chat_id, id, place) cross join lateral (
                select o as message from parley.messages o where o.chat_id = p.chat_id and o.id = p.id offset 0) m
            order by p.place);
        page := json_build_object('messages', parley.add_etags(page -> 'messages', versions),
            'total', page -> 'total', 'page', page -> 'page', 'limit', page -> 'limit');
    end if;
    if parley.is_included(include, 'users') then
        page := parley.add_field(page, 'users', parley.authors_json(chats, ids));
    end if;
    return page;
end $$;

-- `chats` has the chat of each of the ids. Messages of other chats than the selected ones, of which the user is a member, are
-- skipped.
create or replace function parley.authors_json(chats uuid[], ids uuid[]) returns json
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
begin
    return parley.users_json(array(
        select m.user_id
        from unnest(chats, ids) p (chat_id, id) cross join lateral (
            select o.user_id from parley.messages o where o.chat_id = p.chat_id and o.id = p.id offset 0) m
        where p.chat_id = (select session.selected_chat()) or p.chat_id = any ((select session.selected_chats())::uuid[])));
end $$;

-- Lists each user once, in the order of the ids. A deleted user has neither name nor image.
create or replace function parley.users_json(ids text[]) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
begin
    return (
        select coalesce(json_agg(
            parley.public_user_json(i.id, u.name, u.image) order by i.id collate "C"), '[]')
        from (select distinct n.id from unnest(ids) n (id) where n.id is not null) i
            left join next_auth.users u on u.id = i.id);
end $$;

-- The web app may store longer values, and the image itself as a data URL. They would not fit into an event.
create or replace function parley.public_user_json(id text, name text, image text) returns json
language sql stable as $$
    select json_build_object('id', id, 'name', left(name, 100), 'imageUrl', case when length(image) <= 2000 then image end)
$$;
