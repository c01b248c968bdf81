-- Search queries: what users type into a search box, parsed into tsquery values for the output of rules.search_document().
--
--   parley.parse_search         parses a search
--   parley.expand_phrases       replaces the numbered lexemes of phrases in a query by the phrases
--   parley.parse_search_terms   the terms of a search: words, "phrases", -negated, or
--   parley.build_term_forms     the forms in which a message may have a term
--   parley.format_phrase        a phrase as message_words.words has it
--
-- A search is a disjunction of alternatives, an alternative is a conjunction of terms, and a term is a disjunction of forms. An
-- alternative with other positive terms ignores its stop words.

-- phrase_query has a numbered lexeme in place of each phrase, such as '"1'. No message has a lexeme with a quotation mark, so the
-- lexeme '"' never matches. tsv_query has the phrases as sequences of words. index_query has them as conjunctions of words, which
-- the index can find. A message may have all words of a phrase without the phrase, so a negated phrase excludes nothing there.
--
-- sufficient_query and necessary_query need only the phrases that a message has, not its other words. Among the messages that
-- index_query finds, those that match the former are hits, and those that do not match the latter are not. All forms but phrases
-- are replaced by their worst case in the former, and by their best case in the latter. If there is a single alternative,
-- index_query decides about each term without a phrase, so that one is true in both.
create or replace function parley.parse_search(search text) returns parley.search_query
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp set client_min_messages = error as $$
declare
    words constant text := rules.split_words(rules.fold(left(search, 1000)));
    never constant text := '''"''';
    always constant text := '!' || never;
    parsed parley.search_query;
