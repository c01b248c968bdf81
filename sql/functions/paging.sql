-- Pagination: by page number, or by keyset from the id in `before` or `after`. Lists are newest first.
--
--   parley.page_errors               the errors of page, limit, before and after
--   parley.around_errors             the errors of around, and of the parameters that it excludes
--   parley.parse_page                the page request of page, limit, before and after
--   parley.has_more                  whether more rows were read than the page has
--   parley.trim_page                 cuts the rows that were read to those of the page
--   parley.set_response_links        sets the response header Link to the neighbouring pages
--   parley.find_page_around          the page request of the page around a message of the selected chat
--   parley.find_message_page         the ids of a page of the selected chat's messages, and their total number
--   parley.skip_blocks               skips messages, block by block
--   parley.count_messages            counts the messages of a chat that match a filter, by blocks
--   parley.count_messages_in_range   counts them by reading an index
--
-- Queries read one row more than the page has, to detect whether there are more. counters.sql maintains the blocks: each has
-- the number of messages in a range of ids. A page far from the newest message is found by skipping whole blocks.

create or replace function parley.page_errors(page text, "limit" text, before text, after text) returns jsonb
language sql stable parallel safe as $$
    select jsonb_build_object(
        'page', case when coalesce(before, after) is not null and page is not null then 'cannot be combined with before or after'
            else parley.number_error('page', page) end,
        'limit', parley.number_error('limit', "limit"),
        'before', case when parley.parse_uuid(before) is null and before is not null then 'must be an id' end,
        'after', case when parley.parse_uuid(after) is null and after is not null then 'must be an id'
            when before is not null and after is not null then 'cannot be combined with before' end)
$$;

create or replace function parley.around_errors(
    around text, page text, search text, sort text, before text, after text) returns jsonb
language sql immutable parallel safe as $$
    select case when around is null then '{}' else jsonb_strip_nulls(jsonb_build_object(
        'around', case when parley.parse_uuid(around) is null then 'must be an id' end,
        'page', case when page is not null then 'cannot be combined with around' end,
        'search', case when search is not null then 'cannot be combined with around' end,
        'sort', case when sort is not null then 'cannot be combined with around' end,
        'before', case when before is not null then 'cannot be combined with around' end,
        'after', case when after is not null then 'cannot be combined with around' end)) end
$$;

