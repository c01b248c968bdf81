-- The hits of a search: the ids of the messages that match it, found by the GIN index of parley.message_words.
--
--   parley.search_chat           finds a page of the hits in the selected chat, newest first, and their total number
--   parley.search_chats          finds a page of the hits in all of the user's chats, newest first, and their total number
--   parley.search_by_relevance   finds a page of the hits in one chat or in all, by relevance, and their total number
--   parley.find_hits             finds all hits in one chat or in all of the user's chats
--   parley.find_hits_globally    searches the whole index, and keeps the hits in the user's chats
--   parley.find_hits_per_chat    finds them chat by chat
--   parley.find_hits_in_chat     finds all hits in one chat by the index
--   parley.slice_hits            the hits of a page
--   parley.max_scan_messages     the maximum number of messages to scan without the index
--   parley.max_scan_bytes        the maximum size of their words
--   parley.is_cheap_to_scan      whether the words of a range of messages are within that size
--   parley.is_hit                whether a message that the index returned matches the whole search, with its phrases
--   parley.is_hit_by_words       the same for a message whose positions do not fit into tsv
--
-- Under row-level security `tsv @@ query` cannot use the index, because that operator is not leakproof. So the three search_…
-- functions run as the tables' owner, filter by membership themselves, and return ids only. api.search() and api.list_messages() read the messages
-- with those ids under row-level security.
--
-- Pages have one id more than the page size if there are more hits: see parley.trim_page().

