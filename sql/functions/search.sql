-- Search: what people type, found in one chat or in all of theirs.
--
--   api.search                    GET /api/search
--   parley.filter_problems        what is wrong with type, search, startDate and endDate in a query
--   parley.sort_problems          … and with sort
--   parley.parse_filter           the messages that they let through
--   parley.parse_search           what people type into a search box, as a tsquery
--   parley.parse_term             one thing in it
--   parley.word_query             the words of that
--   parley.search_chat            the ids of one page of hits in the entered chat, newest first, and how many there are
--   parley.search_chats           the same in all of the user's chats
--   parley.search_ranked          … with the most relevant first
--   parley.find_hits              the hits in some chats
--   parley.page_of_hits           a page of them
--   parley.hit_json               a hit as answers have it
--   parley.extract                what of a message to show for a search, as HTML with <mark>
--   parley.cut                    a part of a text
--   parley.mark                   marks what was found in it
--   parley.mark_pattern           a regular expression for that
--   parley.spelling_pattern       … for the ways to write a word
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
            select coalesce(json_agg(parley.hit_json(m, s.marks) order by h.place), '[]')
            from parley.parse_search(search) s,
                unnest(parley.finish_page(asked, ids, sort)) with ordinality h (id, place)
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
-- where there are others, but for those in capitals. Besides the query: `marks` are all words that are looked for, `phrase`
-- is what was typed in one.
create or replace function parley.parse_search(search text, out query tsquery, out marks tsquery, out phrase tsquery)
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp set client_min_messages = error as $$
declare
    source constant text := translate(left(rules.folded(search), 1000), '“”„«»', '"""""');
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
        elsif not item.is_phrase and item.typed !~ '^[A-Z]{2,}$'
            and ts_lexize('pg_catalog.english_stem', rules.words(item.typed)) = '{}'
        then
            common := coalesce(common && term, term);
        else
            all_of := coalesce(all_of && term, term);
            has_word := true;
        end if;
        marks := coalesce(marks || term, term);
    end loop;
    marks := regexp_replace(marks::text, '&|<(-|[0-9]+)>', '|', 'g');
    phrase := phraseto_tsquery('pg_catalog.simple', rules.words(source));
end $$;

-- Null is nothing to look for.
create or replace function parley.parse_term(typed text, is_phrase boolean, is_open boolean) returns tsquery
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    apart constant text := rules.words(typed);
    joined constant text := rules.words(rules.joined(typed));
    term tsquery := parley.word_query(apart, is_phrase, is_open);
begin
    if joined <> apart then
        term := term || parley.word_query(joined, is_phrase, is_open);
    end if;
    return case when numnode(term) > 0 then term end;
end $$;

-- Several words are a phrase. One is found by its stem, unless it was typed as a phrase; a last one that may be unfinished,
-- by how it begins.
create or replace function parley.word_query(words text, is_phrase boolean, is_open boolean) returns tsquery
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    last_word constant text := substring(words from '[^ ]+$');
    before_last constant text := btrim(left(words, -char_length(last_word)));
    stem text;
    term tsquery;
begin
    if char_length(last_word) = 1 and rules.words(last_word || last_word) ~ ' ' then
        -- In a script without spaces, the last character is the first of a pair, unless it was the second.
        if before_last ~ ('(?<![^ ])[^ ]' || last_word || '$') then
            return phraseto_tsquery('pg_catalog.simple', before_last);
        end if;
        term := to_tsquery('pg_catalog.simple', last_word || ':*');
    elsif is_open and char_length(last_word) >= 3 and last_word !~ '^[0-9]+$' then
        term := to_tsquery('pg_catalog.simple', last_word || ':*');
    else
        term := phraseto_tsquery('pg_catalog.simple', last_word);
    end if;
    if before_last <> '' then
        return phraseto_tsquery('pg_catalog.simple', before_last) <-> term;
    elsif not is_phrase and last_word ~ '^[a-z]+$' then
        stem := (ts_lexize('rules.english', last_word))[1];
        term := term || phraseto_tsquery('pg_catalog.simple', stem) || format('''=%s''', stem)::tsquery;
    end if;
    return term;
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
    query tsquery;
    marks tsquery;
    phrase tsquery;
begin
    select p.query, p.marks, p.phrase into query, marks, phrase from parley.parse_search(search) p;
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

-- Some words around the first place that has what was looked for: in a long text it is sought by large parts, then by small
-- ones. They overlap, since a word that is cut off in one is whole in the next. Where it is written there in letters that only look like
-- those, such as full-width ones, these are shown instead. Marks are control characters until the text is HTML.
create or replace function parley.extract(content text, marks tsquery) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    step constant integer := 60;
    large_step constant integer := 3000;
    size constant integer := 240;
    source constant text := regexp_replace(translate(content, E'\u0001\u0002\u0003', ''), '\s+', ' ', 'g');
    start integer;
    part text;
    marked text;
