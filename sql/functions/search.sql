-- Search: what people type, found in one chat or in all of theirs.
--
--   api.search               GET /api/search
--   parley.hit_json          a hit as answers have it
--   parley.filter_errors     what is wrong with type, search, startDate and endDate in a query
--   parley.operators_error   … with the number of "or" and "-" in a search
--   parley.sort_errors       … and with sort
--   parley.parse_filter      the messages that they let through

create or replace function api.search(
    page text default null, "limit" text default null, type text default null,
    search text default null, start_date text default null, end_date text default null,
    sort text default null, before text default null, after text default null) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
    max_letters constant integer := 100000;  -- of messages for which more is done than usual to find what to mark
    wanted parley.message_filter;
    asked parley.page_request;
    parsed parley.search_query;
    highlight parley.highlight;
    chats uuid[];
    ids uuid[];
    total bigint;
begin
    perform parley.raise_invalid(parley.filter_errors(type, search, start_date, end_date)
        || parley.page_errors(page, "limit", before, after) || parley.sort_errors(sort, search, before, after)
        || jsonb_strip_nulls(jsonb_build_object('search', case
            when search is null then 'is required'
            when rules.is_blank(search) then 'must not be blank' end)));
    wanted := parley.parse_filter(type, start_date, end_date);
    asked := parley.parse_page(page, "limit", before, after);
    parsed := parley.parse_search(search);
    if sort = 'relevance' then
        select f.chats, f.ids, f.total into chats, ids, total from parley.search_by_relevance(null, parsed, wanted, asked) f;
    else
        select f.chats, f.ids, f.total into chats, ids, total from parley.search_chats(parsed, wanted, asked) f;
    end if;
    highlight := parley.parse_highlight(search);
    perform parley.set_response_links(asked, ids, sort);
    perform session.select_chats(chats);
    return json_build_object(
        'messages', (
            select coalesce(json_agg(parley.hit_json(h.message, highlight, h.letters <= max_letters) order by h.place), '[]')
            from (
                select m.message, p.place, sum(char_length((m.message).content)) over (order by p.place) as letters
                from unnest(parley.trim_page(asked, ids)) with ordinality p (id, place)
                cross join lateral (
                    select m as message from parley.messages m
                    where m.chat_id = chats[array_position(ids, p.id)] and m.id = p.id offset 0) m) h),
        'total', total,
        'page', asked.number,
        'limit', asked.size);
end $$;
comment on function api.search(text, text, text, text, text, text, text, text, text) is
    'Messages of all of the user''s chats that have what people type into a search box: {"messages": [{"id", "chatId", "content", "type", "userId", "createdAt", "updatedAt", "extract"}], "total", "page", "limit"}. extract is HTML, in which <mark> marks what was found. The parameters are those of list_messages; search is required.';

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

-- Each "or" and "-" may be as expensive as a search of its own.
create or replace function parley.operators_error(search text) returns text
language sql immutable parallel safe as $$
    select case when regexp_count(search, '(?:^|\s)(?:or(?!\S)|-[^\s-])', 1, 'i') > 20
        then 'must use "or" and "-" at most 20 times' end
$$;

create or replace function parley.sort_errors(sort text, search text, before text, after text) returns jsonb
language sql stable parallel safe as $$
    select jsonb_build_object('sort', case
        when rules.validation_error('sort', sort) is not null then rules.validation_error('sort', sort)
        when sort = 'relevance' and rules.is_blank(search) is not false then 'needs a search'
        when sort = 'relevance' and coalesce(before, after) is not null then 'can''t go with before or after' end)
$$;

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