-- A short range is scanned. In a longer one the newest messages are scanned first: if they have enough hits for the page, the
-- hits in all of the range are only counted. Otherwise the index finds all hits.
--
-- The planner does not consider the size of a tsv. If it expects few messages in a chat, it would read all of them by the
-- primary key. With a high cpu_tuple_cost it uses the GIN index if it expects two or more. To scan a range nevertheless, the
-- queries below write `(… @@ …) is true`, which cannot use the GIN index.
create or replace function parley.search_chat(
    query parley.search_query, filter parley.message_filter, page_request parley.page_request, out ids uuid[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set cpu_tuple_cost = 100 set work_mem = '64MB' as $$
declare
    chat constant uuid := session.selected_chat();
    max_ids constant bigint := page_request.size + 1;
    scan_count constant bigint := 10 * (page_request.skip + max_ids);  -- messages: enough if one in ten is a hit
    max_scan_count constant bigint := 5000;  -- scanning more of them would take longer than the index
    max_bytes constant bigint := parley.max_scan_bytes();
    before_id constant uuid := least(filter.before_id, page_request.before_id);
    hits uuid[];
begin
    if parley.count_messages(chat, (null, filter.first_id, filter.before_id)::parley.message_filter) <= parley.max_scan_messages()
        and parley.is_cheap_to_scan(chat, filter)
    then
        hits := array(
            select w.id from parley.message_words w
            where w.chat_id = chat and w.id >= filter.first_id and w.id < filter.before_id
              and (w.tsv @@ query.index_query) is true and parley.is_hit(w.tsv, w.words, query)
              and (filter.type is null or w.type = filter.type)
            order by w.id desc);
    else
        if not page_request.is_ascending and scan_count <= max_scan_count then
            ids := array(
                select n.id from (
                    select w.*, sum(pg_column_size(w.tsv) + coalesce(pg_column_size(w.words), 0)) over (
                        order by w.id desc rows unbounded preceding) as bytes
                    from (
                        select m.id, m.type, m.tsv, m.words from parley.message_words m
                        where m.chat_id = chat and m.id >= filter.first_id and m.id < before_id
                        order by m.id desc limit scan_count) w) n
                where case when n.bytes <= max_bytes and (filter.type is null or n.type = filter.type)
                    then n.tsv @@ query.index_query and parley.is_hit(n.tsv, n.words, query) end
                order by n.id desc limit max_ids offset page_request.skip);
            if cardinality(ids) = max_ids then
                total := (select count(*) from parley.find_hits_in_chat(chat, query, filter));
                return;
            end if;
        end if;
        hits := array(select h.id from parley.find_hits_in_chat(chat, query, filter) h order by h.id desc);
    end if;
    total := cardinality(hits);
    ids := parley.slice_hits(hits, page_request);
end $$;

create or replace function parley.search_chats(
    query parley.search_query, filter parley.message_filter, page_request parley.page_request,
    out chats uuid[], out ids uuid[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '64MB' as $$
begin
    with hits as materialized (
        select h.chat_id, h.id from parley.find_hits(null, query, filter) h
    ), page as (
        select h.chat_id, h.id from hits h where h.id > page_request.after_id and h.id < page_request.before_id
        order by case when page_request.is_ascending then h.id end, h.id desc
        limit page_request.size + 1 offset page_request.skip
    )
    select array_agg(p.chat_id order by p.id desc), array_agg(p.id order by p.id desc), (select count(*) from hits)
    into chats, ids, total
    from page p;
end $$;

-- If `chat` is null, all of the user's chats are searched. Messages that have the whole search as one phrase come first, then
-- those with the highest ts_rank() with normalization 1, which divides by 1 + the logarithm of the length. Ranking reads each
-- tsv, so only the newest 10,000 hits are ranked and listed. `total` counts all hits.
create or replace function parley.search_by_relevance(
    chat uuid, query parley.search_query, filter parley.message_filter, page_request parley.page_request,
    out chats uuid[], out ids uuid[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '64MB' as $$
begin
    with hits as materialized (
        select h.chat_id, h.id from parley.find_hits(chat, query, filter) h
    ), newest as (
        select h.chat_id, h.id from hits h order by h.id desc limit 10000
    ), ranked as (
        select n.chat_id, n.id, row_number() over (
            order by case when w.words is null then w.tsv @@ query.verbatim_query
                    else strpos(w.words, query.verbatim_phrase) > 0 end desc,
                ts_rank(w.tsv, query.rank_query, 1) desc, n.id desc) as place
        from newest n cross join lateral (
            select m.tsv, m.words from parley.message_words m where m.chat_id = n.chat_id and m.id = n.id offset 0) w
    )
    select array_agg(r.chat_id order by r.place), array_agg(r.id order by r.place), (select count(*) from hits)
    into chats, ids, total
    from ranked r where r.place > page_request.skip and r.place <= page_request.skip + page_request.size + 1;
end $$;

-- If `chat` is null, all of the user's chats are searched: globally, if the index returns few candidates. Otherwise the cost of
-- searching chat by chat is estimated, in messages to read. It is the sum over the chats of chat_overhead plus the number of
-- messages, at most max_scan_messages(). A global search with up to that many candidates is tried first.
create or replace function parley.find_hits(chat uuid, query parley.search_query, filter parley.message_filter)
returns table (chat_id uuid, id uuid)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '64MB' as $$
#variable_conflict use_column
declare
    max_candidates constant integer := parley.max_scan_messages();
    chat_overhead constant integer := 20;  -- messages
    chats uuid[];
    ids uuid[];
    is_complete boolean := false;
    own_chats uuid[];
    per_chat_cost bigint;
begin
    if chat is null then
        select h.chats, h.ids, h.is_complete into chats, ids, is_complete
        from parley.find_hits_globally(query, filter, null, max_candidates) h;
    end if;
    if not is_complete then
        select array_agg(c.id), coalesce(sum(least(c.message_count, max_candidates) + chat_overhead), 0) into own_chats, per_chat_cost
        from parley.members m join parley.chats c on c.id = m.chat_id
        where m.user_id = session.user_id() and (chat is null or m.chat_id = chat);
        if chat is null and per_chat_cost > max_candidates then
            select h.chats, h.ids, h.is_complete into chats, ids, is_complete
            from parley.find_hits_globally(query, filter, own_chats, per_chat_cost) h;
        end if;
    end if;
    if is_complete then
        return query select h.chat_id, h.id from unnest(chats, ids) h (chat_id, id);
    else
        return query select h.chat_id, h.id from parley.find_hits_per_chat(own_chats, query, filter) h;
    end if;
end $$;

-- The candidates are the messages of all users that the index returns. If there are more than `max_candidates`, `is_complete` is
-- false and hits are missing. `own_chats` are the user's chats; if it is null, the membership in each candidate's chat is
-- looked up. Membership is checked first, so that TOASTed values of other users' messages are not read.
--
-- The limit also keeps the other conditions out of the index scan: the planner cannot estimate how few messages match, and
-- would rather scan the primary key. In a custom plan `own_chats` is a constant, so PostgreSQL hashes it for `= any (…)`.
create or replace function parley.find_hits_globally(
    query parley.search_query, filter parley.message_filter, own_chats uuid[], max_candidates bigint,
    out chats uuid[], out ids uuid[], out is_complete boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan set enable_seqscan = off set work_mem = '64MB' as $$
begin
    select count(*) <= max_candidates, array_agg(h.chat_id) filter (where h.is_hit), array_agg(h.id) filter (where h.is_hit)
    into is_complete, chats, ids
    from (
        select c.chat_id, c.id, case
            when filter.type <> c.type or c.id < filter.first_id or c.id >= filter.before_id then false
            when case when own_chats is not null then c.chat_id = any (own_chats) else exists (
                select from parley.members m where m.chat_id = c.chat_id and m.user_id = session.user_id() offset 0) end
            then parley.is_hit(c.tsv, c.words, query) end as is_hit
        from (
            select w.chat_id, w.id, w.type, w.tsv, w.words from parley.message_words w
            where w.tsv @@ query.index_query limit max_candidates + 1) c offset 0) h;
end $$;

-- The messages of a short chat are scanned by the primary key. All of them are read before the filter is applied, so it is the
-- size of the whole chat that counts.
create or replace function parley.find_hits_per_chat(chats uuid[], query parley.search_query, filter parley.message_filter)
returns table (chat_id uuid, id uuid)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set cpu_tuple_cost = 100 set work_mem = '64MB' as $$
#variable_conflict use_column
begin
    return query
    select c.id, w.id
    from (
        select c.id, case when c.message_count <= parley.max_scan_messages()
            then parley.is_cheap_to_scan(c.id, parley.parse_filter(null, null, null)) else false end as is_short
        from parley.chats c where c.id = any (chats) offset 0) c
    cross join lateral (
        (select w.id, w.type, w.tsv, w.words from parley.message_words w
        where c.is_short and w.chat_id = c.id and (w.tsv @@ query.index_query) is true offset 0)
        union all
        (select w.id, w.type, w.tsv, w.words from parley.message_words w
        where not c.is_short and w.chat_id = c.id and w.tsv @@ query.index_query offset 0)) w
    where parley.is_hit(w.tsv, w.words, query) and w.id >= filter.first_id and w.id < filter.before_id
      and (filter.type is null or w.type = filter.type);
end $$;

-- The caller has checked that the user is in the chat. The function has no settings of its own, so that it is inlined.
create or replace function parley.find_hits_in_chat(chat uuid, query parley.search_query, filter parley.message_filter)
returns table (id uuid)
language sql stable as $$
    select c.id
    from (
        select w.id, w.type, w.tsv, w.words from parley.message_words w
        where w.chat_id = chat and w.tsv @@ query.index_query offset 0) c
    where parley.is_hit(c.tsv, c.words, query) and c.id >= filter.first_id and c.id < filter.before_id
      and (filter.type is null or c.type = filter.type)
$$;

-- `hits` are all hits, newest first. Returns one more than the page has, if there is one.
create or replace function parley.slice_hits(hits uuid[], page_request parley.page_request) returns uuid[]
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    skip constant bigint := least(page_request.skip, cardinality(hits));
begin
    if page_request.number is not null then
        return hits[skip + 1 : skip + page_request.size + 1];
    end if;
    return array(
        select p.id from (
            select h.id from unnest(hits) h (id) where h.id > page_request.after_id and h.id < page_request.before_id
            order by case when page_request.is_ascending then h.id end, h.id desc limit page_request.size + 1) p
        order by p.id desc);
end $$;

create or replace function parley.max_scan_messages() returns integer
language sql immutable parallel safe as $$ select 1000 $$;

-- The number of messages alone does not bound the time of a scan: one message may be a thousand times as long as another.
create or replace function parley.max_scan_bytes() returns bigint
language sql immutable parallel safe as $$ select 1000000::bigint $$;

-- The size of an out-of-line value is in its pointer, so pg_column_size() does not read the value.
create or replace function parley.is_cheap_to_scan(chat uuid, filter parley.message_filter) returns boolean
language sql stable as $$
    select coalesce(sum(pg_column_size(w.tsv) + coalesce(pg_column_size(w.words), 0)), 0) <= parley.max_scan_bytes()
    from parley.message_words w
    where w.chat_id = chat and w.id >= filter.first_id and w.id < filter.before_id
$$;

-- `words` is null for a message whose positions all fit into `tsv`.
create or replace function parley.is_hit(tsv tsvector, words text, query parley.search_query) returns boolean
language sql immutable parallel safe as $$
    select query.phrases is null or case
        when words is null then tsv @@ query.tsv_query
        else parley.is_hit_by_words(tsv, words, query) end
$$;

-- `matched_phrases` has the numbered lexeme of each phrase in the text: see parley.parse_search(). Usually the phrases are
-- sufficient to decide. Only if they are not, `tsv`, which is expensive to read, is searched for the other terms.
create or replace function parley.is_hit_by_words(tsv tsvector, words text, query parley.search_query) returns boolean
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    source constant text := words || '';  -- copied, so that the out-of-line value is read once
    lexemes text[] := '{}';
    matched_phrases tsvector;
begin
    for number in 1 .. cardinality(query.phrases) loop
        if strpos(source, query.phrases[number]) > 0 then
            lexemes := lexemes || ('"' || number);
        end if;
    end loop;
    matched_phrases := array_to_tsvector(lexemes);
    return case
        when matched_phrases @@ query.sufficient_query then true
        when not matched_phrases @@ query.necessary_query then false
        else (tsv || matched_phrases) @@ query.phrase_query end;
end $$;
