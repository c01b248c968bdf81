-- Search: what people type, found in one chat or in all of theirs.
--
--   api.search                    GET /api/search
--   parley.filter_problems        what is wrong with type, search, startDate and endDate in a query
--   parley.sort_problems          … and with sort
--   parley.parse_filter           the messages that they let through
--   parley.search_chat            the ids of one page of hits in the entered chat, newest first, and how many there are
--   parley.search_chats           the same in all of the user's chats
--   parley.search_ranked          … with the most relevant first
--   parley.find_hits              the hits in some chats
--   parley.look_up                … by the index
--   parley.look_up_in_chat        … in one chat
--   parley.page_of_hits           a page of them
--   parley.hit_json               a hit as answers have it
--   parley.messages_words         trigger: the words of a new or changed message
--   parley.messages_words_gone    trigger: … of deleted ones
--
-- Under row-level security `tsv @@ query` can't use the index, since that operator is not leakproof. So the ids are
-- found here, where membership is checked once and the index is used; the messages themselves are then read by these
-- ids under row-level security.

create or replace function api.search(
    page text default null, "limit" text default null, type text default null,
    search text default null, start_date text default null, end_date text default null,
    sort text default null, before text default null, after text default null) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
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
comment on function api.search(text, text, text, text, text, text, text, text, text) is
    'Messages of all of the user''s chats that have what people type into a search box: {"messages": [{"id", "chatId", "content", "type", "userId", "createdAt", "updatedAt", "extract"}], "total", "page", "limit"}. extract is HTML, in which <mark> marks what was found. The parameters are those of list_messages; search is required.';

create or replace function parley.hit_json(message parley.messages, marks tsquery) returns json
language sql stable as $$
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

create or replace function parley.filter_problems(type text, search text, start_date text, end_date text) returns jsonb
language sql stable parallel safe as $$
    select jsonb_build_object(
        'type', rules.problem('type', type),
        'search', rules.problem('search', search),
        'startDate', parley.instant_problem(start_date),
        'endDate', parley.instant_problem(end_date))
$$;

create or replace function parley.sort_problems(sort text, search text, before text, after text) returns jsonb
language sql stable parallel safe as $$
    select jsonb_build_object('sort', case
        when rules.problem('sort', sort) is not null then rules.problem('sort', sort)
        when sort = 'relevance' and rules.is_blank(search) is not false then 'needs a search'
        when sort = 'relevance' and coalesce(before, after) is not null then 'can''t go with before or after' end)
$$;

create or replace function parley.parse_filter(type text, start_date text, end_date text) returns parley.filter
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    return (
        type,
        case when start_date is null then '00000000-0000-0000-0000-000000000000'
            else parley.uuid7_from(parley.parse_instant(start_date)) end,
        case when end_date is null then 'ffffffff-ffff-ffff-ffff-ffffffffffff'
            else parley.uuid7_from(parley.end_of(end_date)) end)::parley.filter;
end $$;

-- A short range is read through. Else, where the newest messages have enough hits for the page, the others are only counted.
create or replace function parley.search_chat(
    query tsquery, wanted parley.filter, asked parley.page, out ids uuid[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '64MB' as $$
declare
    chat constant uuid := session.chat_id();
    size constant bigint := asked.size + 1;
    near constant bigint := 10 * (asked.skip + size);
    before_id constant uuid := least(wanted.before_id, asked.before_id);
    hits uuid[];
begin
    if parley.count_messages(chat, (null, wanted.first_id, wanted.before_id)::parley.filter) <= 1000 then
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

-- Newest first, and one more than asked for where there is one.
create or replace function parley.page_of_hits(hits uuid[], asked parley.page) returns uuid[]
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
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

create or replace function parley.search_chats(
    query tsquery, wanted parley.filter, asked parley.page, out chats uuid[], out ids uuid[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '64MB' as $$
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

-- In one chat or, without it, in all. The words as a phrase before all, then by how often and how exactly they are there. Of
-- many hits the newest are ranked.
create or replace function parley.search_ranked(
    only_chat uuid, query tsquery, marks tsquery, phrase tsquery, wanted parley.filter, asked parley.page,
    out chats uuid[], out ids uuid[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '64MB' as $$
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

-- In one chat of the user's or, without it, in all. Few hits, as one partition's tell, are looked up in the memberships.
-- Many are found by the index over everybody's messages or chat by chat, whichever reads less. Only a plan for these very
-- chats looks them up in a hash.
create or replace function parley.find_hits(only_chat uuid, query tsquery, wanted parley.filter)
returns table (chat_id uuid, id uuid)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan set enable_seqscan = off set work_mem = '64MB' as $$
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

-- Hits by the index. "offset 0" keeps the other conditions out of the look-up by words: the planner can't know how few hits
-- there are, and would rather walk the primary key. Without settings of their own, these two become a part of what calls them.
create or replace function parley.look_up(query tsquery, wanted parley.filter) returns table (chat_id uuid, id uuid)
language sql stable as $$
    select f.chat_id, f.id
    from (select w.chat_id, w.id, w.type from parley.message_words w where w.tsv @@ query offset 0) f
    where f.id >= wanted.first_id and f.id < wanted.before_id and (wanted.type is null or f.type = wanted.type)
$$;

create or replace function parley.look_up_in_chat(chat uuid, query tsquery, wanted parley.filter) returns table (id uuid)
language sql stable as $$
    select f.id
    from (select w.id, w.type from parley.message_words w where w.chat_id = chat and w.tsv @@ query offset 0) f
    where f.id >= wanted.first_id and f.id < wanted.before_id and (wanted.type is null or f.type = wanted.type)
$$;

create or replace function parley.messages_words() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    vector constant tsvector := rules.search_vector(new.content);
begin
    if tg_op = 'INSERT' then  -- a new id is in no conflict, to be ready for which costs as much as half of the row
        insert into parley.message_words (chat_id, id, type, tsv) values (new.chat_id, new.id, new.type, vector);
        return null;
    end if;
    insert into parley.message_words (chat_id, id, type, tsv) values (new.chat_id, new.id, new.type, vector)
    on conflict (chat_id, id) do update set type = excluded.type, tsv = excluded.tsv;
    return null;
end $$;

create or replace function parley.messages_words_gone() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from parley.message_words w using gone g where w.chat_id = g.chat_id and w.id = g.id;
    return null;
end $$;