begin
    for start in
        select small from generate_series(1, char_length(source), large_step) large,
            generate_series(large, large + large_step - 1, step) small
        where marks is not null
          and rules.search_vector(substr(source, large, large_step + 2 * step)) @@ marks
          and rules.search_vector(substr(source, small, 2 * step + 10)) @@ marks
    loop
        part := parley.cut(source, start, size);
        marked := parley.mark(part, marks);
        if marked = part then
            marked := parley.mark(normalize(part, nfkd), marks);
        end if;
        exit when marked ~ E'\u0001';
    end loop;
    if marked is null or marked !~ E'\u0001' then
        marked := parley.cut(source, 1, size);
    end if;
    marked := replace(replace(replace(marked, '&', '&amp;'), '<', '&lt;'), '>', '&gt;');
    marked := replace(replace(marked, '"', '&quot;'), '''', '&#39;');
    return replace(replace(marked, E'\u0001', '<mark>'), E'\u0002', '</mark>');
end $$;

-- A part of a text, of whole words where they are not long.
create or replace function parley.cut(source text, start integer, size integer) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    part text := substr(source, start, size);
begin
    if start > 1 then
        part := '…' || regexp_replace(part, '^[^ ]{0,20} ', '');
    end if;
    if char_length(source) >= start + size then
        part := regexp_replace(part, ' [^ ]{0,20}$', '') || '…';
    end if;
    return part;
end $$;

-- The words that were looked for, as the text writes them: with accents, and with what joins the parts of a name. One more
-- control character stands where identifiers are split.
create or replace function parley.mark(part text, marks tsquery) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    found constant text := regexp_replace(
        regexp_replace(normalize(part, nfd), '(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', E'\u0003', 'g'),
        parley.mark_pattern(part, marks), E'\u0001\\&\u0002', 'gi');
begin
    return coalesce(normalize(replace(found, E'\u0003', ''), nfc), part);
end $$;

-- In scripts without spaces, pairs of characters make up what was looked for, or the first of one does.
create or replace function parley.mark_pattern(part text, marks tsquery) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    unspaced constant text := '[\u0e00-\u0eff\u1000-\u11ff\u1780-\u17ff\u2e80-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]';
    character constant text := '.[\u1160-\u11ff\u3099\u309a]*';  -- with the rest of its syllable
    words text;
    pairs text;
    singles text;
begin
    select string_agg(parley.spelling_pattern(w.lexeme), '|') filter (where not w.is_unspaced),
        string_agg(normalize(w.lexeme, nfd), '|') filter (where w.is_unspaced and not w.is_single),
        string_agg(normalize(left(w.lexeme, 1), nfd), '|') filter (where w.is_unspaced and w.is_single)
    into words, pairs, singles
    from (
        select l.lexeme, l.lexeme ~ unspaced as is_unspaced, array_to_tsvector(array[left(l.lexeme, 1)]) @@ marks as is_single
        from unnest(rules.search_vector(part)) l
        where l.positions is not null and marks @@ array_to_tsvector(
            array[l.lexeme, '=' || coalesce((ts_lexize('rules.english', l.lexeme))[1], '')])) w;
    return nullif(concat_ws('|',
        '(?:(?<![[:alnum:]])|(?<=' || unspaced || '))(?:' || words || ')(?:(?![[:alnum:]\u0300-\u036f])|(?=' || unspaced || '))',
        '(?:(?=' || pairs || ')' || character || ')+' || character,
        singles), '');
end $$;

-- The ways to write a word that rules.folded() takes for one.
create or replace function parley.spelling_pattern(word text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    accents constant text := E'[\u00ad\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0640\u064b-\u065f\u0670\u200b-\u200d\u2060\ufe00-\ufe0f]*';
    joints constant text := E'[\u0003_''ʼ‘’‐-]?' || accents;
    pattern text := regexp_replace(word, '(.)(?=.)', '\1' || joints, 'g') || accents;
    spelling text[];
begin
    if word in ('cpp', 'csharp', 'fsharp') then
        return pattern || '|' || case word when 'cpp' then 'c\+\+' else left(word, 1) || '#' end;
    end if;
    foreach spelling slice 1 in array array[['ss', 'ß'], ['ae', 'æ'], ['oe', 'œ'], ['th', 'þ']] loop
        pattern := replace(pattern, left(spelling[1], 1) || joints || right(spelling[1], 1),
            format('(?:%s|%s%s%s)', spelling[2], left(spelling[1], 1), joints, right(spelling[1], 1)));
    end loop;
    foreach spelling slice 1 in array array[['o', 'oø'], ['l', 'lł'], ['d', 'dđð'], ['h', 'hħ'], ['t', 'tŧ'], ['i', 'iı'], ['σ', 'σς']] loop
        pattern := replace(pattern, spelling[1], '[' || spelling[2] || ']');
    end loop;
    return pattern;
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
