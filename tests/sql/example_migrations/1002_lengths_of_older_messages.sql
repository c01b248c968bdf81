-- depends: 1001_message_lengths
-- transactional: false
--
-- Example of a backfill: the lengths of the messages that existed before the trigger, in batches. Each batch is a
-- transaction, so other writers wait for one batch at most. Interrupted, the finished batches stay, and the migration can be
-- applied again.

do $$
declare
    batch_size constant integer := 100;
    last_chat uuid := '00000000-0000-0000-0000-000000000000';
    last_id uuid := '00000000-0000-0000-0000-000000000000';
begin
    loop
        -- Locking the messages waits for edits in progress, and keeps them from being deleted before their rows are inserted.
        -- Rows of the trigger are newer than what this statement has read, so they are kept.
        with batch as materialized (
            select m.chat_id, m.id, m.content from parley.messages m
            where (m.chat_id, m.id) > (last_chat, last_id) order by m.chat_id, m.id limit batch_size
            for no key update
        ), filled as (
            insert into parley.message_lengths (chat_id, id, characters)
            select b.chat_id, b.id, char_length(b.content) from batch b
            on conflict (chat_id, id) do nothing
        )
        select b.chat_id, b.id into last_chat, last_id from batch b order by b.chat_id desc, b.id desc limit 1;
        exit when not found;
        commit;
    end loop;
end $$;
