-- The hits of a search, by the index of parley.message_words.
--
--   parley.search_chat            the ids of one page of hits in the entered chat, newest first, and how many there are
--   parley.search_chats           the same in all of the user's chats
--   parley.search_ranked          … with the most relevant first
--   parley.find_hits              the hits in some chats
--   parley.look_up                … by the index
--   parley.look_up_in_chat        … in one chat
--   parley.page_of_hits           a page of them
--   parley.has_phrases            whether a message that the index gives has the phrases, too
--   parley.found_phrases          which phrases a long text has
--   parley.messages_words         trigger: the words of a new or changed message
--   parley.messages_words_gone    trigger: … of deleted ones
--
-- Under row-level security `tsv @@ query` can't use the index, since that operator is not leakproof. So the ids are
-- found here, where membership is checked once and the index is used; the messages themselves are then read by these
-- ids under row-level security.

-- A short range is read through. Else, where the newest messages have enough hits for the page, the others are only counted.
create or replace function parley.search_chat(
    search parley.search_query, wanted parley.filter, asked parley.page, out ids uuid[], out total bigint)
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
              and (w.tsv @@ search.index_query) is true and parley.has_phrases(w.tsv, w.words, search)
              and (wanted.type is null or w.type = wanted.type)
            order by w.id desc);
    else
        if not asked.is_ascending and near <= 5000 then
            ids := array(
                select n.id from (
                    select w.id, w.type, w.tsv, w.words from parley.message_words w
                    where w.chat_id = chat and w.id >= wanted.first_id and w.id < before_id
                    order by w.id desc limit near) n
                where n.tsv @@ search.index_query and parley.has_phrases(n.tsv, n.words, search)
                  and (wanted.type is null or n.type = wanted.type)
                order by n.id desc limit size offset asked.skip);
            if cardinality(ids) = size then
                total := (select count(*) from parley.look_up_in_chat(chat, search, wanted));
                return;
            end if;
        end if;
        hits := array(select f.id from parley.look_up_in_chat(chat, search, wanted) f order by f.id desc);
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
    search parley.search_query, wanted parley.filter, asked parley.page,
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
create or replace function parley.search_ranked(
    only_chat uuid, search parley.search_query, wanted parley.filter, asked parley.page,
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

-- In one chat of the user's or, without it, in all. Few hits, as one partition's tell, are looked up in the memberships.
-- Many are found by the index over everybody's messages or chat by chat, whichever reads less. Only a plan for these very
-- chats looks them up in a hash.
create or replace function parley.find_hits(only_chat uuid, search parley.search_query, wanted parley.filter)
returns table (chat_id uuid, id uuid)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_custom_plan set enable_seqscan = off set work_mem = '64MB' as $$
#variable_conflict use_column
declare
    partitions constant integer := 16;
    few constant integer := 1000;
    hits constant bigint := partitions * (
        select count(*) from parley.message_words_0 w where w.tsv @@ search.index_query);
    chats uuid[];
begin
    if hits <= few then
        return query
        select f.chat_id, f.id from parley.look_up(search, wanted) f
        where (only_chat is null or f.chat_id = only_chat) and exists (
            select from parley.members m where m.chat_id = f.chat_id and m.user_id = session.user_id() offset 0);
        return;
    end if;
    chats := array(
        select m.chat_id from parley.members m
        where m.user_id = session.user_id() and (only_chat is null or m.chat_id = only_chat));
    if hits <= (select sum(least(c.message_count, few) + 20) from parley.chats c where c.id = any (chats)) then
        return query select f.chat_id, f.id from parley.look_up(search, wanted) f where f.chat_id = any (chats);
    else
        return query
        select c.id, f.id from parley.chats c cross join lateral (
            (select w.id, w.type, w.tsv, w.words from parley.message_words w
            where c.message_count <= few and w.chat_id = c.id and (w.tsv @@ search.index_query) is true offset 0)
            union all
            (select w.id, w.type, w.tsv, w.words from parley.message_words w
            where c.message_count > few and w.chat_id = c.id and w.tsv @@ search.index_query offset 0)) f
        where c.id = any (chats) and parley.has_phrases(f.tsv, f.words, search) and f.id >= wanted.first_id and f.id < wanted.before_id
          and (wanted.type is null or f.type = wanted.type);
    end if;
end $$;

-- Hits by the index. "offset 0" keeps the other conditions out of the look-up by words: the planner can't know how few hits
-- there are, and would rather walk the primary key. Without settings of their own, these two become a part of what calls them.
create or replace function parley.look_up(search parley.search_query, wanted parley.filter)
returns table (chat_id uuid, id uuid)
language sql stable as $$
    select f.chat_id, f.id
    from (
        select w.chat_id, w.id, w.type, w.tsv, w.words from parley.message_words w
        where w.tsv @@ search.index_query offset 0) f
    where parley.has_phrases(f.tsv, f.words, search) and f.id >= wanted.first_id and f.id < wanted.before_id and (wanted.type is null or f.type = wanted.type)
$$;

create or replace function parley.look_up_in_chat(chat uuid, search parley.search_query, wanted parley.filter)
returns table (id uuid)
language sql stable as $$
    select f.id
    from (
        select w.id, w.type, w.tsv, w.words from parley.message_words w
        where w.chat_id = chat and w.tsv @@ search.index_query offset 0) f
    where parley.has_phrases(f.tsv, f.words, search) and f.id >= wanted.first_id and f.id < wanted.before_id and (wanted.type is null or f.type = wanted.type)
$$;

-- A part of what calls it, as look_up() is. Of a message whose positions fit into tsv, that decides; of others the text of their
-- words, and one lexeme then stands for each phrase that is there.
create or replace function parley.has_phrases(tsv tsvector, words text, search parley.search_query) returns boolean
language sql immutable parallel safe as $$
    select search.phrases is null or case
        when words is null then tsv @@ search.query
        else (tsv || parley.found_phrases(words, search.phrases)) @@ search.phrase_query end
$$;

create or replace function parley.found_phrases(words text, phrases text[]) returns tsvector
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    found text[] := '{}';
begin
    for number in 1 .. cardinality(phrases) loop
        if strpos(words, phrases[number]) > 0 then
            found := found || ('"' || number);
        end if;
    end loop;
    return array_to_tsvector(found);
end $$;

create or replace function parley.messages_words() returns trigger
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

create or replace function parley.messages_words_gone() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from parley.message_words w using gone g where w.chat_id = g.chat_id and w.id = g.id;
    return null;
end $$;
