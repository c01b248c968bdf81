-- What people type into a search box, as a tsquery for what rules.search_vector() makes of messages.
--
--   parley.parse_search    all of it
--   parley.parse_term      one thing in it
--   parley.word_query      the words of that

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
        term := term || format('''=%s''', stem)::tsquery;
        if stem <> last_word then
            term := term || phraseto_tsquery('pg_catalog.simple', stem);
        end if;
    end if;
    return term;
end $$;