create or replace function parley.parse_page(page text, "limit" text, before text, after text) returns parley.page_request
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    page_request parley.page_request;
begin
    page_request.number := case when coalesce(before, after) is null then coalesce(page, '1')::bigint end;
    page_request.size := coalesce("limit", '50');
    page_request.skip := coalesce((page_request.number - 1) * page_request.size, 0);
    page_request.after_id := coalesce(after, '00000000-0000-0000-0000-000000000000');
    page_request.before_id := coalesce(before, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
    page_request.is_ascending := after is not null;
    return page_request;
end $$;

create or replace function parley.has_more(page_request parley.page_request, ids anyarray) returns boolean
language sql immutable parallel safe as $$ select coalesce(cardinality(ids) > page_request.size, false) $$;

-- `ids` are in the order of the list, with the additional one: the last or, in a page that is_ascending, the first.
create or replace function parley.trim_page(page_request parley.page_request, ids anyarray) returns anyarray
language sql immutable parallel safe as $$
    select case
        when not parley.has_more(page_request, ids) then coalesce(ids, '{}')
        when page_request.is_ascending then ids[2:]
        else ids[:page_request.size] end
$$;

-- `ids` are the argument of trim_page(). The JSON maps each relation to the query parameters that change. After a page by
-- `before` there is always a newer one, and after a page by `after` an older one, unless `after` is the least id, as in a page
-- around one of the oldest messages. In a list that is oldest first, `before` and `after` are exchanged.
create or replace function parley.set_response_links(
    page_request parley.page_request, ids anyarray, sort text default null, is_oldest_first boolean default false) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    has_more constant boolean := parley.has_more(page_request, ids);
    page_ids constant ids%type := parley.trim_page(page_request, ids);
    next json;
    prev json;
begin
    if sort = 'relevance' then
        next := case when has_more then json_build_object('page', page_request.number + 1) end;
        prev := case when page_request.number > 1 then json_build_object('page', page_request.number - 1) end;
    elsif page_ids <> '{}' then
        next := case when case when page_request.is_ascending
                then is_oldest_first or page_request.after_id <> '00000000-0000-0000-0000-000000000000' else has_more end
            then json_build_object(case when is_oldest_first then 'after' else 'before' end, page_ids[cardinality(page_ids)]) end;
        prev := case when has_more and page_request.is_ascending
                or not page_request.is_ascending and page_request.number is distinct from 1
            then json_build_object(case when is_oldest_first then 'before' else 'after' end, page_ids[1]) end;
    end if;
    perform set_config('response.links',
        json_strip_nulls(json_build_object('next', next, 'prev', prev, 'first', json_build_object()))::text, true);
end $$;

-- Returns the page after the newest message that is too old for it. Half of the page is newer than the message. If either side
-- has too few messages, the other side has more.
create or replace function parley.find_page_around(
    message_id uuid, filter parley.message_filter, page_request parley.page_request) returns parley.page_request
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
    others constant bigint := page_request.size - 1;
    nearest parley.page_request := (null, others, 0, message_id, page_request.before_id, true)::parley.page_request;
    newer uuid[];
    older uuid[];
begin
    newer := (select p.ids from parley.find_message_page(filter, nearest) p);
    nearest := (null, others, 0, page_request.after_id, message_id, false)::parley.page_request;
    older := (select p.ids from parley.find_message_page(filter, nearest) p);
    page_request.number := null;
    page_request.skip := 0;
    page_request.is_ascending := true;
    page_request.after_id := coalesce(
        older[others - least(cardinality(newer), others / 2) + 1], '00000000-0000-0000-0000-000000000000');
    return page_request;
end $$;

-- Messages of one type are ordered by (type, id), an order that only the index messages_type has: ordered by id, PostgreSQL
-- might choose the primary key, and read all of a chat to find a rare type.
create or replace function parley.find_message_page(
    filter parley.message_filter, page_request parley.page_request, out ids uuid[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_sort = off as $$
declare
    chat constant uuid := session.selected_chat();
    max_ids constant bigint := page_request.size + 1;
    before_id uuid := least(filter.before_id, page_request.before_id);
    skip bigint := page_request.skip;
begin
    total := parley.count_messages(chat, filter);
    if skip > 1000 then  -- about one block
        select s.before_id, s.skip into before_id, skip
        from parley.skip_blocks(chat, (filter.type, filter.first_id, before_id)::parley.message_filter, skip) s;
    end if;
    if page_request.is_ascending then
        ids := array(
            select p.id from (
                (select m.id from parley.messages m
                where filter.type is null and m.chat_id = chat
                  and m.id >= filter.first_id and m.id < before_id and m.id > page_request.after_id
                order by m.id limit max_ids)
                union all
                (select m.id from parley.messages m
                where filter.type is not null and m.chat_id = chat and m.id > page_request.after_id
                  and (m.type, m.id) >= (filter.type, greatest(filter.first_id, page_request.after_id))
                  and (m.type, m.id) < (filter.type, before_id)
                order by m.type, m.id limit max_ids)
            ) p order by p.id desc);
    elsif filter.type is null then
        ids := array(
            select m.id from parley.messages m
            where m.chat_id = chat and m.id >= filter.first_id and m.id < before_id
            order by m.id desc limit max_ids offset skip);
    else
        ids := array(
            select m.id from parley.messages m
            where m.chat_id = chat
              and (m.type, m.id) >= (filter.type, filter.first_id) and (m.type, m.id) < (filter.type, before_id)
            order by m.type desc, m.id desc limit max_ids offset skip);
    end if;
end $$;

-- Returns the id before which to read on, and how many messages are still to be skipped there.
create or replace function parley.skip_blocks(chat uuid, filter parley.message_filter, inout skip bigint, out before_id uuid)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    block record;
    newer bigint;  -- matching messages that are newer than the newest block
begin
    before_id := filter.before_id;
    for block in
        select b.first_id, b.before_id, case
            when filter.type is null then b.messages
            else coalesce((b.by_type ->> filter.type)::integer, 0) end as messages
        from parley.message_blocks b
        where b.chat_id = chat and b.first_id >= filter.first_id and b.first_id < filter.before_id
          and b.before_id <= filter.before_id
        order by b.first_id desc
    loop
        if newer is null then
            newer := case when filter is distinct from parley.parse_filter(null, null, null)
                then parley.count_messages_in_range(chat, (filter.type, block.before_id, filter.before_id)::parley.message_filter)
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

-- Without a filter, the count is the chat's message_count. With a filter, it is the sum of the whole blocks in the filter's
-- range and of the messages on either side of them.
create or replace function parley.count_messages(chat uuid, filter parley.message_filter) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    blocks record;
begin
    if filter is not distinct from parley.parse_filter(null, null, null) then
        return (select c.message_count from parley.chats c where c.id = chat);
    end if;
    select (array_agg(b.first_id order by b.first_id))[1] as first_id,
        (array_agg(b.before_id order by b.first_id desc))[1] as before_id,
        sum(case when filter.type is null then b.messages else (b.by_type ->> filter.type)::integer end) as messages
    into blocks
    from parley.message_blocks b
    where b.chat_id = chat and b.first_id >= filter.first_id and b.first_id < filter.before_id
      and b.before_id <= filter.before_id;
    if blocks.first_id is null then
        return parley.count_messages_in_range(chat, filter);
    end if;
    return coalesce(blocks.messages, 0)
        + parley.count_messages_in_range(chat, (filter.type, filter.first_id, blocks.first_id)::parley.message_filter)
        + parley.count_messages_in_range(chat, (filter.type, blocks.before_id, filter.before_id)::parley.message_filter);
end $$;

create or replace function parley.count_messages_in_range(chat uuid, filter parley.message_filter) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    if filter.type is null then
        return (
            select count(*) from parley.messages m
            where m.chat_id = chat and m.id >= filter.first_id and m.id < filter.before_id);
    end if;
    return (
        select count(*) from parley.messages m
        where m.chat_id = chat and m.type = filter.type and m.id >= filter.first_id and m.id < filter.before_id);
end $$;
