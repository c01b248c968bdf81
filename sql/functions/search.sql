-- Search: what people type, found in one chat or in all of theirs.
--
--   api.search                    GET /api/search
--   parley.filter_problems        what is wrong with type, search, startDate and endDate in a query
--   parley.sort_problems          … and with sort
--   parley.parse_filter           the messages that they let through
--   parley.parse_search           what people type into a search box, as a tsquery
--   parley.parse_term             one thing in it
--   parley.search_chat            the ids of one page of hits in the entered chat, newest first, and how many there are
--   parley.search_chats           the same in all of the user's chats
--   parley.search_ranked          … with the most relevant first
--   parley.find_hits              the hits in some chats
--   parley.page_of_hits           a page of them
--   parley.hit_json               a hit as answers have it
--   parley.extract                what of a message to show for a search, as HTML with <mark>
--   parley.mark_pattern           finds the words of a message that were searched for
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
    marks constant tsquery := (parley.parse_search(search)).marks;
    wanted parley.filter;
    asked parley.page;
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
    if sort = 'relevance' then
        select f.chats, f.ids, f.total into chats, ids, total
        from parley.search_ranked(null, search, wanted, asked) f;
    else
        select f.chats, f.ids, f.total into chats, ids, total from parley.search_chats(search, wanted, asked) f;
    end if;
    perform session.enter_chats(chats);
    return json_build_object(
        'messages', (
            select coalesce(json_agg(parley.hit_json(m, marks) order by h.place), '[]')
            from unnest(parley.finish_page(asked, ids, sort)) with ordinality h (id, place)
            cross join lateral (
                select m.* from parley.messages m
                where m.chat_id = chats[array_position(ids, h.id)] and m.id = h.id offset 0) m),
        'total', total,
        'page', asked.number,
        'limit', asked.size);
end $$;
comment on function api.search is
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
language sql immutable parallel safe as $$
    select jsonb_build_object(
        'type', rules.problem('type', type),
        'search', rules.problem('search', search),
        'startDate', parley.instant_problem(start_date),
        'endDate', parley.instant_problem(end_date))
$$;

create or replace function parley.sort_problems(sort text, search text, before text, after text) returns jsonb
language sql immutable parallel safe as $$
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

-- Words, "phrases", -not, or; what is within quotes that are not closed yet is a phrase. Very common words don't count
-- where there are others. `marks` are all words and parts of phrases that are looked for.
create or replace function parley.parse_search(search text, out query tsquery, out marks tsquery)
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    source constant text := translate(rules.folded(search), '“”„«»', '"""""');
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
        elsif not item.is_phrase and ts_lexize('pg_catalog.english_stem', rules.words(item.typed)) = '{}' then
            common := coalesce(common && term, term);
        else
            all_of := coalesce(all_of && term, term);
            has_word := true;
        end if;
        marks := coalesce(marks || term, term);
    end loop;
    marks := regexp_replace(marks::text, '<(-|[0-9]+)>', '|', 'g');
end $$;

-- A word is found by its stem; a last one that may be unfinished, by how it begins. What is typed as one but has several
-- words, like user.getName or 1.2.3, is a phrase, and getName the word getname too. Null is nothing to look for.
-- Stems have no place in a text, so that how a word begins can't be asked for within a phrase: it is asked for beside it.
create or replace function parley.parse_term(typed text, is_phrase boolean, is_open boolean) returns tsquery
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    -- In a script without spaces, the last character stands by itself only where no pair ends with it.
    words constant text := regexp_replace(rules.words(typed), '(?<![^ ])([^ ])([^ -~]) \2$', '\1\2');
    last_word constant text := substring(words from '[^ ]+$');
    joined constant text := case when words ~ ' ' then rules.joined(typed) else words end;
    term tsquery;
