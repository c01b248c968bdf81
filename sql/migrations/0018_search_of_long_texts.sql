-- depends: 0017_index_of_events
--
-- Search is exact in texts of any length, finds emoji and what another keyboard of the same script writes, and no text is
-- expensive.
--
--   rules.ignorable          characters that search ignores within a word
--   rules.separators         characters that separate words
--   rules.emoji              characters that are words by themselves
--   rules.unspaced           letters of scripts without spaces between words, and of Korean
--   rules.stream_safe        a text that can be normalized in linear time
--   rules.fold               a text without accents and other ways to write the same letter
--   rules.split_words        its words, in lower case and in their order, one space apart
--   rules.tokenize           the words as they are indexed
--   rules.join_compounds     the text with compounds such as getName, get_name and e-mail as one word
--   rules.search_document    what of a message is indexed
--
-- The first four are the insides of bracket expressions. They are spelled out, so that they are the same in every locale.
-- The functions of before stay until no other function calls them: leftovers.sql drops them.

create function rules.ignorable() returns text
language sql immutable parallel safe
return '\u00ad\u0300-\u034e\u0350-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0640\u064b-\u065f\u0670'
    '\u200b-\u200d\u2060\u20d0-\u20f0\ufe00-\ufe0f\ufeff\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f';

create function rules.separators() returns text
language sql immutable parallel safe
return '\u0001-/:-@[-`{-\u00bf\u00d7\u00f7\u0589\u05be\u05c0\u05c3\u05f3\u05f4\u060c\u061b\u061c\u061f\u066a-\u066d\u06d4'
    '\u0964\u0965\u0f0b-\u0f0d\u104a-\u104f\u10fb\u1361-\u1368\u17d4-\u17da\u2000-\u20cf\u2117\u2190-\u2319\u231c-\u23e8'
    '\u23f4-\u25ff\u27c0-\u2b1a\u2b1d-\u2b4f\u2b51-\u2b54\u2b56-\u2bff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u3030'
    '\u303d-\u303f\u30fb\ue000-\uf8ff\ufe10-\ufe6f\ufff0-\uffff\U000f0000-\U0010ffff';

create function rules.emoji() returns text
language sql immutable parallel safe
return '\u231a\u231b\u23e9-\u23f3\u2600-\u27bf\u2b1b\u2b1c\u2b50\u2b55\U0001f000-\U0001f3fa\U0001f400-\U0001faff';

create function rules.unspaced() returns text
language sql immutable parallel safe
return '\u0e01-\u0e3a\u0e40-\u0e4e\u0e80-\u0eff\u1000-\u1049\u1050-\u109f\u1780-\u17d3\u17db-\u17ff\u2e80-\u2fdf'
    '\u3005-\u3007\u3021-\u3029\u3031-\u303c\u3041-\u30fa\u30fc-\u31ff\u3400-\u9fff\ua960-\ua97f\uac00-\ud7ff'
    '\uf900-\ufaff\U00020000-\U0003ffff';

