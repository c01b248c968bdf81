-- Folding: different ways to write the same letter become one.
--
--   rules.stream_safe        a text that can be normalized in linear time
--   rules.decompose          a text in which compatibility characters are letters
--   rules.fold               a text without accents and other ways to write the same letter
--   parley.letter_variants   the characters that rules.fold() maps to one letter, for marking hits in snippets
--
-- To change: as search_document.sql describes. Also delete all rows of parley.letter_variants, in a migration of the same
-- release: the statement at the end fills the empty table.

-- normalize() sorts each run of combining marks in quadratic time, and cannot be cancelled. As in the Stream-Safe Text Format
-- (UAX #15), a run of more than 30 is broken by U+034F. The characters listed cannot be in a run: they are starters, and stay
-- so in every version of Unicode. In a short text, no run takes long.
create or replace function rules.stream_safe(value text) returns text
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

-- In compatibility decomposition (NFKD), except for some characters: `undivided` is null or the inside of a bracket expression.
create or replace function rules.decompose(value text, undivided text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    if undivided is null then
        return normalize(value, nfkd);
    end if;
    return (
        select coalesce(string_agg(coalesce(p.part[1], normalize(p.part[2], nfkd)), '' order by p.place), '')
        from regexp_matches(value, format('([%s]+)|([^%1$s]+)', undivided), 'g') with ordinality p (part, place));
end $$;

-- A compatibility character is decomposed into up to four letters or, if it stands for words or a sentence, into up to 18. If
-- the text would become longer than `max_length`, the latter stay as they are. Emoji always stay, even those that look like a
-- letter. The second normalization composes the marks that are not ignorable, in the order in which the first has put them.
--
-- Three kinds of characters are removed: skin tones after an emoji that has skin tones (Emoji_Modifier_Base of emoji-data.txt),
-- tags except those of a flag, and U+20E3 except that of a keycap.
--
-- Letters of the Arabic script that have the same place on different keyboards become one: kaf, yeh, heh, teh marbuta and gaf
-- of the Arabic, Persian, Urdu, Kurdish, Pashto, Sindhi and Malay layouts. They have the same skeletons in confusables.txt
-- (UTS #39) or, in the case of gaf, the same key on the layouts of Afghanistan (xkeyboard-config). Other letters with the same
-- skeletons, such as U+06D2 and U+06BA, do not become one: they have keys of their own, and distinguish words. Alef wasla is
-- an alef with a mark.
create or replace function rules.fold(value text, max_length integer default 100000) returns text
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

-- Only where the table is empty. A thousand characters, each on a line of its own, are folded at once, because a call for each
-- of a hundred thousand takes seconds.
insert into parley.letter_variants (letter, variants)
select f.letter, string_agg(f.variant, '' order by f.variant)
from (
    select c.variant, lower(c.folded) as letter
    from (
        select array_agg(chr(c) order by c) as variants, string_agg(chr(c), E'\n' order by c) as lines
        from generate_series(ascii('0'), x'1ffff'::integer) c
        where c not between x'd800'::integer and x'dfff'::integer and not exists (select from parley.letter_variants)
        group by c / 1000
    ) thousand
    cross join unnest(thousand.variants, string_to_array(rules.fold(thousand.lines), E'\n')) c (variant, folded)
) f
where char_length(f.letter) in (1, 2) and f.letter !~ ('[' || rules.separators() || ']')
group by f.letter having string_agg(f.variant, '') <> f.letter;
