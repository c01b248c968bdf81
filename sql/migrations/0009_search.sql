-- depends: 0008_sign_in
--
-- Search that finds what people mean, and pages that cost the same wherever they are: the words of messages in a table of
-- their own, counts of messages by blocks, and each chat's last message.
--
-- What older functions need stays until they are replaced: sql/leftovers.sql takes it away then. Until then, the triggers
-- here keep the words right; those of messages that were there before are filled in by the next migration.
--
--   rules.folded           a text without accents and other ways to write the same letter
--   rules.words            the words in it, in lower case, in their order, one space apart
--   rules.joined           the text with what is written as one, like getName, get_name and e-mail, in one word
--   rules.search_vector    what of a message is searched

-- All locks at once, or none: who waits for one while it holds another may be waited for by a request.
lock table parley.chats, parley.messages in access exclusive mode;

-- English, without a list of words to leave out: no word is too common to be found.
create text search dictionary rules.english (template = pg_catalog.snowball, language = english);
create text search configuration rules.stems (copy = pg_catalog.simple);
alter text search configuration rules.stems alter mapping for asciiword with rules.english;

create function rules.folded(value text) returns text
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

-- v1.2 is 1.2; C++, C# and F# have names. Identifiers are split as people split them: get Name, HTTP Server. Scripts
-- without spaces become pairs of neighbours, and the last character by itself: 我家在 is 我家 家在 在. Lists of characters
-- are spelled out, so that the answer is the same in every locale. Of a word, 64 characters count.
create function rules.words(folded text) returns text
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

-- As lower case has no seams, rules.words() leaves getname whole.
create function rules.joined(folded text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    return regexp_replace(lower(folded), '(?<=[[:alpha:]])[_''-](?=[[:alnum:]])', '', 'g');
end $$;

-- The words as they are, where they are, for phrases and beginnings of words. Where some are written as one, all words once
-- more with those whole; a letter that nobody types keeps the two apart. And the stems that are no words of the text, marked
-- by "=".
create function rules.search_vector(content text) returns tsvector
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

create or replace function rules.allowed_values(field text) returns text[]
language sql immutable parallel safe
return case field
    when 'type' then array['text', 'code', 'image']
    when 'theme' then array['light', 'dark', 'system']
    when 'responseStyle' then array['concise', 'detailed']
    when 'sort' then array['newest', 'relevance']
end;

-- Apart from the messages, so that a search reads little, and in partitions by chat, so that a large chat's rows are
-- close to each other: a common word is counted in two fifths of the time.
create table parley.message_words (
    chat_id uuid,
    id uuid,
    type text not null,
    tsv tsvector not null,
    primary key (chat_id, id)
) partition by hash (chat_id);

-- What was written since the last vacuum is in a list that each search reads through, so it is kept short.
create index message_words_search on parley.message_words using gin (chat_id, tsv) with (gin_pending_list_limit = 256);

alter table parley.message_words enable row level security;

do $$
declare
    part text;
begin
    for i in 0..15 loop
        part := format('message_words_%s', i);
        execute format('create table parley.%I partition of parley.message_words for values with (modulus 16, remainder %s)', part, i);
        execute format('alter table parley.%I enable row level security', part);
    end loop;
end $$;

create table parley.message_blocks (
    chat_id uuid constraint message_blocks_chat_exists references parley.chats on delete cascade,
    first_id uuid,
    before_id uuid not null,
    -- Up to a thousand.
    -- squawk-ignore prefer-bigint-over-int
    messages integer not null,
    by_type jsonb not null,
    primary key (chat_id, first_id)
);

alter table parley.message_blocks enable row level security;

-- A filter of messages by type and id, and a page as a query asks for it: by number, or next to a message. first_id is in
-- the range, before_id and after_id are not.
create type parley.message_filter as (type text, first_id uuid, before_id uuid);
create type parley.page_request as (number bigint, size bigint, skip bigint, after_id uuid, before_id uuid, is_ascending boolean);

alter table parley.chats add column last_message_id uuid, add column counted_messages bigint not null default 0;

create function parley.messages_after_write_words() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into parley.message_words (chat_id, id, type, tsv)
    values (new.chat_id, new.id, new.type, rules.search_vector(new.content))
    on conflict (chat_id, id) do update set type = excluded.type, tsv = excluded.tsv;
    return null;
end $$;

create function parley.messages_after_delete_words() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from parley.message_words w using gone g where w.chat_id = g.chat_id and w.id = g.id;
    return null;
end $$;

create trigger messages_after_write_words after insert or update of content, type on parley.messages
    for each row execute function parley.messages_after_write_words();

create trigger messages_after_delete_words after delete on parley.messages
    referencing old table as gone for each statement execute function parley.messages_after_delete_words();

comment on text search dictionary rules.english is 'Stems of English words, those that PostgreSQL''s own leaves out too.';
comment on text search configuration rules.stems is 'Stems of words in Latin script, other words as they are.';
comment on type parley.message_filter is 'Which messages: of a type or null for all, with ids from first_id to before before_id.';
comment on type parley.page_request is 'Which of them: the page of this number and size, or the next to before_id or, newer ones, to after_id.';
comment on table parley.message_words is 'What of a message is searched, beside it; in partitions by chat.';
comment on column parley.message_words.id is 'The message''s.';
comment on column parley.message_words.type is 'The message''s, since searches filter by it.';
comment on column parley.message_words.tsv is 'rules.search_vector() of the message''s content.';
comment on table parley.message_blocks is 'How many messages there are, in blocks of a thousand neighbours when they were counted first: what lets a page be found without reading those before it. The newest messages of a chat are in no block yet.';
comment on column parley.message_blocks.first_id is 'Of the block''s oldest message, when it was counted first.';
comment on column parley.message_blocks.before_id is 'The block''s messages have lesser ids: first_id of the next block.';
comment on column parley.message_blocks.messages is 'How many there are, kept up to date.';
comment on column parley.message_blocks.by_type is 'The same for each type.';
comment on column parley.chats.last_message_id is 'The newest message; null in an empty chat. With the chat''s own id in its place, the order of latest activity.';
comment on column parley.chats.counted_messages is 'How many of message_count are in message_blocks.';
