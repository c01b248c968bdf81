-- depends: 0017_index_of_events
--
-- Search is exact in texts of any length, finds emoji and what another keyboard of the same script writes, and no text is
-- expensive.
--
--   rules.ignorable          characters that search ignores within a word
--   rules.separators         characters that separate words
--   rules.emoji              characters that are words by themselves
--   rules.digits             the digits of all scripts
--   rules.unspaced           letters of scripts without spaces between words, and of Korean
--   rules.stream_safe        a text that can be normalized in linear time
--   rules.decompose          a text in which compatibility characters are letters
--   rules.fold               a text without accents and other ways to write the same letter
--   rules.split_words        its words, in lower case and in their order, one space apart
--   rules.tokenize           the words as they are indexed
--   rules.join_compounds     the text with compounds such as getName, get_name and e-mail as one word
--   rules.search_document    what of a message is indexed
--
-- The first five are the insides of bracket expressions. They are spelled out, so that they are the same in every locale.
-- The functions of before stay until no other function calls them: leftovers.sql drops them.

-- Default_Ignorable_Code_Point of Unicode 18.0 (DerivedCoreProperties.txt), and marks on letters. Four are not among them:
-- U+034F is what rules.stream_safe() inserts, and rules.fold() removes it last; skin tones, tags and U+20E3 count in emoji.
create function rules.ignorable() returns text
language sql immutable parallel safe
return '\u00ad\u0300-\u034e\u0350-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u061c\u0640\u064b-\u065f\u0670'
    '\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20d0-\u20e2\u20e4-\u20f0\u3164\ufe00-\ufe0f'
    '\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e001f\U000e0080-\U000e0fff';

-- Without emoji. The ignorable characters among them count in snippets only, where a word may begin behind one.
create function rules.separators() returns text
language sql immutable parallel safe
return '\u0001-/:-@[-`{-\u00a8\u00aa-\u00ad\u00af-\u00bf\u00d7\u00f7\u0589\u05be\u05c0\u05c3\u05f3\u05f4\u060c\u061b\u061c\u061f'
    '\u066a-\u066d\u06d4\u0964\u0965\u0f0b-\u0f0d\u104a-\u104f\u10fb\u1361-\u1368\u17d4-\u17da\u2000-\u203b\u203d-\u2048'
    '\u204a-\u20cf\u2117\u2190-\u2193\u219a-\u21a8\u21ab-\u2319\u231c-\u2327\u2329-\u23ce\u23d0-\u23e8\u23f4-\u23f7'
    '\u23fb-\u24c1\u24c3-\u24db\u24dd-\u25a9\u25ac-\u25b5\u25b7-\u25bf\u25c1-\u25fa\u25ff\u27c0-\u2933\u2936-\u2b04\u2b08-\u2b1a'
    '\u2b1d-\u2b4f\u2b51-\u2b54\u2b56-\u2bff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u303e\u303f\u30fb\ue000-\uf8ff'
    '\ufe10-\ufe6f\ufff0-\uffff\U000f0000-\U0010ffff';

-- Emoji=Yes of Unicode 18.0 (emoji-data.txt) without ASCII, the rest of their blocks, and ligatures that are sentences. U+24DC
-- is U+24C2 in lower case.
create function rules.emoji() returns text
language sql immutable parallel safe
return '\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf\u23e9-\u23f3\u23f8-\u23fa\u24c2'
    '\u24dc\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d'
    '\u3297\u3299\ufdfa\ufdfb\ufdfd\U0001f000-\U0001faff';

-- The digits of all scripts (Nd of Unicode 18.0), ten by ten, that normalize() leaves as they are.
do $$
begin
    execute format('create function rules.digits() returns text language sql immutable parallel safe return %L', (
        select string_agg(chr(ascii(t.zero) + d.digit), '' order by t.place, d.digit)
        from regexp_split_to_table(U&'\0660\06F0\07C0\0966\09E6\0A66\0AE6\0B66\0BE6\0C66\0CE6\0D66\0DE6\0E50\0ED0\0F20\1040\1090'
            '\17E0\1810\1946\19D0\1A80\1A90\1B50\1BB0\1C40\1C50\A620\A8D0\A900\A9D0\A9F0\AA50\ABF0\+0104A0\+010D30\+010D40'
            '\+011066\+0110F0\+011136\+0111D0\+0112F0\+011450\+0114D0\+011650\+0116C0\+0116D0\+0116DA\+011730\+0118E0\+011950'
            '\+011BF0\+011C50\+011D50\+011DA0\+011DE0\+011F50\+016130\+016A60\+016AC0\+016B50\+016D70\+01CCF0\+01E140\+01E2F0'
            '\+01E4F0\+01E5F1\+01E950', '') with ordinality t (zero, place)
        cross join generate_series(0, 9) d (digit)));
