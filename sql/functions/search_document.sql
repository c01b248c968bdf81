-- The words of a message, as search indexes them, with compounds and stems.
--
--   rules.split_words       the words of a folded text, in lower case and in their order, one space apart
--   rules.tokenize          the words as they are indexed
--   rules.join_compounds    the text with compounds such as getName, get_name and e-mail as one word
--   rules.search_document   the indexed words of a message
--
-- To change these functions, or those that they call: the results are stored in parley.message_words. Rows that are written
-- from then on have the new words; recompute the older ones in a migration of the next release, in batches (sql/README.md,
-- "Backfills"), because migrations run before functions are loaded. Also increase the version in parley.etag().

-- v1.2 is 1.2; C++, C# and F# are names. Identifiers are split where their case changes: get Name, HTTP Server. An emoji is a
-- word, and so is a flag; a keycap is its digit. A word ends where the script changes. Only the first 64 characters of a word
-- count, except in scripts without spaces.
create or replace function rules.split_words(folded text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    spaced constant text := '[^ ' || rules.unspaced() || ']';
begin
    if strpos(folded, U&'\20e3') > 0 then
        folded := replace(replace(folded, U&'#\20e3', ' keycaphash '), U&'*\20e3', ' keycapasterisk ');
        folded := regexp_replace(folded, '(\d)\u20e3', ' \1 ', 'g');
    end if;
    if folded ~ '[cC]\+\+|[cCfF]#|[vV]\d' then
        folded := regexp_replace(folded, '\m[vV](?=\d+[.]\d)', '', 'g');
        folded := regexp_replace(folded, '\m([cC])\+\+', '\1pp', 'g');
        folded := regexp_replace(folded, '\m([cCfF])#', '\1sharp', 'g');
    end if;
    if folded ~ '[A-Za-z0-9][A-Z]' then
        folded := regexp_replace(folded, '(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', ' ', 'g');
    end if;
    if octet_length(folded) <> char_length(folded) then
        folded := regexp_replace(folded, '[\U0001f1e6-\U0001f1ff]{2}|\U0001f3f4[\U000e0020-\U000e007f]*|[' || rules.emoji()
            || ']|[' || rules.unspaced() || ']+', ' \& ', 'g');
    end if;
    folded := lower(btrim(regexp_replace(folded, '[' || rules.separators() || ']+', ' ', 'g')));
    if folded ~ '[^ ]{65}' then
        folded := regexp_replace(folded, format('(%s{64})%1$s+', spaced), '\1', 'g');
    end if;
    return folded;
end $$;

-- In scripts without spaces, a run of letters becomes its pairs of adjacent letters, and the last letter by itself: 我家在 becomes
-- 我家 家在 在.
create or replace function rules.tokenize(words text) returns text[]
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    if octet_length(words) <> char_length(words) then
        words := regexp_replace(words, format('(?<=[%s])[%1$s]', rules.unspaced()), '\& \&', 'g');
    end if;
    return string_to_array(words, ' ');
end $$;

-- In lower case a compound has no boundaries, so rules.split_words() leaves getname whole. A sign after a name, as in Java™, is
-- not part of the name.
create or replace function rules.join_compounds(folded text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    return regexp_replace(lower(folded), '(?<=[[:alpha:]])[_''-](?=[[:alnum:]])|(?<=[[:alnum:]])[©®™]', '', 'g');
end $$;

-- `tsv` has the tokens with their positions, for words, phrases and prefixes. If there are compounds, all tokens follow a second
-- time, with each compound as one token. A letter that is practically never typed separates the two copies. Stems that are not
-- words of the text are marked by "=", and have no position.
--
-- A tsvector has up to 255 positions of a lexeme, none beyond 16,383. `words` is null if `tsv` has all positions. Otherwise
-- it is the text in which phrases are searched, with a space at both ends. A text with more tokens than that has the
-- positions of its first tokens only, by which relevance counts how often a word occurs: writing and parsing a position takes
-- longer than everything else that a token needs here. For the same reason, only new words of the second copy of such a text
-- are tokenized.
create or replace function rules.search_document(content text, out tsv tsvector, out words text)
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    last_position constant integer := 16383;
    folded constant text := rules.fold(content);
    joined text;
    new_words text;
    tokens text[];
    counted integer;
    english text[];
    stems text;
begin
    words := rules.split_words(folded);
    tokens := rules.tokenize(words);
    if folded ~ '[[:alpha:]][_''-][[:alnum:]]|[[:alnum:]][©®™]|[a-z0-9][A-Z]|[A-Z][A-Z][a-z]' then
        joined := rules.split_words(rules.join_compounds(folded));
        new_words := case when cardinality(tokens) <= last_position then joined else array_to_string(array(
            select unnest(string_to_array(joined, ' ')) except select unnest(string_to_array(words, ' '))), ' ') end;
        tokens := tokens || 'ꙮ'::text || rules.tokenize(new_words);
        words := words || ' ꙮ ' || joined;
    end if;
    counted := case when cardinality(tokens) <= last_position then last_position else 4000 end;
    tsv := coalesce((
        select string_agg('''' || t.token || ''':' || t.position, ' ')
        from unnest(tokens[:counted]) with ordinality t (token, position)), '')::tsvector
        || array_to_tsvector(tokens[counted + 1 :]);
    english := array(
        select l.lexeme from unnest(tsvector_to_array(tsv)) l (lexeme)
        where l.lexeme collate "C" between 'a' and '{' and l.lexeme !~ '[^a-z]');
    stems := ts_delete(strip(to_tsvector('rules.stems', array_to_string(english, ' '))), english)::text;
    tsv := tsv || replace(' ' || stems, ' ''', ' ''=')::tsvector;
    if cardinality(tokens) > 254 and (
        cardinality(tokens) > last_position or exists (select from unnest(tokens) t group by t having count(*) > 254))
    then
        words := ' ' || words || ' ';
    else
        words := null;
    end if;
end $$;