begin
    with forms as materialized (
        select t.alternative, t.place, t.is_negated, t.is_stop_word, f.query, f.phrase,
            case when f.phrase is not null then count(f.phrase) over (order by t.place rows unbounded preceding) end as number,
            case when t.is_negated then never else always end as best_case,
            case when t.is_negated then always else never end as worst_case,
            min(t.alternative) over () = max(t.alternative) over ()
                and count(f.phrase) over (partition by t.alternative, t.place) = 0 as is_in_index_query
        from parley.parse_search_terms(search) t cross join lateral parley.build_term_forms(t.typed, t.is_phrase, t.is_unfinished) f
    ), terms as (
        select f.alternative, f.place, f.is_negated, f.is_stop_word, case when f.is_negated then '!' else '' end as sign,
            string_agg(coalesce('''"' || f.number || '''', f.query), ' | ') as term,
            string_agg(coalesce('''"' || f.number || '''',
                case when f.is_in_index_query then f.best_case else f.worst_case end), ' | ') as sufficient,
            string_agg(coalesce('''"' || f.number || '''', f.best_case), ' | ') as necessary,
            bool_or(not f.is_negated and not f.is_stop_word) over (partition by f.alternative) as has_other
        from forms f group by f.alternative, f.place, f.is_negated, f.is_stop_word
    ), alternatives as (
        select string_agg(t.sign || '(' || t.term || ')', ' & ' order by t.place) as query,
            string_agg(t.sign || '(' || t.sufficient || ')', ' & ' order by t.place) as sufficient_query,
            string_agg(t.sign || '(' || t.necessary || ')', ' & ' order by t.place) as necessary_query
        from terms t where not (t.is_stop_word and t.has_other) group by t.alternative
    )
    select parley.expand_phrases(q.query, p.sequences, '<->'),
        parley.expand_phrases(regexp_replace(q.query, '!\([^()]*"[^()]*\)', always, 'g'), p.sequences, '&'),
        q.query, q.sufficient_query, q.necessary_query, p.phrases, p.rank_query,
        case when words <> '' then '''' || array_to_string(rules.tokenize(words), ''' <-> ''') || '''' end,
        case when words <> '' then parley.format_phrase(words, is_prefix => false) end
    into parsed
    from (
        select string_agg(a.query, ' | ') as query, string_agg(a.sufficient_query, ' | ') as sufficient_query,
            string_agg(a.necessary_query, ' | ') as necessary_query
        from alternatives a) q
    cross join (
        select array_agg(f.query order by f.number) filter (where f.phrase is not null) as sequences,
            array_agg(f.phrase order by f.number) filter (where f.phrase is not null) as phrases,
            string_agg(replace(f.query, ' <-> ', ' | '), ' | ') filter (where not f.is_negated) as rank_query
        from forms f) p;
    return parsed;
end $$;

-- `sequences` has the words of each phrase, joined by <->, in the order of their numbers. `operator` replaces <->.
create or replace function parley.expand_phrases(phrase_query text, sequences text[], operator text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    expanded text := phrase_query;
begin
    for number in 1 .. coalesce(cardinality(sequences), 0) loop
        expanded := replace(expanded, format('''"%s''', number), format('(%s)', replace(sequences[number], '<->', operator)));
    end loop;
    return expanded;
end $$;

-- `alternative` numbers the alternatives, which "or" separates. `place` orders the terms. `typed` is the term as typed, without
-- quotation marks. An opening quotation mark without a closing one starts a phrase up to the end. Clients search while the user
-- types, so the last term may be unfinished, unless white space or a quotation mark follows it.
create or replace function parley.parse_search_terms(search text)
returns table (
    alternative bigint, place bigint, typed text, is_phrase boolean, is_negated boolean, is_stop_word boolean,
    is_unfinished boolean)
language plpgsql immutable parallel safe rows 5 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    source constant text := translate(left(rules.fold(search, max_length => 0), 1000), '“”„«»', '"""""');
    has_open_phrase constant boolean := (char_length(source) - char_length(replace(source, '"', ''))) % 2 = 1;
    ends_unfinished constant boolean := has_open_phrase or source !~ '[\s"]$';
begin
    return query
    select t.alternative, min(t.place), t.typed, t.is_phrase, t.is_negated,
        not t.is_phrase and not t.is_negated and t.typed !~ '^[A-Z]{2,}$'
            and ts_lexize('pg_catalog.english_stem', rules.split_words(t.typed)) = '{}',
        t.is_unfinished and not t.is_negated
    from (
        select r.typed, r.is_phrase, r.is_negated, r.place, r.is_or,
            count(*) filter (where r.is_or) over (order by r.place) as alternative,
            ends_unfinished and r.place = max(r.place) over () as is_unfinished
        from (
            select m.place, coalesce(m.parts[2], m.parts[3]) as typed, m.parts[1] is not null as is_phrase,
                coalesce(m.parts[1] = '-', m.parts[3] ~ '^-[^-]') as is_negated,
                coalesce(lower(m.parts[3]) = 'or', false) as is_or
            from regexp_matches(source || case when has_open_phrase then '"' else '' end, '(-?)"([^"]*)"|([^\s"]+)', 'g')
                with ordinality m (parts, place)
        ) r
    ) t
    where not t.is_or
    group by t.alternative, t.typed, t.is_phrase, t.is_negated, t.is_unfinished;
end $$;

-- A term has up to three forms: the words that it is split into, the same joined as one compound, and the term before folding,
-- because very long texts keep some compatibility characters. `words` are the words of the form, and `phrase` is their
-- format_phrase(), or null for a single lexeme. `query` matches the form: its words in sequence, the last one as a prefix if
-- `is_prefix`. A single English word also matches by its `stem`, unless it was typed as a phrase.
create or replace function parley.build_term_forms(typed text, is_phrase boolean, is_unfinished boolean)
returns table (words text, is_prefix boolean, stem text, query text, phrase text)
language plpgsql immutable parallel safe rows 3 set search_path = pg_catalog, pg_temp as $$
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
        -- Too many words start with one or two letters, and a number is not the start of another one.
        is_prefix := is_unfinished and char_length(last_token) >= 3 and last_token !~ '^[0-9]+$';
        -- In a script without spaces, the last token is a single letter. In a message, a pair may start with it, so it becomes a
        -- prefix, or is left out if the pair before it already has it.
        if last_token ~ ('^' || unspaced || '$') then
            is_prefix := words !~ (unspaced || '{2}$');
            tokens := case when is_prefix then tokens else tokens[:cardinality(tokens) - 1] end;
        end if;
        query := '''' || array_to_string(tokens, ''' <-> ''') || '''' || case when is_prefix then ':*' else '' end;
        phrase := case when cardinality(tokens) > 1 then parley.format_phrase(words, is_prefix) end;
        stem := null;
        if cardinality(tokens) = 1 and not is_phrase and last_token ~ '^[a-z]+$' then
            stem := (ts_lexize('rules.english', last_token))[1];
            query := format('%s | ''=%s'' | ''%2$s''', query, stem);
        end if;
        return next;
    end loop;
end $$;

-- A phrase has spaces around it, except where it begins or ends in a script without spaces, and after a prefix.
create or replace function parley.format_phrase(words text, is_prefix boolean) returns text
language sql immutable parallel safe as $$
    select case when words ~ ('^[' || rules.unspaced() || ']') then '' else ' ' end || words
        || case when is_prefix or words ~ ('[' || rules.unspaced() || ']$') then '' else ' ' end
$$;
