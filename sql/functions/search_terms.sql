-- What people type into a search box, as queries for what rules.search_document() makes of messages.
--
--   parley.parse_search     the queries
--   parley.search_terms     the terms: words, "phrases", -not, or
--   parley.word_forms       the ways in which a message may have a term
--   parley.phrase_pattern   a phrase as message_words.words has it

-- Terms that are very common words don't count where there are others. Lexemes have neither ' nor ": '"1' stands for the
-- first phrase, and no message has '"', which therefore is false. The words of a phrase may be in a message that does not have
-- the phrase, so in index_query a negated one excludes nothing. In sure_query and possible_query, what is not a phrase has the
-- value that makes the term false or true; unless it is the whole term, and index_query has found it already.
create or replace function parley.parse_search(search text) returns parley.search_query
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp set client_min_messages = error as $$
declare
    words constant text := rules.split_words(rules.fold(left(search, 1000)));
    is_false constant text := '''"''';
    is_true constant text := '!' || is_false;
    found record;
    sequence text;
    query text;
    index_query text;
    parsed parley.search_query;
begin
    with forms as materialized (
        select t.alternative, t.place, t.is_negated, t.is_common, f.query, f.phrase,
            case when f.phrase is not null then count(f.phrase) over (order by t.place rows unbounded preceding) end as number,
            case when t.is_negated then is_false else is_true end as possible,
            case when t.is_negated then is_true else is_false end as impossible,
            min(t.alternative) over () = max(t.alternative) over ()
                and count(f.phrase) over (partition by t.alternative, t.place) = 0 as is_found
        from parley.search_terms(search) t cross join lateral parley.word_forms(t.typed, t.is_phrase, t.is_open) f
    ), terms as (
        select f.alternative, f.place, f.is_negated, f.is_common, case when f.is_negated then '!' else '' end as sign,
            string_agg(coalesce('''"' || f.number || '''', f.query), ' | ') as term,
            string_agg(coalesce('''"' || f.number || '''',
                case when f.is_found then f.possible else f.impossible end), ' | ') as sure,
            string_agg(coalesce('''"' || f.number || '''', f.possible), ' | ') as possible,
            bool_or(not f.is_negated and not f.is_common) over (partition by f.alternative) as has_other
        from forms f group by f.alternative, f.place, f.is_negated, f.is_common
    ), alternatives as (
        select string_agg(t.sign || '(' || t.term || ')', ' & ' order by t.place) as query,
            string_agg(t.sign || '(' || t.sure || ')', ' & ' order by t.place) as sure_query,
            string_agg(t.sign || '(' || t.possible || ')', ' & ' order by t.place) as possible_query
        from terms t where not (t.is_common and t.has_other) group by t.alternative
    )
    select (select string_agg(a.query, ' | ') from alternatives a) as query,
        (select string_agg(a.sure_query, ' | ') from alternatives a) as sure_query,
        (select string_agg(a.possible_query, ' | ') from alternatives a) as possible_query,
        array_agg(f.query order by f.number) filter (where f.phrase is not null) as sequences,
        array_agg(f.phrase order by f.number) filter (where f.phrase is not null) as phrases,
        string_agg(replace(f.query, ' <-> ', ' | '), ' | ') filter (where not f.is_negated) as any_word
    into found from forms f;
    query := found.query;
    index_query := regexp_replace(found.query, '!\([^()]*"[^()]*\)', '!''"''', 'g');
    for number in 1 .. coalesce(cardinality(found.sequences), 0) loop
        sequence := found.sequences[number];
        query := replace(query, format('''"%s''', number), format('(%s)', sequence));
        index_query := replace(index_query, format('''"%s''', number), format('(%s)', replace(sequence, '<->', '&')));
    end loop;
    parsed.query := query;
    parsed.index_query := index_query;
    parsed.phrase_query := found.query;
    parsed.sure_query := found.sure_query;
    parsed.possible_query := found.possible_query;
    parsed.phrases := found.phrases;
    parsed.any_word := found.any_word;
    if words <> '' then
        parsed.whole := '''' || array_to_string(rules.tokenize(words), ''' <-> ''') || '''';
        parsed.whole_phrase := parley.phrase_pattern(words, false);
    end if;
    return parsed;
end $$;

-- `alternative` numbers what "or" separates. What is within quotes that are not closed yet is a phrase. The last term may be
-- unfinished (`is_open`), unless white space or quotes finish it.
create or replace function parley.search_terms(search text)
returns table (
    alternative bigint, place bigint, typed text, is_phrase boolean, is_negated boolean, is_common boolean, is_open boolean)
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    source constant text := translate(left(rules.fold(search, max_length => 0), 1000), '“”„«»', '"""""');
    has_open_phrase constant boolean := (char_length(source) - char_length(replace(source, '"', ''))) % 2 = 1;
    ends_open constant boolean := has_open_phrase or source !~ '[\s"]$';
begin
    return query
    select t.alternative, min(t.place), t.typed, t.is_phrase, t.is_negated,
        not t.is_phrase and not t.is_negated and t.typed !~ '^[A-Z]{2,}$'
            and ts_lexize('pg_catalog.english_stem', rules.split_words(t.typed)) = '{}',
        t.is_open and not t.is_negated
    from (
        select r.typed, r.is_phrase, r.is_negated, r.place, r.is_or,
            count(*) filter (where r.is_or) over (order by r.place) as alternative,
            ends_open and r.place = max(r.place) over () as is_open
        from (
            select m.place, coalesce(m.parts[2], m.parts[3]) as typed, m.parts[1] is not null as is_phrase,
                coalesce(m.parts[1] = '-', m.parts[3] ~ '^-[^-]') as is_negated,
                coalesce(lower(m.parts[3]) = 'or', false) as is_or
            from regexp_matches(source || case when has_open_phrase then '"' else '' end, '(-?)"([^"]*)"|([^\s"]+)', 'g')
                with ordinality m (parts, place)
        ) r
    ) t
    where not t.is_or
    group by t.alternative, t.typed, t.is_phrase, t.is_negated, t.is_open;
end $$;

-- As the words that the term is split into, where that differs as one word, and where it has a character that stands for
-- several letters with that as it is, as very long texts have it. `query` is a phrase or, of one word, also
-- finds it by its stem, unless it was typed as a phrase; a last word that may be unfinished is found by how it begins.
-- `phrase` is null where there is one lexeme only.
create or replace function parley.word_forms(typed text, is_phrase boolean, is_open boolean)
returns table (words text, is_prefix boolean, stem text, query text, phrase text)
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    unspaced constant text := '[' || rules.unspaced() || ']';
    folded constant text := rules.fold(typed);
    forms constant text[] := array[
        rules.split_words(folded), rules.split_words(rules.join_compounds(folded)),
        case when folded <> typed then rules.split_words(typed) end];
    tokens text[];
    last_token text;
begin
    for words in
        select f.form from unnest(forms) with ordinality f (form, place) where f.form <> '' group by f.form order by min(f.place)
    loop
        tokens := rules.tokenize(words);
        last_token := tokens[cardinality(tokens)];
        is_prefix := is_open and char_length(last_token) >= 3 and last_token !~ '^[0-9]+$';
        -- Without spaces, the last letter is the first of a pair in the message, unless it was the second of the last pair.
        if last_token ~ ('^' || unspaced || '$') then
            is_prefix := words !~ (unspaced || '{2}$');
            tokens := case when is_prefix then tokens else tokens[:cardinality(tokens) - 1] end;
        end if;
        query := '''' || array_to_string(tokens, ''' <-> ''') || '''' || case when is_prefix then ':*' else '' end;
        phrase := case when cardinality(tokens) > 1 then parley.phrase_pattern(words, is_prefix) end;
        stem := null;
        if cardinality(tokens) = 1 and not is_phrase and last_token ~ '^[a-z]+$' then
            stem := (ts_lexize('rules.english', last_token))[1];
            query := format('%s | ''=%s'' | ''%2$s''', query, stem);
        end if;
        return next;
    end loop;
end $$;

-- Words end at spaces, but for scripts that have none, and for a last word that may be unfinished.
create or replace function parley.phrase_pattern(words text, is_prefix boolean) returns text
language sql immutable parallel safe as $$
    select case when words ~ ('^[' || rules.unspaced() || ']') then '' else ' ' end || words
        || case when is_prefix or words ~ ('[' || rules.unspaced() || ']$') then '' else ' ' end
$$;
