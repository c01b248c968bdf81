-- The hits of a search, by the index of parley.message_words.
--
--   parley.search_chat                   the ids of one page of hits in the entered chat, newest first, and how many there are
--   parley.search_chats                  the same in all of the user's chats
--   parley.search_by_relevance           … with the most relevant first
--   parley.find_hits                     the hits in one chat or in all of the user's
--   parley.find_hits_anywhere            … in all, by the index over everybody's messages
--   parley.find_hits_by_chat             … chat by chat
--   parley.find_hits_by_index            … in one chat, by the index
--   parley.is_cheap_to_scan              whether a range of messages is read through rather than looked up
--   parley.find_hit_page                 a page of them
--   parley.has_phrases                   whether a message that the index gives has the phrases, too
--   parley.has_phrases_in_words          … of one that is too long for the index to hold all positions
--   parley.messages_after_write_words    trigger: the words of a new or changed message
--   parley.messages_after_delete_words   trigger: … of deleted ones
--
-- Under row-level security `tsv @@ query` can't use the index, since that operator is not leakproof. So the ids are
-- found here, where membership is checked once and the index is used; the messages themselves are then read by these
-- ids under row-level security.

-- The planner does not account for the length of tsv, and where it expects few messages in a chat would read all of them by the
-- primary key. With a high cpu_tuple_cost it uses the index of words as soon as it expects two.
--
-- A short range is read through. Else, where the newest messages have enough hits for the page, the others are only counted.
create or replace function parley.search_chat(
    search parley.search_query, wanted parley.message_filter, asked parley.page_request, out ids uuid[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set cpu_tuple_cost = 100 set work_mem = '64MB' as $$
declare
    chat constant uuid := session.selected_chat();
    size constant bigint := asked.size + 1;
    near constant bigint := 10 * (asked.skip + size);
    max_bytes constant bigint := parley.max_bytes_read_through();
    before_id constant uuid := least(wanted.before_id, asked.before_id);
    hits uuid[];
begin
    if parley.count_messages(chat, (null, wanted.first_id, wanted.before_id)::parley.message_filter) <= 1000
        and parley.is_cheap_to_scan(chat, wanted)
    then
        hits := array(
            select w.id from parley.message_words w
            where w.chat_id = chat and w.id >= wanted.first_id and w.id < wanted.before_id
              and (w.tsv @@ search.index_query) is true and parley.has_phrases(w.tsv, w.words, search)
              and (wanted.type is null or w.type = wanted.type)
            order by w.id desc);
    else
        if not asked.is_ascending and near <= 5000 then
            ids := array(
                select n.id from (
                    select w.*, sum(pg_column_size(w.tsv) + coalesce(pg_column_size(w.words), 0)) over (
                        order by w.id desc rows unbounded preceding) as bytes
                    from (
                        select m.id, m.type, m.tsv, m.words from parley.message_words m
                        where m.chat_id = chat and m.id >= wanted.first_id and m.id < before_id
                        order by m.id desc limit near) w) n
                where case when n.bytes <= max_bytes and (wanted.type is null or n.type = wanted.type)
                    then n.tsv @@ search.index_query and parley.has_phrases(n.tsv, n.words, search) end
                order by n.id desc limit size offset asked.skip);
            if cardinality(ids) = size then
                total := (select count(*) from parley.find_hits_by_index(chat, search, wanted));
                return;
            end if;
        end if;
        hits := array(select f.id from parley.find_hits_by_index(chat, search, wanted) f order by f.id desc);
    end if;
    total := cardinality(hits);
    ids := parley.find_hit_page(hits, asked);
end $$;

-- A message is up to a thousand times as long as another, so that their number does not bound what reading them takes.
create or replace function parley.max_bytes_read_through() returns bigint
language sql immutable parallel safe as $$ select 1000000::bigint $$;

-- The size of a value is in its row or in the pointer to it, so that nothing else is read for it.
create or replace function parley.is_cheap_to_scan(chat uuid, wanted parley.message_filter) returns boolean
language sql stable as $$
    select coalesce(sum(pg_column_size(w.tsv) + coalesce(pg_column_size(w.words), 0)), 0) <= parley.max_bytes_read_through()
    from parley.message_words w
    where w.chat_id = chat and w.id >= wanted.first_id and w.id < wanted.before_id
$$;

-- Newest first, and one more than asked for where there is one.
create or replace function parley.find_hit_page(hits uuid[], asked parley.page_request) returns uuid[]
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
    search parley.search_query, wanted parley.message_filter, asked parley.page_request,
    out chats uuid[], out ids uuid[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '64MB' as $$
begin
    with hits as materialized (
        select h.chat_id, h.id from parley.find_hits(null, search, wanted) h
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
create or replace function parley.search_by_relevance(
    only_chat uuid, search parley.search_query, wanted parley.message_filter, asked parley.page_request,
    out chats uuid[], out ids uuid[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '64MB' as $$
begin
    with hits as materialized (
        select h.chat_id, h.id from parley.find_hits(only_chat, search, wanted) h
    ), newest as (
        select h.chat_id, h.id from hits h order by h.id desc limit 10000
    ), ranked as (
        select n.chat_id, n.id, row_number() over (
            order by case when w.words is null then w.tsv @@ search.whole else strpos(w.words, search.whole_phrase) > 0 end desc,
                ts_rank(w.tsv, search.any_word, 1) desc, n.id desc) as place
        from newest n cross join lateral (
            select m.tsv, m.words from parley.message_words m where m.chat_id = n.chat_id and m.id = n.id offset 0) w
    )
    select array_agg(r.chat_id order by r.place), array_agg(r.id order by r.place), (select count(*) from hits)
    into chats, ids, total
    from ranked r where r.place > asked.skip and r.place <= asked.skip + asked.size + 1;
end $$;

-- In one chat of the user's or, without it, in all. First by the index over everybody's messages, as long as there are few
-- candidates, or not more than it would take to read the user's own. Others' messages are never read beyond that.
create or replace function parley.find_hits(only_chat uuid, search parley.search_query, wanted parley.message_filter)
returns table (chat_id uuid, id uuid)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '64MB' as $$
#variable_conflict use_column
declare
    few constant integer := 1000;
    chats uuid[];
    ids uuid[];
    is_whole boolean := false;
    own_chats uuid[];
    own_messages bigint;
begin
    if only_chat is null then
        select h.chats, h.ids, h.is_whole into chats, ids, is_whole from parley.find_hits_anywhere(search, wanted, null, few) h;
    end if;
    if not is_whole then
        select array_agg(c.id), coalesce(sum(least(c.message_count, few) + 20), 0) into own_chats, own_messages
        from parley.members m join parley.chats c on c.id = m.chat_id
        where m.user_id = session.user_id() and (only_chat is null or m.chat_id = only_chat);
        if only_chat is null and own_messages > few then
            select h.chats, h.ids, h.is_whole into chats, ids, is_whole
            from parley.find_hits_anywhere(search, wanted, own_chats, own_messages) h;
        end if;
    end if;
    if is_whole then
        return query select h.chat_id, h.id from unnest(chats, ids) h (chat_id, id);
    else
        return query select h.chat_id, h.id from parley.find_hits_by_chat(own_chats, search, wanted) h;
    end if;
end $$;

-- In chats of the user's, or in all of them, looked up one by one. `is_whole` is false if there are more candidates than
-- max_candidates. Only of the user's own is anything read that is out of line. The limit also keeps other conditions out of the
-- look-up by words: the planner can't know how few hits there are, and would rather walk the primary key. Only a plan for these
-- very chats looks them up in a hash.
create or replace function parley.find_hits_anywhere(
    search parley.search_query, wanted parley.message_filter, own_chats uuid[], max_candidates bigint,
    out chats uuid[], out ids uuid[], out is_whole boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan set enable_seqscan = off set work_mem = '64MB' as $$
begin
    select count(*) <= max_candidates, array_agg(h.chat_id) filter (where h.is_hit), array_agg(h.id) filter (where h.is_hit)
    into is_whole, chats, ids
    from (
        select c.chat_id, c.id, case
            when wanted.type <> c.type or c.id < wanted.first_id or c.id >= wanted.before_id then false
            when case when own_chats is not null then c.chat_id = any (own_chats) else exists (
                select from parley.members m where m.chat_id = c.chat_id and m.user_id = session.user_id() offset 0) end
            then parley.has_phrases(c.tsv, c.words, search) end as is_hit
        from (
            select w.chat_id, w.id, w.type, w.tsv, w.words from parley.message_words w
            where w.tsv @@ search.index_query limit max_candidates + 1) c offset 0) h;
end $$;

create or replace function parley.find_hits_by_chat(own_chats uuid[], search parley.search_query, wanted parley.message_filter)
returns table (chat_id uuid, id uuid)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set cpu_tuple_cost = 100 set work_mem = '64MB' as $$
#variable_conflict use_column
begin
    return query
    select c.id, f.id
    from (
        select c.id, case when c.message_count <= 1000 then parley.is_cheap_to_scan(c.id, parley.parse_filter(null, null, null))
            else false end as is_short
        from parley.chats c where c.id = any (own_chats) offset 0) c
    cross join lateral (
        (select w.id, w.type, w.tsv, w.words from parley.message_words w
        where c.is_short and w.chat_id = c.id and (w.tsv @@ search.index_query) is true offset 0)
        union all
        (select w.id, w.type, w.tsv, w.words from parley.message_words w
        where not c.is_short and w.chat_id = c.id and w.tsv @@ search.index_query offset 0)) f
    where parley.has_phrases(f.tsv, f.words, search) and f.id >= wanted.first_id and f.id < wanted.before_id
      and (wanted.type is null or f.type = wanted.type);
end $$;

-- By the index, in a chat that the caller has checked. Without settings of its own, it becomes a part of what calls it.
create or replace function parley.find_hits_by_index(chat uuid, search parley.search_query, wanted parley.message_filter)
returns table (id uuid)
language sql stable as $$
    select f.id
    from (
        select w.id, w.type, w.tsv, w.words from parley.message_words w
        where w.chat_id = chat and w.tsv @@ search.index_query offset 0) f
    where parley.has_phrases(f.tsv, f.words, search) and f.id >= wanted.first_id and f.id < wanted.before_id and (wanted.type is null or f.type = wanted.type)
$$;

-- Of a message whose positions fit into tsv, that decides; of others the text of their words. The index has found either.
create or replace function parley.has_phrases(tsv tsvector, words text, search parley.search_query) returns boolean
language sql immutable parallel safe as $$
    select search.phrases is null or case
        when words is null then tsv @@ search.query
        else parley.has_phrases_in_words(tsv, words, search) end
$$;

-- One lexeme stands for each phrase that is there. These decide alone, but where a phrase is one of several things to find:
-- then tsv has the others.
create or replace function parley.has_phrases_in_words(tsv tsvector, words text, search parley.search_query) returns boolean
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    source constant text := words || '';  -- read once
    lexemes text[] := '{}';
    found tsvector;
begin
    for number in 1 .. cardinality(search.phrases) loop
        if strpos(source, search.phrases[number]) > 0 then
            lexemes := lexemes || ('"' || number);
        end if;
    end loop;
    found := array_to_tsvector(lexemes);
    return case
        when found @@ search.sure_query then true
        when not found @@ search.possible_query then false
        else (tsv || found) @@ search.phrase_query end;
end $$;

create or replace function parley.messages_after_write_words() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    document constant record := rules.search_document(new.content);
begin
    if tg_op = 'INSERT' then  -- a new id is in no conflict, to be ready for which costs as much as half of the row
        insert into parley.message_words (chat_id, id, type, tsv, words)
        values (new.chat_id, new.id, new.type, document.tsv, document.words);
        return null;
    end if;
    insert into parley.message_words (chat_id, id, type, tsv, words)
    values (new.chat_id, new.id, new.type, document.tsv, document.words)
    on conflict (chat_id, id) do update set type = excluded.type, tsv = excluded.tsv, words = excluded.words;
    return null;
end $$;

create or replace function parley.messages_after_delete_words() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from parley.message_words w using gone g where w.chat_id = g.chat_id and w.id = g.id;
    return null;
end $$;