-- normalize() sorts each run of combining marks in quadratic time, and can't be cancelled. As in the Stream-Safe Text Format
-- (UAX #15), a run of more than 30 is broken by U+034F. The characters listed can't be in a run: they are starters, and stay
-- so in every version of Unicode. Short texts have no run that takes long.
create function rules.stream_safe(value text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    starters constant text := '\u0001-\u02ff\u0370-\u0482\u048a-\u058f\u05d0-\u05f4\u0620-\u064a\u0660-\u066f\u0671-\u06d5'
        '\u06ee-\u0710\u0904-\u0939\u0958-\u096f\u0985-\u09b9\u09dc-\u09e1\u0a05-\u0a39\u0a85-\u0ab9\u0b05-\u0b39'
        '\u0b83-\u0bb9\u0c05-\u0c39\u0c85-\u0cb9\u0d05-\u0d3a\u0d85-\u0dc6\u0e01-\u0e37\u0e40-\u0e47\u0e81-\u0eb7'
        '\u0ec0-\u0ec6\u0f40-\u0f6c\u1000-\u1036\u10a0-\u135c\u1380-\u16f8\u1780-\u17d1\u1800-\u18a8\u1e00-\u20cf'
        '\u2100-\u2cee\u2d00-\u2d70\u2e80-\u3029\u3041-\u3096\u309d-\ua66e\uac00-\ud7ff\uf900-\ufb06\ufb1f-\ufe1f'
        '\ufe30-\uff9d\U0001d400-\U0001dfff\U0001f000-\U0003ffff';
begin
    if char_length(value) < 500 then
        return value;
    end if;
    return regexp_replace(value, '[^' || starters || ']{30}(?=[^' || starters || '])', E'\\&\u034f', 'g');
end $$;

-- Where compatibility characters, such as one that stands for a sentence of 18 letters, would make a text several times as
-- long, they stay as they are. The second normalization sees the marks that are not ignorable, in the order of the first.
--
-- Letters that keyboards of the Arabic script have in each other's place are one: kaf, yeh, heh and teh marbuta of the Arabic,
-- Persian, Urdu, Kurdish and Sindhi layouts. They have the same skeletons in confusables.txt (UTS #39), which are also
-- those of other letters, as U+06D2 and U+06BA: these have keys of their own beside them, and tell words apart.
create function rules.fold(value text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    decomposed text;
begin
    if octet_length(value) = char_length(value) then
        return value;
    end if;
    value := rules.stream_safe(translate(value, '™℠', ''));
    decomposed := normalize(value, nfkd);
    if char_length(decomposed) > 3 * char_length(value) + 1000 then
        decomposed := normalize(value, nfd);
    end if;
    value := normalize(regexp_replace(decomposed, '[' || rules.ignorable() || ']+', '', 'g'), nfc);
    if value ~ '[\u034føØłŁđĐðÐħĦŧŦıςʼ‘’‐٠-٩۰-۹०-९ßẞþÞæÆœŒکڪیىہھەۃ]' then
        value := translate(value,
            'øØłŁđĐðÐħĦŧŦıςʼ‘’‐٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹०१२३४५६७८९کڪیىہھەۃ' || U&'\034f',
            'oOlLdDdDhHtTiσ''''''-012345678901234567890123456789ككييهههة');
        value := replace(replace(replace(replace(value, 'ß', 'ss'), 'ẞ', 'SS'), 'þ', 'th'), 'Þ', 'TH');
        value := replace(replace(replace(replace(value, 'æ', 'ae'), 'Æ', 'AE'), 'œ', 'oe'), 'Œ', 'OE');
    end if;
    return value;
end $$;

-- v1.2 is 1.2; C++, C# and F# are names. Identifiers are split as people split them: get Name, HTTP Server. An emoji is a word,
-- a flag of two letters too. Where scripts change, words do. Of a word, 64 characters count, but in scripts without spaces.
create function rules.split_words(folded text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    unspaced constant text := '[' || rules.unspaced() || ']';
    spaced constant text := '[^ ' || rules.unspaced() || ']';
begin
    if folded ~ '[+#]|[vV]\d' then
        folded := regexp_replace(folded, '\m[vV](?=\d+[.]\d)', '', 'g');
        folded := regexp_replace(folded, '\m([cC])\+\+', '\1pp', 'g');
        folded := regexp_replace(folded, '\m([cCfF])#', '\1sharp', 'g');
    end if;
    if folded ~ '[A-Za-z0-9][A-Z]' then
        folded := regexp_replace(folded, '(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', ' ', 'g');
    end if;
    if octet_length(folded) <> char_length(folded) then
        folded := regexp_replace(folded, '[\U0001f1e6-\U0001f1ff]{2}|[' || rules.emoji() || ']', ' \& ', 'g');
        folded := regexp_replace(folded, format('(?<=%s)(?=%s)|(?<=%2$s)(?=%1$s)', spaced, unspaced), ' ', 'g');
    end if;
    folded := lower(btrim(regexp_replace(folded, '[' || rules.separators() || ']+', ' ', 'g')));
    if folded ~ '[^ ]{65}' then
        folded := regexp_replace(folded, format('(%s{64})%1$s+', spaced), '\1', 'g');
    end if;
    return folded;
end $$;

-- Runs of letters without spaces become pairs of neighbours, and the last letter by itself: 我家在 is 我家 家在 在.
create function rules.tokenize(words text) returns text[]
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    if octet_length(words) <> char_length(words) then
        words := regexp_replace(words, format('(?<=[%s])[%1$s]', rules.unspaced()), '\& \&', 'g');
    end if;
    return string_to_array(words, ' ');
end $$;

-- As lower case has no seams, rules.split_words() leaves getname whole.
create function rules.join_compounds(folded text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    return regexp_replace(lower(folded), '(?<=[[:alpha:]])[_''-](?=[[:alnum:]])', '', 'g');
end $$;

-- `tsv` has the tokens with their positions, for words, phrases and beginnings of words. Where there are compounds, all tokens
-- come once more with those whole; a letter that nobody types keeps the two apart. Stems that are no words of the text are
-- marked by "=", and have no position.
--
-- A tsvector has up to 255 positions of a lexeme, none beyond 16,383. `words` is null where it has them all. Else it is the
-- text in which a phrase is looked for, with a space at both ends.
create function rules.search_document(content text, out tsv tsvector, out words text)
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    folded constant text := rules.fold(content);
    tokens text[];
    stems text;
begin
    words := rules.split_words(folded);
    if folded ~ '[[:alpha:]][_''-][[:alnum:]]|[a-z0-9][A-Z]|[A-Z][A-Z][a-z]' then
        words := words || ' ꙮ ' || rules.split_words(rules.join_compounds(folded));
    end if;
    tokens := rules.tokenize(words);
    tsv := coalesce((
        select string_agg('''' || t.token || ''':' || t.position, ' ')
        from unnest(tokens) with ordinality t (token, position)), '')::tsvector;
    stems := ts_delete(
        strip(to_tsvector('rules.stems', regexp_replace(words, '[^ ]*[^a-z ][^ ]*', '', 'g'))), tsvector_to_array(tsv))::text;
    tsv := tsv || replace(' ' || stems, ' ''', ' ''=')::tsvector;
    if cardinality(tokens) > 254 and (
        cardinality(tokens) > 16383 or exists (select from unnest(tokens) t group by t having count(*) > 254))
    then
        words := ' ' || words || ' ';
    else
        words := null;
    end if;
end $$;

alter table parley.message_words add column words text;

-- What a search box asks for. In `query` phrases are in terms of positions. For what is found by the index and then by
-- message_words.words, `index_query` has the words of each phrase and `phrase_query` one lexeme in its place.
create type parley.search_query as (
    query tsquery,
    index_query tsquery,
    phrase_query tsquery,
    phrases text[],
    any_word tsquery,
    whole tsquery,
    whole_phrase text
);

create type parley.highlight as (place text, exact text, mark text, stems text[]);

create table parley.letter_variants (
    letter text primary key,
    variants text not null
);

alter table parley.letter_variants enable row level security;

insert into parley.letter_variants (letter, variants)
select f.letter, string_agg(f.variant, '' order by f.variant)
from (
    select chr(c) as variant, lower(rules.fold(chr(c))) as letter
    from generate_series(ascii('0'), x'1ffff'::integer) c where c not between x'd800'::integer and x'dfff'::integer
) f
where char_length(f.letter) in (1, 2) and f.letter !~ ('[' || rules.separators() || ']')
group by f.letter having string_agg(f.variant, '') <> f.letter;

-- Rows that are written from now on are not for the next migration to make anew.
create or replace function parley.messages_words() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into parley.message_words (chat_id, id, type, tsv, words)
    select new.chat_id, new.id, new.type, d.tsv, d.words from rules.search_document(new.content) d
    on conflict (chat_id, id) do update set type = excluded.type, tsv = excluded.tsv, words = excluded.words;
    return null;
end $$;

comment on column parley.message_words.words is 'The words of a message of which tsv can''t hold all positions, for phrases; null for all others.';
comment on type parley.search_query is 'What a search box asks for: parley.parse_search().';
comment on type parley.highlight is 'What of it to mark in messages: parley.parse_highlight().';
comment on table parley.letter_variants is 'The characters that rules.fold() takes for one letter, so that what is found can be marked. Made by migration 0018.';
comment on column parley.letter_variants.letter is 'The letter as rules.fold() has it, in lower case; or two, of a ligature.';
comment on column parley.letter_variants.variants is 'The characters, the letter itself among them.';
