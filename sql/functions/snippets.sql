-- Snippets: a fragment of a message around the first hit of a search, as HTML in which <mark> marks the hits.
--
--   parley.parse_highlight      the patterns of a search, to find hits and to mark them
--   parley.boundary_patterns    the patterns of word boundaries
--   parley.spelling_pattern     a pattern for the spellings of a word
--   parley.letter_pattern       a pattern for the variants of a letter
--   parley.snippet              the snippet of a message
--   parley.find_fragment        finds the next hit, and the fragment around it
--   parley.max_snippet_length   the maximum length of a snippet
--   parley.trim_fragment        trims a fragment to whole words and the maximum length
--   parley.highlight_words      marks the hits in a fragment
--
-- A message is searched as it was written, by regular expressions that accept each variant of a letter: folding or normalizing it
-- would take as long as indexing it does. The patterns are built once per search.

-- hit_pattern matches a form of a term as a whole, mark_pattern each of its words. Words with one of `stems` are matched by their
-- first letters; exact_pattern matches only the words that need no stem. hit_pattern includes the character before a word, since
-- a look-behind would be tried at each position, and requires a character after it, since the end of a fragment is not the end of
-- a word. Of a long search, only the first terms are used: each term makes matching slower.
create or replace function parley.parse_highlight(search text) returns parley.highlight
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan as $$
declare
    max_characters constant integer := 40;
    unspaced constant text := '[' || rules.unspaced() || rules.emoji() || ']';
    boundary constant record := parley.boundary_patterns();
    highlight parley.highlight;
begin
    with forms as materialized (
        select f.*, row_number() over (order by t.place) as number,
            sum(char_length(f.words)) over (order by t.place) as characters
        from parley.parse_search_terms(search) t cross join lateral parley.build_term_forms(t.typed, t.is_phrase, t.is_unfinished) f
        where not t.is_negated
    ), words as (
        select f.number, w.place, w.word ~ unspaced as is_unspaced,
            w.place = max(w.place) over (partition by f.number) as is_last,
            parley.spelling_pattern(w.word) || case when f.is_prefix and w.place = max(w.place) over (partition by f.number)
                and w.word !~ unspaced then boundary.rest_of_word else '' end as pattern
        from forms f cross join lateral unnest(string_to_array(f.words, ' ')) with ordinality w (word, place)
        where f.characters <= max_characters
    ), phrases as (
        select string_agg(case when w.place > 1 then boundary.between_words else '' end || w.pattern, '' order by w.place)
                as pattern,
            bool_or(w.is_unspaced and w.place = 1) as starts_unspaced, bool_or(w.is_unspaced and w.is_last) as ends_unspaced
        from words w group by w.number
    ), stems as (
        -- The last letter of a stem may differ from that of the word: happi, hope, possibl.
        select f.stem, parley.spelling_pattern(
            regexp_replace(f.stem, '(?<=.)(?:(?<=^.)ie|[ie]|(?<=b)l)$', '')) || boundary.rest_of_word as pattern
        from forms f where f.stem is not null and f.characters <= max_characters
    ), hits as (
        select p.* from phrases p union all select s.pattern, false, false from stems s
    ), marks as (
        select w.pattern, w.is_unspaced from words w union select s.pattern, false from stems s
    )
    select (
            select string_agg(case when p.starts_unspaced then '' else boundary.before_word end || '(?:' || p.patterns || ')'
                || case when p.ends_unspaced then '' else boundary.after_word end, '|')
            from (
                select h.starts_unspaced, h.ends_unspaced, string_agg(h.pattern, '|') as patterns
                from hits h group by h.starts_unspaced, h.ends_unspaced) p),
        (select string_agg(w.pattern, '|') from words w),
        (select concat_ws('|', boundary.word_start || '(?:' || string_agg(m.pattern, '|') filter (where not m.is_unspaced) || ')'
            || boundary.word_end, string_agg(m.pattern, '|') filter (where m.is_unspaced)) from marks m having count(*) > 0),
        (select array_agg(s.stem) from stems s)
    into highlight;
    return highlight;
end $$;

