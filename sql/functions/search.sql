-- Full-text search: the API's function, and the query parameters that it shares with api.list_messages.
--
--   api.search               GET /api/search: the matching messages of all of the user's chats
--   parley.find_hit_page     finds a page of hits, and their total number
--   parley.hit_json          a matching message with its snippet, as JSON
--   parley.filter_errors     the errors of the parameters type, search, startDate and endDate
--   parley.operators_error   the error of a search with too many operators, or null
--   parley.sort_errors       the error of the parameter sort
--   parley.parse_filter      the filter that the parameters type, startDate and endDate stand for
--
-- A search is parsed in search_query.sql, the ids of its hits are found in search_hits.sql, and the hits are marked in
-- snippets.sql. search_index.sql maintains the words that are searched.

-- Finding a hit in a message may take several attempts. Beyond `snippet_budget` characters of content, the other messages of the
-- page get fewer, so that a page of long messages is not much more expensive than one of short ones.
create or replace function api.search(
    page text default null, "limit" text default null, type text default null,
    search text default null, start_date text default null, end_date text default null,
    sort text default null, before text default null, after text default null, include text default null) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    snippet_budget constant integer := 100000;  -- characters
    page_request parley.page_request;
    highlight parley.highlight;
    chats uuid[];
    ids uuid[];
    total bigint;
    response json;
begin
    perform parley.raise_invalid(parley.filter_errors(type, search, start_date, end_date)
        || parley.page_errors(page, "limit", before, after) || parley.sort_errors(sort, search, before, after)
        || jsonb_strip_nulls(jsonb_build_object('search', case
            when search is null then 'is required'
            when rules.is_blank(search) then 'must not be blank' end))
        || jsonb_build_object('include', parley.include_error(include, '{users,etag}')));
    page_request := parley.parse_page(page, "limit", before, after);
    select h.chats, h.ids, h.total into chats, ids, total
    from parley.find_hit_page(null, search, sort, parley.parse_filter(type, start_date, end_date), page_request) h;
    highlight := parley.parse_highlight(search);
    perform parley.set_response_links(page_request, ids, sort);
    chats := parley.trim_page(page_request, chats);
    ids := parley.trim_page(page_request, ids);
    perform session.set_selected_chats(chats);
    response := json_build_object(
        'messages', (
            select coalesce(json_agg(parley.hit_json(h.message, highlight, h.characters <= snippet_budget) order by h.place), '[]')
            from (
                select m.message, p.place, sum(char_length((m.message).content)) over (order by p.place) as characters
                from unnest(chats, ids) with ordinality p (chat_id, id, place)
                cross join lateral (
                    select m as message from parley.messages m where m.chat_id = p.chat_id and m.id = p.id offset 0) m) h),
        'total', total,
        'page', page_request.number,
        'limit', page_request.size);
    if include is not null then
        return parley.add_included_fields(response, include, chats, ids);
    end if;
    return response;
end $$;
comment on function api.search(text, text, text, text, text, text, text, text, text, text) is
    'Searches the messages of all of the user''s chats, newest first or by relevance: {"messages": [{"id", "chatId", "content", "type", "userId", "createdAt", "updatedAt", "extract"}], "total", "page", "limit"}. extract is a snippet of the content as HTML, in which <mark> marks the hits. The parameters are those of list_messages; search is required. include lists users, which adds "users": [{"id", "name", "imageUrl"}], the authors; and etag, which adds "etag" to each message. Raises PT400 if a parameter is invalid.';

-- If `chat` is null, all of the user's chats are searched; otherwise `chat` is the selected one, and `chats` may be null.
create or replace function parley.find_hit_page(
    chat uuid, search text, sort text, filter parley.message_filter, page_request parley.page_request,
    out chats uuid[], out ids uuid[], out total bigint)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    query constant parley.search_query := parley.parse_search(search);
begin
    if sort = 'relevance' then
        select f.chats, f.ids, f.total into chats, ids, total
        from parley.search_by_relevance(chat, query, filter, page_request) f;
    elsif chat is null then
        select f.chats, f.ids, f.total into chats, ids, total from parley.search_chats(query, filter, page_request) f;
    else
        select f.ids, f.total into ids, total from parley.search_chat(query, filter, page_request) f;
    end if;
end $$;

create or replace function parley.hit_json(message parley.messages, highlight parley.highlight, is_within_budget boolean)
returns json
language sql stable as $$
    select json_build_object(
        'id', message.id,
        'chatId', message.chat_id,
        'content', message.content,
        'type', message.type,
        'userId', message.user_id,
        'createdAt', parley.iso8601(message.created_at),
        'updatedAt', parley.iso8601(message.updated_at),
        'extract', parley.snippet(message.content, highlight, is_within_budget))
$$;

create or replace function parley.filter_errors(type text, search text, start_date text, end_date text) returns jsonb
language sql stable parallel safe as $$
    select jsonb_build_object(
        'type', rules.validation_error('type', type),
        'search', coalesce(rules.validation_error('search', search), parley.operators_error(search)),
        'startDate', parley.timestamp_error(start_date),
        'endDate', parley.timestamp_error(end_date))
$$;

-- Limited because each "or" and each "-" may cost as much as another search.
create or replace function parley.operators_error(search text) returns text
language sql immutable parallel safe as $$
    select case when regexp_count(search, '(?:^|\s)(?:or(?!\S)|-[^\s-])', 1, 'i') > 20
        then 'must use "or" and "-" at most 20 times' end
$$;

create or replace function parley.sort_errors(sort text, search text, before text, after text) returns jsonb
language sql stable parallel safe as $$
    select jsonb_build_object('sort', case
        when rules.validation_error('sort', sort) is not null then rules.validation_error('sort', sort)
        when sort = 'relevance' and rules.is_blank(search) is not false then 'requires search'
        when sort = 'relevance' and coalesce(before, after) is not null then 'cannot be combined with before or after' end)
$$;

-- Without dates, the bounds are those of all UUIDs.
create or replace function parley.parse_filter(type text, start_date text, end_date text) returns parley.message_filter
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    return (
        type,
        case when start_date is null then '00000000-0000-0000-0000-000000000000'
            else parley.min_uuid7(parley.parse_timestamp(start_date)) end,
        case when end_date is null then 'ffffffff-ffff-ffff-ffff-ffffffffffff'
            else parley.min_uuid7(parley.parse_end_date(end_date)) end)::parley.message_filter;
end $$;
