-- Snippets: the part of a message that a search shows, as HTML in which <mark> marks the hits.
--
--   parley.parse_highlight    what to find and to mark in messages, as regular expressions
--   parley.spelling_pattern   the ways to write a word, as a regular expression
--   parley.letter_pattern     the ways to write a letter, as a regular expression
--   parley.snippet            some words of a message around the first hit
--   parley.find_hit           the part of a message around the next hit
--   parley.snippet_size       how many characters to show
--   parley.trim_to_words      that part, cut to whole words
--   parley.highlight_words    these words with the hits marked
--
-- A message is searched as it was written, by patterns that allow every variant of a letter: folding or normalizing it would
-- take as long as indexing it does. The patterns are built once per search.

-- `place` matches whole phrases, `mark` their words. Words with one of the `stems` are matched by their beginning, and `exact`
-- matches only the others. `place` includes the character before a word, since a look-behind would be tried at every place, and
-- requires one after it, so that the end of a part does not count as the end of a word. Only the first words of a long search
-- are used.
create or replace function parley.parse_highlight(search text) returns parley.highlight
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan as $$
declare
    max_letters constant integer := 40;
    separators constant text := rules.separators();
    unspaced constant text := rules.unspaced() || rules.emoji();
    seam constant text := '(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])';
    before_word constant text := format('(?:[%s%s]|[A-Za-z0-9](?=[A-Z])|[vV](?=\d))', separators, unspaced);
    behind_word constant text := format('(?:(?=[%s%s])|%s)', separators, unspaced, seam);
    word_start constant text := format('(?:(?<![^%s])|(?<=[%s])|%s|(?<=[vV])(?=\d))', separators, unspaced, seam);
    word_end constant text := format('(?:(?![^%s])|(?=[%s])|%s)', separators, unspaced, seam);
    gap constant text := format('(?:[%s]+|(?<=[%s])|(?=[%2$s])|%s)', separators, unspaced, seam);
    rest_of_word constant text := format('(?:[_''ʼ‘’‐-]?[^%s%s])*', separators, unspaced);
    highlight parley.highlight;
begin
    with forms as materialized (
        select w.*, row_number() over (order by t.place) as number,
            sum(char_length(w.words)) over (order by t.place) as letters
        from parley.search_terms(search) t cross join lateral parley.word_forms(t.typed, t.is_phrase, t.is_open) w
        where not t.is_negated
    ), words as (
        select f.number, w.place, w.word ~ ('[' || unspaced || ']') as is_unspaced,
            w.place = max(w.place) over (partition by f.number) as is_last,
            parley.spelling_pattern(w.word) || case when f.is_prefix and w.place = max(w.place) over (partition by f.number)
                and w.word !~ ('[' || unspaced || ']') then rest_of_word else '' end as pattern
        from forms f cross join lateral unnest(string_to_array(f.words, ' ')) with ordinality w (word, place)
        where f.letters <= max_letters
    ), phrases as (
        select string_agg(case when w.place > 1 then gap else '' end || w.pattern, '' order by w.place) as pattern,
            bool_or(w.is_unspaced and w.place = 1) as starts_unspaced, bool_or(w.is_unspaced and w.is_last) as ends_unspaced
        from words w group by w.number
    ), stems as (
        -- The last letter of a stem may replace others in the word: happi, hope, possibl.
        select f.stem, parley.spelling_pattern(
            regexp_replace(f.stem, '(?<=.)(?:(?<=^.)ie|[ie]|(?<=b)l)$', '')) || rest_of_word as pattern
        from forms f where f.stem is not null and f.letters <= max_letters
    ), places as (
        select p.* from phrases p
        union all
        select s.pattern, false, false from stems s
    ), marks as (
        select w.pattern, w.is_unspaced from words w
        union
        select s.pattern, false from stems s
    )
    select (
            select string_agg(case when p.starts_unspaced then '' else before_word end || '(?:' || p.patterns || ')'
                || case when p.ends_unspaced then '' else behind_word end, '|')
            from (
                select p.starts_unspaced, p.ends_unspaced, string_agg(p.pattern, '|') as patterns
                from places p group by p.starts_unspaced, p.ends_unspaced) p),
        (select string_agg(w.pattern, '|') from words w),
        (select concat_ws('|', word_start || '(?:' || string_agg(m.pattern, '|') filter (where not m.is_unspaced) || ')' || word_end,
            string_agg(m.pattern, '|') filter (where m.is_unspaced)) from marks m having count(*) > 0),
        (select array_agg(s.stem) from stems s)
    into highlight;
    return highlight;
end $$;

-- Between letters, a word may have a joint as in get_name and don't, and characters that the search ignores.
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

