-- The search index: triggers keep parley.message_words in step with the messages.
--
--   parley.messages_after_write_words    trigger: stores the words of a new or changed message
--   parley.messages_after_delete_words   trigger: removes the words of deleted messages

create or replace function parley.messages_after_write_words() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    document constant record := rules.search_document(new.content);
begin
    if tg_op = 'INSERT' then  -- `on conflict` adds half as much to the cost of the insert, and a new id has no conflict
        insert into parley.message_words (chat_id, id, type, tsv, words)
        values (new.chat_id, new.id, new.type, document.tsv, document.words);
        return null;
    end if;
    insert into parley.message_words (chat_id, id, type, tsv, words)
    values (new.chat_id, new.id, new.type, document.tsv, document.words)
    on conflict (chat_id, id) do update set type = excluded.type, tsv = excluded.tsv, words = excluded.words;
    return null;
end $$;

create or replace function parley.messages_after_delete_words() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from parley.message_words w using deleted_messages d where w.chat_id = d.chat_id and w.id = d.id;
    return null;
end $$;