-- before_word consumes a character and after_word looks ahead at one, for hit_pattern. word_start and word_end are look-arounds
-- that also match at the ends of a text, for mark_pattern. rules.split_words() splits at the same places: at separators, around
-- letters of scripts without spaces and emoji, at the `seam` of two words in camel case, and between "v" and a number.
create or replace function parley.boundary_patterns(
    out before_word text, out after_word text, out word_start text, out word_end text, out between_words text,
    out rest_of_word text)
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    separators constant text := rules.separators();
    unspaced constant text := rules.unspaced() || rules.emoji();
    seam constant text := '(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])';
begin
    before_word := format('(?:[%s%s]|[A-Za-z0-9](?=[A-Z])|[vV](?=\d))', separators, unspaced);
    after_word := format('(?:(?=[%s%s])|%s)', separators, unspaced, seam);
    word_start := format('(?:(?<![^%s])|(?<=[%s])|%s|(?<=[vV])(?=\d))', separators, unspaced, seam);
    word_end := format('(?:(?![^%s])|(?=[%s])|%s)', separators, unspaced, seam);
    between_words := format('(?:[%s]+|(?<=[%s])|(?=[%2$s])|%s)', separators, unspaced, seam);
    rest_of_word := format('(?:[_''ʼ‘’‐-]?[^%s%s])*', separators, unspaced);
end $$;

