-- What the migration made goes.
-- squawk-ignore-file ban-drop-column, ban-drop-function, ban-drop-table, ban-drop-type

-- Search by the messages' own column again, whose words are made anew: this takes as long as rewriting all messages does.
-- All locks at once, or none, as going forward.
lock table parley.chats, parley.messages, parley.message_words, parley.message_blocks in access exclusive mode;

-- Those of the older checkout have other parameters.
drop function if exists api.list_chats, api.list_messages, api.search;

drop function if exists parley.messages_after_write_words, parley.messages_after_delete_words, parley.messages_after_type_update, parley.messages_reject_key_update cascade;

create or replace function rules.searchable(value text) returns text
language sql immutable parallel safe
return translate(value, '_<@:/.', '      ');

alter table parley.messages add column if not exists
    -- All messages are rewritten, as the first line says.
    -- squawk-ignore adding-field-with-default
    tsv tsvector not null generated always as (to_tsvector('simple', rules.searchable(content))) stored;
comment on column parley.messages.tsv is 'The words of content, for search.';
-- squawk-ignore require-concurrent-index-creation
create index if not exists messages_search on parley.messages using gin (chat_id, tsv);

alter table parley.chats add column if not exists last_message_at timestamptz;
comment on column parley.chats.last_message_at is 'created_at of the newest message; null in an empty chat.';
update parley.chats set last_message_at = rules.uuid7_timestamp(last_message_id);

-- What is still called until an older checkout's `yoyo apply` loads its own.
create or replace function parley.last_message_at(chat parley.chats) returns timestamptz
language sql immutable as $$ select chat.last_message_at $$;

create or replace function parley.count_new_message(chat_id uuid, out id uuid, out seq bigint)
language sql volatile as $$
    update parley.chats c
    set seq = c.seq + 1, message_count = c.message_count + 1, last_message_at = greatest(parley.now_ms(), c.last_message_at)
    where c.id = count_new_message.chat_id returning parley.generate_uuid7(c.last_message_at, c.seq), c.seq
$$;

create or replace function parley.uncount_messages(chat uuid, ids uuid[]) returns void
language sql volatile as $$
    update parley.chats c
    set seq = c.seq + cardinality(ids), message_count = c.message_count - cardinality(ids), last_message_at = (
        select m.created_at from parley.messages m where m.chat_id = c.id order by m.id desc limit 1)
    where c.id = chat
$$;

create or replace function api.get_chat(chat_id text) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    chat constant uuid := parley.select_chat(chat_id);
begin
    return (
        select json_build_object(
            'id', c.id,
            'title', c.title,
            'role', case when c.owner_id = session.user_id() then 'owner' else 'member' end,
            'createdAt', parley.iso8601(c.created_at),
            'updatedAt', parley.iso8601(c.updated_at),
            'lastMessageAt', parley.iso8601(c.last_message_at))
        from parley.chats c where c.id = chat);
end $$;

create or replace function parley.fetch_chat(chat uuid) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return api.get_chat(chat::text);
end $$;

alter table parley.chats drop column last_message_id, drop column counted_messages;

-- With all else, in one transaction; a drop takes a moment.
-- squawk-ignore require-concurrent-index-deletion
drop index if exists parley.messages_type;

drop table parley.message_blocks cascade;

drop table parley.message_words cascade;

-- With the functions that take or answer them.
drop type parley.page_request, parley.message_filter cascade;

create or replace function rules.allowed_values(field text) returns text[]
language sql immutable parallel safe
return case field
    when 'type' then array['text', 'code', 'image']
    when 'theme' then array['light', 'dark', 'system']
    when 'responseStyle' then array['concise', 'detailed']
end;

drop function rules.search_vector, rules.joined, rules.words, rules.folded;

drop text search configuration rules.stems;

drop text search dictionary rules.english;
