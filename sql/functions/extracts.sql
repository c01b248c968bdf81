-- What of a message to show for a search, as HTML in which <mark> marks what was found.
--
--   parley.extract             some words around the first place
--   parley.cut                 a part of a text
--   parley.mark                marks what was found in it
--   parley.mark_pattern        a regular expression for that
--   parley.spelling_pattern    … for the ways to write a word

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