-- Between two letters, a word may have a joint, as in get_name and don't, and characters that search ignores.
create or replace function parley.spelling_pattern(word text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    ignorable constant text := format('[\u034f\u20e3%s%s]*', rules.ignorable(),
        case when word ~ ('^[' || rules.emoji() || ']') then '\U0001f3fb-\U0001f3ff' else '' end);
    joint constant text := ignorable || '(?:[_''ʼ‘’‐-]' || ignorable || ')?';
    ligatures constant text := (
        select string_agg(v.letter || '|', '') from parley.letter_variants v
        where v.letter = any (array(select substr(word, i, 2) from generate_series(1, char_length(word) - 1) i)));
    pattern text;
begin
    select string_agg(
            case when char_length(m.letters[1]) = 1 then parley.letter_pattern(m.letters[1])
            else format('(?:%s%s%s|%s)', parley.letter_pattern(left(m.letters[1], 1)), joint,
                parley.letter_pattern(right(m.letters[1], 1)), parley.letter_pattern(m.letters[1])) end,
            joint order by m.place) || ignorable
    into pattern
    from regexp_matches(word, coalesce(ligatures, '') || '.', 'g') with ordinality m (letters, place);
    return pattern || case word when 'cpp' then '|[cC]\+\+' when 'csharp' then '|[cC]#' when 'fsharp' then '|[fF]#'
        when 'keycaphash' then '|#\ufe0f?\u20e3' when 'keycapasterisk' then '|[*]\ufe0f?\u20e3' else '' end;
end $$;

create or replace function parley.letter_pattern(letter text) returns text
language sql stable as $$
    select coalesce((select '[' || v.variants || ']' from parley.letter_variants v where v.letter = letter_pattern.letter), letter)
$$;

-- A match of hit_pattern may be no hit, because a word that starts like a stem may have another stem; then the next match is
-- tried. Without a match, the normalized text is tried, since only normalization turns some characters into letters, such as
-- half-width ones. Beyond the budget, fewer attempts are made, and the text is not normalized. If no hit is found, the snippet is
-- the start of the text. U+0001 and U+0002 enclose hits until the text is HTML.
create or replace function parley.snippet(content text, highlight parley.highlight, is_within_budget boolean) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    fragment_length constant integer := 1000;  -- as in parley.find_fragment()
    source text := content || '';  -- copied, so that an out-of-line value is read once
    hit record := parley.find_fragment(source, highlight.hit_pattern, after => 0);
    attempts_left integer := case when is_within_budget then 10 else 2 end;
    marked text;
begin
    if hit.place is null and is_within_budget and octet_length(content) <> char_length(content) then
        source := normalize(rules.stream_safe(content), nfkc);
        hit := parley.find_fragment(source, highlight.hit_pattern, after => 0);
    end if;
    while hit.place is not null and attempts_left > 0 loop
        marked := parley.highlight_words(parley.trim_fragment(hit.fragment, hit.is_start, hit.is_end), highlight);
        exit when marked ~ E'\u0001';
        hit := parley.find_fragment(source, highlight.hit_pattern, after => hit.place + 100);  -- less than was shown
        attempts_left := attempts_left - 1;
    end loop;
    if marked is null or marked !~ E'\u0001' then
        marked := parley.trim_fragment(
            left(content, fragment_length), is_start => true, is_end => char_length(content) <= fragment_length);
    end if;
    marked := replace(replace(replace(marked, '&', '&amp;'), '<', '&lt;'), '>', '&gt;');
    marked := replace(replace(marked, '"', '&quot;'), '''', '&#39;');
    return replace(replace(marked, E'\u0001', '<mark>'), E'\u0002', '</mark>');
end $$;

-- `place` is the position of the first hit after the position `after`, or null if there is none. The fragment begins shortly
-- before the hit. `is_start` and `is_end` are true if it is the start and the end of the text. A binary search finds the hit in
-- linear time for any pattern and text, whereas matching the whole text at once may take quadratic time.
create or replace function parley.find_fragment(
    content text, pattern text, after integer, out place integer, out fragment text, out is_start boolean, out is_end boolean)
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    context constant integer := 60;  -- characters before the hit
    max_at_start constant integer := 100;  -- characters before a hit for which the fragment starts with the text
    fragment_length constant integer := 1000;  -- characters: more than a snippet has, since white space collapses
    size integer;
    half integer;
    first_half text;
    before_hit integer;
    skip integer;
begin
    place := after;
    fragment := ' ' || content || ' ';
    if place > 0 then
        fragment := substr(fragment, place + 1);
    end if;
    size := char_length(fragment);
    is_end := true;
    while size > 3 * fragment_length loop
        half := size / 2;
        first_half := left(fragment, half + fragment_length);
        if first_half ~ pattern then
            size := half + fragment_length;
            fragment := first_half;
            is_end := false;
        else
            size := size - half + context;
            fragment := right(fragment, size);
            place := place + half - context;
        end if;
    end loop;
    before_hit := char_length(regexp_replace(fragment, format('(?:%s).*', pattern), ''));
    if before_hit = size or pattern is null then
        place := null;
        return;
    end if;
    skip := case when place = 0 and before_hit <= max_at_start then 0 else before_hit - context end;
    skip := greatest(case when is_end then least(skip, size - parley.max_snippet_length() - 1) else skip end, 0);
    is_start := place + skip = 0;
    is_end := is_end and skip + fragment_length >= size;
    fragment := substr(fragment, skip + 1, fragment_length);
    fragment := case when is_start then substr(fragment, 2) else fragment end;  -- without the spaces that were added
    fragment := case when is_end then left(fragment, -1) else fragment end;
    place := place + before_hit + 1;
end $$;

-- In characters, without tags and entities.
create or replace function parley.max_snippet_length() returns integer
language sql immutable parallel safe as $$ select 240 $$;

-- White space collapses, as in HTML. A word of more than 20 characters is cut.
create or replace function parley.trim_fragment(fragment text, is_start boolean, is_end boolean) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    max_length constant integer := parley.max_snippet_length();
    trimmed text := regexp_replace(translate(fragment, E'\u0001\u0002', ''), '\s+', ' ', 'g');
begin
    if char_length(trimmed) > max_length or not is_end then
        trimmed := regexp_replace(left(trimmed, max_length), ' [^ ]{0,20}$', '') || '…';
    end if;
    return case when is_start then trimmed else '…' || regexp_replace(trimmed, '^[^ ]{0,20} ', '') end;
end $$;

-- The mark is removed again from words that start like a stem of the search but have another stem.
create or replace function parley.highlight_words(fragment text, highlight parley.highlight) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    marked text := coalesce(regexp_replace(fragment, highlight.mark_pattern, E'\u0001\\&\u0002', 'g'), fragment);
    word text;
    stem text;
begin
    if highlight.stems is not null then
        for word in
            select distinct m.word[1] from regexp_matches(marked, E'\u0001([^\u0002]*)\u0002', 'g') m (word)
        loop
            stem := (ts_lexize('rules.english', rules.split_words(rules.join_compounds(rules.fold(word)))))[1];
            if array_position(highlight.stems, stem) is null and word !~ format('^(?:%s)$', highlight.exact_pattern)
            then
                marked := replace(marked, E'\u0001' || word || E'\u0002', word);
            end if;
        end loop;
    end if;
    return normalize(marked, nfc);
end $$;