end $$;

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

-- In compatibility decomposition (NFKD), but for some characters: `undivided` is null or the inside of a bracket expression.
create function rules.decompose(value text, undivided text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    if undivided is null then
        return normalize(value, nfkd);
    end if;
    return (
        select coalesce(string_agg(coalesce(p.part[1], normalize(p.part[2], nfkd)), '' order by p.place), '')
        from regexp_matches(value, format('([%s]+)|([^%1$s]+)', undivided), 'g') with ordinality p (part, place));
end $$;

-- Where compatibility characters would make a text longer than `max_length`, the words and sentences among them, which have up
-- to 18 letters, stay as they are; the others have up to four. Emoji stay so everywhere: no letter is one, even where it has
-- its shape. The second normalization sees the marks that are not ignorable, in the order of the first.
--
-- A skin tone behind an emoji that has skin tones is ignored (Emoji_Modifier_Base of emoji-data.txt), tags but for a flag's, and
-- U+20E3 but for a keycap's. Digits are translated script by script, as few texts have those of several.
--
-- Letters that keyboards of the Arabic script have in each other's place are one: kaf, yeh, heh, teh marbuta and gaf of the
-- Arabic, Persian, Urdu, Kurdish, Pashto, Sindhi and Malay layouts. They have the same skeletons in confusables.txt (UTS #39)
-- or, the gafs, the same key on the layouts of Afghanistan (xkeyboard-config). Some skeletons are also those of other letters,
-- as U+06D2 and U+06BA: these have keys of their own beside them, and tell words apart. Alef wasla is an alef with a mark.
create function rules.fold(value text, max_length integer default 100000) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    emoji constant text := '‼⁉™ℹⓂ㊗㊙🈁🈂🈚🈯🈲-🈺🉐🉑';
    long constant text := '\u3300-\u3357\u337f\u33ae\u33af\ufdf2-\ufdfc';
    bases constant text := '\u261d\u26f9\u270a-\u270d\U0001f385\U0001f3c2-\U0001f3c4\U0001f3c7\U0001f3ca-\U0001f3cc\U0001f442'
        '\U0001f443\U0001f446-\U0001f450\U0001f466-\U0001f478\U0001f47c\U0001f481-\U0001f483\U0001f485-\U0001f487\U0001f48f'
        '\U0001f491\U0001f4aa\U0001f574\U0001f575\U0001f57a\U0001f590\U0001f595\U0001f596\U0001f645-\U0001f647'
        '\U0001f64b-\U0001f64f\U0001f6a3\U0001f6b4-\U0001f6b6\U0001f6c0\U0001f6cc\U0001f90c\U0001f90f\U0001f918-\U0001f91f'
        '\U0001f926\U0001f930-\U0001f939\U0001f93c-\U0001f93e\U0001f977\U0001f9b5\U0001f9b6\U0001f9b8\U0001f9b9\U0001f9bb'
        '\U0001f9cd-\U0001f9cf\U0001f9d1-\U0001f9dd\U0001fac3-\U0001fac5\U0001faf0-\U0001fafa';
    digits constant text := rules.digits();
    undivided text;
    decomposed text;
begin
    if octet_length(value) = char_length(value) then
        return value;
    end if;
    value := rules.stream_safe(translate(value, '℠', ''));
    undivided := case when value ~ ('[' || emoji || ']') then emoji end;
    decomposed := rules.decompose(value, undivided);
    if char_length(decomposed) > max_length then
        decomposed := rules.decompose(value, emoji || long);
    elsif value ~ '[ﷺﷻ]' then
        decomposed := rules.decompose(regexp_replace(value, '[ﷺﷻ]', ' \& ', 'g'), undivided);
    end if;
    value := regexp_replace(decomposed, '[' || rules.ignorable() || ']+', '', 'g');
    if value ~ '[\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]' then
        value := regexp_replace(value, format('(?<=[%s])[\U0001f3fb-\U0001f3ff]|(?<![0-9#*])\u20e3|'
            '(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0020-\U000e007f]+', bases), '', 'g');
    end if;
    value := normalize(value, nfc);
    if value ~ ('[' || digits || ']') then
        for digit in 0 .. 9 loop  -- by digit, since a text may have those of dozens of scripts
            value := regexp_replace(value, '[' || regexp_replace(digits, format('.{%s}(.).{%s}', digit, 9 - digit), '\1', 'g') || ']',
                digit::text, 'g');
        end loop;
    end if;
    if value ~ '[\u034føØłŁđĐðÐħĦŧŦıςʼ‘’‐ßẞþÞæÆœŒکڪیىہھەۃګݢݣٱ]' then
        value := translate(value, 'øØłŁđĐðÐħĦŧŦıςʼ‘’‐کڪیىہھەۃګݢݣٱ' || U&'\034f', 'oOlLdDdDhHtTiσ''''''-ككييهههةگڬڭا');
        value := replace(replace(replace(replace(value, 'ß', 'ss'), 'ẞ', 'SS'), 'þ', 'th'), 'Þ', 'TH');
        value := replace(replace(replace(replace(value, 'æ', 'ae'), 'Æ', 'AE'), 'œ', 'oe'), 'Œ', 'OE');
    end if;
    return value;
end $$;

-- v1.2 is 1.2; C++, C# and F# are names. Identifiers are split as people split them: get Name, HTTP Server. An emoji is a word,
-- a flag too; a keycap is its digit. Where scripts change, words do. Of a word, 64 characters count, but in scripts without spaces.
create function rules.split_words(folded text) returns text
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

-- Runs of letters without spaces become pairs of neighbours, and the last letter by itself: 我家在 is 我家 家在 在.
create function rules.tokenize(words text) returns text[]
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    if octet_length(words) <> char_length(words) then
        words := regexp_replace(words, format('(?<=[%s])[%1$s]', rules.unspaced()), '\& \&', 'g');
    end if;
    return string_to_array(words, ' ');
end $$;

-- As lower case has no seams, rules.split_words() leaves getname whole. A sign behind a name is no part of it.
create function rules.join_compounds(folded text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    return regexp_replace(lower(folded), '(?<=[[:alpha:]])[_''-](?=[[:alnum:]])|(?<=[[:alnum:]])[©®™]', '', 'g');
end $$;

-- `tsv` has the tokens with their positions, for words, phrases and beginnings of words. Where there are compounds, all tokens
-- come once more with those whole; a letter that nobody types keeps the two apart. Stems that are no words of the text are
-- marked by "=", and have no position.
--
-- A tsvector has up to 255 positions of a lexeme, none beyond 16,383. `words` is null where it has them all. Else it is the
-- text in which a phrase is looked for, with a space at both ends. A text with more tokens than that has the positions of its
-- first tokens only, by which relevance counts how often a word occurs: writing and parsing a position takes longer than all
-- else that a token needs here. For the same reason, of the second copy of such a text only new words are tokenized.
create function rules.search_document(content text, out tsv tsvector, out words text)
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

alter table parley.message_words add column words text;

-- Both are out of line where they are long. Compressing them would take longer than writing them, and each search that reads
-- them would pay for it again.
alter table parley.message_words alter column tsv set storage external, alter column words set storage external;

-- What a search box asks for. In `query` phrases are in terms of positions. For what is found by the index and then by
-- message_words.words, `index_query` has the words of each phrase and `phrase_query` one lexeme in its place. Of a message that
-- index_query finds, the phrases that it has decide alone where they match `sure_query` or don't match `possible_query`.
create type parley.search_query as (
    query tsquery,
    index_query tsquery,
    phrase_query tsquery,
    sure_query tsquery,
    possible_query tsquery,
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
create or replace function parley.messages_after_write_words() returns trigger
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
