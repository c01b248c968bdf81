-- What the migration made goes.
-- squawk-ignore-file ban-drop-column, ban-drop-function, ban-drop-table, ban-drop-type

-- In the order in which requests take them.
lock table parley.messages, parley.message_words, parley.letter_variants in access exclusive mode;

-- What the functions of before call.
create or replace function rules.folded(value text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    marks constant text := '[\u00ad\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0640\u064b-\u065f\u0670'
        '\u200b-\u200d\u2060\u20d0-\u20f0\ufe00-\ufe0f\ufeff]';
begin
    if octet_length(value) = char_length(value) then
        return value;
    end if;
    value := normalize(regexp_replace(normalize(translate(value, '™℠', ''), nfkd), marks, '', 'g'), nfc);
    value := translate(value, 'øØłŁđĐðÐħĦŧŦıςʼ‘’‐٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹०१२३४५६७८९',
        'oOlLdDdDhHtTiσ''''''-012345678901234567890123456789');
    value := replace(replace(replace(replace(value, 'ß', 'ss'), 'ẞ', 'SS'), 'þ', 'th'), 'Þ', 'TH');
    return replace(replace(replace(replace(value, 'æ', 'ae'), 'Æ', 'AE'), 'œ', 'oe'), 'Œ', 'OE');
end $$;

create or replace function rules.words(folded text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    separators constant text := '\u0001-/:-@[-`{-\u00bf\u00d7\u00f7\u0589\u05be\u05c0\u05c3\u05f3\u05f4\u060c\u061b\u061c\u061f'
        '\u066a-\u066d\u06d4\u0964\u0965\u0f0b-\u0f0d\u104a-\u104f\u10fb\u1361-\u1368\u17d4-\u17da\u2000-\u20cf\u2117\u2190-\u2bff'
        '\u2e00-\u2e7f\u3000-\u3004\u3008-\u3020\u3030\u303d-\u303f\u30fb\ue000-\uf8ff\ufe10-\ufe6f\ufff0-\uffff'
        '\U0001f000-\U0001faff\U000f0000-\U0010ffff';
    unspaced constant text := '\u0e01-\u0e3a\u0e40-\u0e4e\u0e80-\u0eff\u1000-\u1049\u1050-\u109f\u1780-\u17d3\u17db-\u17ff'
        '\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u303c\u3041-\u30fa\u30fc-\u31ff\u3400-\u9fff\ua960-\ua97f\uac00-\ud7ff'
        '\uf900-\ufaff\U00020000-\U0003ffff';
begin
    folded := regexp_replace(folded, '\m[vV](?=\d+[.]\d)', '', 'g');
    folded := regexp_replace(folded, '\m([cC])\+\+', '\1pp', 'g');
    folded := regexp_replace(folded, '\m([cCfF])#', '\1sharp', 'g');
    folded := regexp_replace(folded, '(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', ' ', 'g');
    folded := regexp_replace(folded, '[' || separators || ']+', ' ', 'g');
    if octet_length(folded) <> char_length(folded) then
        folded := regexp_replace(folded,
            '(?<=[^ ' || unspaced || '])(?=[' || unspaced || '])|(?<=[' || unspaced || '])(?=[^ ' || unspaced || '])', ' ', 'g');
        folded := regexp_replace(folded, '(?<=[' || unspaced || '])([' || unspaced || '])', '\1 \1', 'g');
    end if;
    return regexp_replace(lower(btrim(folded)), '([^ ]{64})[^ ]+', '\1', 'g');
end $$;

create or replace function rules.joined(folded text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    return regexp_replace(lower(folded), '(?<=[[:alpha:]])[_''-](?=[[:alnum:]])', '', 'g');
end $$;

create or replace function rules.search_vector(content text) returns tsvector
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    folded constant text := rules.folded(content);
    words text := rules.words(folded);
    vector tsvector;
    stems text;
begin
    if folded ~ '[[:alpha:]][_''-][[:alnum:]]|[a-z0-9][A-Z]|[A-Z][A-Z][a-z]' then
        words := words || ' ꙮ ' || rules.words(rules.joined(folded));
    end if;
    vector := to_tsvector('pg_catalog.simple', words);
    stems := ts_delete(strip(to_tsvector('rules.stems', words)), tsvector_to_array(vector))::text;
    return vector || replace(' ' || stems, ' ''', ' ''=')::tsvector;
end $$;

create or replace function parley.messages_after_write_words() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into parley.message_words (chat_id, id, type, tsv)
    values (new.chat_id, new.id, new.type, rules.search_vector(new.content))
    on conflict (chat_id, id) do update set type = excluded.type, tsv = excluded.tsv;
    return null;
end $$;

-- With the functions that take or return them.
drop type parley.search_query, parley.highlight cascade;

drop function rules.search_document, rules.join_compounds, rules.tokenize, rules.split_words, rules.fold, rules.decompose,
    rules.stream_safe, rules.unspaced, rules.digits, rules.emoji, rules.separators, rules.ignorable;

drop table parley.letter_variants cascade;

alter table parley.message_words drop column words, alter column tsv set storage extended;
