-- The classes of characters that search distinguishes, each as the inside of a bracket expression.
--
--   rules.ignorable    characters that search ignores within a word
--   rules.separators   characters that separate words
--   rules.emoji        characters that are words by themselves
--   rules.digits       the digits of all scripts
--   rules.unspaced     letters of scripts without spaces between words, and of Korean
--
-- They are spelled out, so that they are the same in every locale.
--
-- To change: as search_document.sql describes.

-- Default_Ignorable_Code_Point of Unicode 18.0 (DerivedCoreProperties.txt), and marks on letters. Four kinds are missing:
-- U+034F, which rules.stream_safe() inserts and rules.fold() removes last, and skin tones, tags and U+20E3, which belong to
-- emoji.
create or replace function rules.ignorable() returns text
language sql immutable parallel safe
return '\u00ad\u0300-\u034e\u0350-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u061c\u0640\u064b-\u065f\u0670'
    '\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20d0-\u20e2\u20e4-\u20f0\u3164\ufe00-\ufe0f'
    '\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e001f\U000e0080-\U000e0fff';

-- Emoji are not included. The ignorable characters among the separators matter only in snippets, where a word may begin after
-- one.
create or replace function rules.separators() returns text
language sql immutable parallel safe
return '\u0001-/:-@[-`{-\u00a8\u00aa-\u00ad\u00af-\u00bf\u00d7\u00f7\u0589\u05be\u05c0\u05c3\u05f3\u05f4\u060c\u061b\u061c\u061f'
    '\u066a-\u066d\u06d4\u0964\u0965\u0f0b-\u0f0d\u104a-\u104f\u10fb\u1361-\u1368\u17d4-\u17da\u2000-\u203b\u203d-\u2048'
    '\u204a-\u20cf\u2117\u2190-\u2193\u219a-\u21a8\u21ab-\u2319\u231c-\u2327\u2329-\u23ce\u23d0-\u23e8\u23f4-\u23f7'
    '\u23fb-\u24c1\u24c3-\u24db\u24dd-\u25a9\u25ac-\u25b5\u25b7-\u25bf\u25c1-\u25fa\u25ff\u27c0-\u2933\u2936-\u2b04\u2b08-\u2b1a'
    '\u2b1d-\u2b4f\u2b51-\u2b54\u2b56-\u2bff\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u303e\u303f\u30fb\ue000-\uf8ff'
    '\ufe10-\ufe6f\ufff0-\uffff\U000f0000-\U0010ffff';

-- Emoji=Yes of Unicode 18.0 (emoji-data.txt) without ASCII, the rest of their blocks, and ligatures that are sentences. U+24DC
-- is U+24C2 in lower case.
create or replace function rules.emoji() returns text
language sql immutable parallel safe
return '\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf\u23e9-\u23f3\u23f8-\u23fa\u24c2'
    '\u24dc\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d'
    '\u3297\u3299\ufdfa\ufdfb\ufdfd\U0001f000-\U0001faff';

-- The digits of all scripts (Nd of Unicode 18.0), ten by ten, that normalize() leaves unchanged.
do $$
begin
    execute format('create or replace function rules.digits() returns text language sql immutable parallel safe return %L', (
        select string_agg(chr(ascii(t.zero) + d.digit), '' order by t.place, d.digit)
        from regexp_split_to_table(U&'\0660\06F0\07C0\0966\09E6\0A66\0AE6\0B66\0BE6\0C66\0CE6\0D66\0DE6\0E50\0ED0\0F20\1040\1090'
            '\17E0\1810\1946\19D0\1A80\1A90\1B50\1BB0\1C40\1C50\A620\A8D0\A900\A9D0\A9F0\AA50\ABF0\+0104A0\+010D30\+010D40'
            '\+011066\+0110F0\+011136\+0111D0\+0112F0\+011450\+0114D0\+011650\+0116C0\+0116D0\+0116DA\+011730\+0118E0\+011950'
            '\+011BF0\+011C50\+011D50\+011DA0\+011DE0\+011F50\+016130\+016A60\+016AC0\+016B50\+016D70\+01CCF0\+01E140\+01E2F0'
            '\+01E4F0\+01E5F1\+01E950', '') with ordinality t (zero, place)
        cross join generate_series(0, 9) d (digit)));
end $$;

create or replace function rules.unspaced() returns text
language sql immutable parallel safe
return '\u0e01-\u0e3a\u0e40-\u0e4e\u0e80-\u0eff\u1000-\u1049\u1050-\u109f\u1780-\u17d3\u17db-\u17ff\u2e80-\u2fdf'
    '\u3005-\u3007\u3021-\u3029\u3031-\u303c\u3041-\u30fa\u30fc-\u31ff\u3400-\u9fff\ua960-\ua97f\uac00-\ud7ff'
    '\uf900-\ufaff\U00020000-\U0003ffff';