begin
    if words = '' then
        return null;
    elsif char_length(last_word) = 1 and rules.words(last_word || last_word) ~ ' ' then
        term := to_tsquery('pg_catalog.simple', replace(words, ' ', ' <-> ') || ':*');  -- the first of a pair
    elsif is_open and char_length(last_word) >= 3 and last_word !~ '^[0-9]+$' then
        term := to_tsquery('pg_catalog.simple', regexp_replace(replace(words, ' ', ' <-> '), ' <-> (?=[^ ]+$)', ' & ') || ':*');
    else
        term := to_tsquery('pg_catalog.simple', replace(words, ' ', ' <-> '));
    end if;
    if not is_phrase and joined = replace(words, ' ', '') then
        term := case when words <> joined or is_open then term || plainto_tsquery('rules.stems', joined)
            else plainto_tsquery('rules.stems', joined) end;
        if words <> joined and is_open then
            term := term || to_tsquery('pg_catalog.simple', joined || ':*');
        end if;
    end if;
    return case when numnode(term) > 0 then term end;
end $$;

-- A short range is read through. Else, where the newest messages have enough hits for the page, the others are only counted.
-- "offset 0" keeps the other conditions out of the look-up by words: the planner can't know how few hits there are, and
-- would rather walk the primary key.
create or replace function parley.search_chat(
    search text, wanted parley.filter, asked parley.page, out ids uuid[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '64MB' as $$
declare
    chat constant uuid := session.chat_id();
    query constant tsquery := (parley.parse_search(search)).query;
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
                total := (
                    select count(*) from (
                        select w.id, w.type from parley.message_words w where w.chat_id = chat and w.tsv @@ query offset 0) f
                    where f.id >= wanted.first_id and f.id < wanted.before_id
                      and (wanted.type is null or f.type = wanted.type));
                return;
            end if;
        end if;
        hits := array(
            select f.id from (
                select w.id, w.type from parley.message_words w where w.chat_id = chat and w.tsv @@ query offset 0) f
            where f.id >= wanted.first_id and f.id < wanted.before_id and (wanted.type is null or f.type = wanted.type)
            order by f.id desc);
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
    search text, wanted parley.filter, asked parley.page, out chats uuid[], out ids uuid[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '64MB' as $$
declare
    query constant tsquery := (parley.parse_search(search)).query;
begin
    with hits as materialized (
        select h.chat_id, h.id
        from parley.find_hits(null, query, wanted) h
    ), page as (
        select h.chat_id, h.id from hits h where h.id > asked.after_id and h.id < asked.before_id
        order by case when asked.is_ascending then h.id end, h.id desc
        limit asked.size + 1 offset asked.skip
    )
    select array_agg(p.chat_id order by p.id desc), array_agg(p.id order by p.id desc), (select count(*) from hits)
    into chats, ids, total
    from page p;
end $$;

-- In one chat or, without it, in all. The words as a phrase before all, then by how often and how exactly they are there. Of many hits the newest are ranked.
create or replace function parley.search_ranked(
    only_chat uuid, search text, wanted parley.filter, asked parley.page, out chats uuid[], out ids uuid[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set work_mem = '64MB' as $$
declare
    phrase constant tsquery := phraseto_tsquery('pg_catalog.simple', rules.words(rules.folded(search)));
    query tsquery;
    marks tsquery;
begin
    select p.query, p.marks into query, marks from parley.parse_search(search) p;
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
        select f.chat_id, f.id from (
            select w.chat_id, w.id, w.type from parley.message_words w where w.tsv @@ query offset 0) f
        where f.id >= wanted.first_id and f.id < wanted.before_id and (wanted.type is null or f.type = wanted.type)
          and (only_chat is null or f.chat_id = only_chat) and exists (
            select from parley.members m where m.chat_id = f.chat_id and m.user_id = session.user_id() offset 0);
        return;
    end if;
    chats := array(
        select m.chat_id from parley.members m
        where m.user_id = session.user_id() and (only_chat is null or m.chat_id = only_chat));
    if hits <= (select sum(least(c.message_count, few) + 20) from parley.chats c where c.id = any (chats)) then
        return query
        select f.chat_id, f.id from (
            select w.chat_id, w.id, w.type from parley.message_words w where w.tsv @@ query offset 0) f
        where f.id >= wanted.first_id and f.id < wanted.before_id and (wanted.type is null or f.type = wanted.type)
          and f.chat_id = any (chats);
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

-- Some words around the first that was looked for. Marks are control characters until the text is HTML; one more stands
-- where identifiers are split.
create or replace function parley.extract(content text, marks tsquery) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    before constant integer := 60;
    size constant integer := 240;
    pattern constant text := parley.mark_pattern(content, marks);
    source text := normalize(regexp_replace(translate(content, E'\u0001\u0002\u0003', ''), '\s+', ' ', 'g'), nfd);
    start integer;
    part text;
begin
    source := regexp_replace(source, '(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', E'\u0003', 'g');
    start := greatest(coalesce(regexp_instr(source, pattern, 1, 1, 0, 'i'), 0) - before, 1);
    part := substr(source, start, size);
    if start > 1 then
        part := '…' || regexp_replace(part, '^[^ ]{0,20} ', '');
    end if;
    if char_length(source) >= start + size then
        part := regexp_replace(part, ' [^ ]{0,20}$', '') || '…';
    end if;
    part := coalesce(regexp_replace(part, pattern, E'\u0001\\&\u0002', 'gi'), part);
    part := replace(replace(replace(replace(replace(part,
        '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;'), '''', '&#39;');
    part := replace(replace(replace(part, E'\u0003', ''), E'\u0001', '<mark>'), E'\u0002', '</mark>');
    return normalize(part, nfc);
end $$;

-- Of the words that the text has, as they are written in it: with accents, and with what joins the parts of a name. In
-- scripts without spaces, pairs of characters make up what was looked for.
create or replace function parley.mark_pattern(content text, marks tsquery) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    accents constant text := '[\u0300-\u036f]*';
    joints constant text := '[\u0300-\u036f\u0003_''’-]*';
    unspaced constant text := '[\u0e00-\u0eff\u1000-\u11ff\u1780-\u17ff\u2e80-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]';
    character constant text := '.[\u1160-\u11ff\u3099\u309a]*';  -- with the rest of its syllable
    words text[];
    pairs text[];
    singles text[];
begin
    select array_agg(w.lexeme) filter (where not w.is_unspaced),
        array_agg(normalize(w.lexeme, nfd)) filter (where w.is_unspaced and not w.is_single),
        array_agg(normalize(left(w.lexeme, 1), nfd)) filter (where w.is_unspaced and w.is_single)
    into words, pairs, singles
    from (
        select l.lexeme, l.lexeme ~ unspaced as is_unspaced, array_to_tsvector(array[left(l.lexeme, 1)]) @@ marks as is_single
        from unnest(rules.search_vector(content)) l
        where l.positions is not null
          and array_to_tsvector(array[l.lexeme]) || to_tsvector('rules.stems', l.lexeme) @@ marks) w;
    return nullif(concat_ws('|',
        '(?:(?<![[:alnum:]])|(?<=' || unspaced || '))(?:' || (
            select string_agg(replace(replace(replace(regexp_replace(w, '(.)(?=.)', '\1' || joints, 'g'),
                's' || joints || 's', '(?:ß|s' || joints || 's)'),
                'a' || joints || 'e', '(?:æ|a' || joints || 'e)'),
                'o' || joints || 'e', '(?:œ|o' || joints || 'e)') || accents, '|')
            from unnest(words) w) || ')(?:(?![[:alnum:]\u0300-\u036f])|(?=' || unspaced || '))',
        '(?:(?=' || array_to_string(pairs, '|') || ')' || character || ')+' || character,
        '(?:' || array_to_string(singles, '|') || ')'), '');
end $$;

create or replace function parley.messages_words() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into parley.message_words (chat_id, id, type, tsv)
    values (new.chat_id, new.id, new.type, rules.search_vector(new.content))
    on conflict (chat_id, id) do update set type = excluded.type, tsv = excluded.tsv;
    return null;
end $$;

create or replace function parley.messages_words_gone() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from parley.message_words w using gone g where w.chat_id = g.chat_id and w.id = g.id;
    return null;
end $$;