-- A word that begins like one with the right stem may have another stem, and a hit may be in characters that only normalization
-- turns into letters, such as half-width ones. Then more attempts are made, as far as the response's budget allows. Hits are
-- marked by control characters until the text is HTML.
create or replace function parley.snippet(content text, highlight parley.highlight, is_within_budget boolean) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    source text := content || '';  -- read once
    hit record := parley.find_hit(source, highlight.place, after => 0);
    attempts_left integer := case when is_within_budget then 10 else 2 end;
    marked text;
begin
    if hit.place is null and is_within_budget and octet_length(content) <> char_length(content) then
        source := normalize(rules.stream_safe(content), nfkc);
        hit := parley.find_hit(source, highlight.place, after => 0);
    end if;
    while hit.place is not null and attempts_left > 0 loop
        marked := parley.highlight_words(parley.trim_to_words(hit.part, hit.is_start, hit.is_end), highlight);
        exit when marked ~ E'\u0001';
        hit := parley.find_hit(source, highlight.place, after => hit.place + 100);  -- no more than was shown
        attempts_left := attempts_left - 1;
    end loop;
    if marked is null or marked !~ E'\u0001' then
        marked := parley.trim_to_words(left(content, 1000), is_start => true, is_end => char_length(content) <= 1000);
    end if;
    marked := replace(replace(replace(marked, '&', '&amp;'), '<', '&lt;'), '>', '&gt;');
    marked := replace(replace(marked, '"', '&quot;'), '''', '&#39;');
    return replace(replace(marked, E'\u0001', '<mark>'), E'\u0002', '</mark>');
end $$;

-- The part begins shortly before the hit and is long enough for a snippet. A binary search finds the hit in linear time for any
-- pattern and text; one regexp function over the whole text may take quadratic time. `place` is null if no hit is after `after`.
create or replace function parley.find_hit(
    content text, pattern text, after integer, out place integer, out part text, out is_start boolean, out is_end boolean)
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    before_hit constant integer := 60;
    size_to_show constant integer := 1000;
    size integer;
    half integer;
    first_half text;
    before_match integer;
    skip integer;
begin
    place := after;
    part := ' ' || content || ' ';
    if place > 0 then
        part := substr(part, place + 1);
    end if;
    size := char_length(part);
    is_end := true;
    while size > 3 * size_to_show loop
        half := size / 2;
        first_half := left(part, half + size_to_show);
        if first_half ~ pattern then
            size := half + size_to_show;
            part := first_half;
            is_end := false;
        else
            size := size - half + before_hit;
            part := right(part, size);
            place := place + half - before_hit;
        end if;
    end loop;
    before_match := char_length(regexp_replace(part, format('(?:%s).*', pattern), ''));
    if before_match = size or pattern is null then
        place := null;
        return;
    end if;
    skip := case when place = 0 and before_match <= 100 then 0 else before_match - before_hit end;
    skip := greatest(case when is_end then least(skip, size - parley.snippet_size() - 1) else skip end, 0);
    is_start := place + skip = 0;
    is_end := is_end and skip + size_to_show >= size;
    part := substr(part, skip + 1, size_to_show);
    part := case when is_start then substr(part, 2) else part end;  -- without the spaces that were added
    part := case when is_end then left(part, -1) else part end;
    place := place + before_match + 1;
end $$;

create or replace function parley.snippet_size() returns integer
language sql immutable parallel safe as $$ select 240 $$;

-- Collapses white space, as HTML does.
create or replace function parley.trim_to_words(part text, is_start boolean, is_end boolean) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    size constant integer := parley.snippet_size();
    trimmed text := regexp_replace(translate(part, E'\u0001\u0002', ''), '\s+', ' ', 'g');
begin
    if char_length(trimmed) > size or not is_end then
        trimmed := regexp_replace(left(trimmed, size), ' [^ ]{0,20}$', '') || '…';
    end if;
    return case when is_start then trimmed else '…' || regexp_replace(trimmed, '^[^ ]{0,20} ', '') end;
end $$;

create or replace function parley.highlight_words(part text, highlight parley.highlight) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    marked text := coalesce(regexp_replace(part, highlight.mark, E'\u0001\\&\u0002', 'g'), part);
    word text;
    stem text;
begin
    if highlight.stems is not null then
        for word in
            select distinct m.word[1] from regexp_matches(marked, E'\u0001([^\u0002]*)\u0002', 'g') m (word)
        loop
            stem := (ts_lexize('rules.english', rules.split_words(rules.join_compounds(rules.fold(word)))))[1];
            if array_position(highlight.stems, stem) is null and word !~ format('^(?:%s)$', highlight.exact)
            then
                marked := replace(marked, E'\u0001' || word || E'\u0002', word);
            end if;
        end loop;
    end if;
    return normalize(marked, nfc);
end $$;
