-- depends: 0008_read_markers
-- transactional: false
--
-- Counts the members of existing chats, and gives them read markers at the newest message. Existing messages count as read. Each
-- chat is a transaction: if the migration is interrupted, finished chats stay counted, and it can be applied again.

do $$
declare
    chat record;
    last_chat uuid := '00000000-0000-0000-0000-000000000000';
begin
    loop
        -- Lock in a statement of its own: the next statements then see the members who were committed during the wait.
        select c.id, c.last_message_id into chat from parley.chats c
        where c.id > last_chat order by c.id limit 1 for no key update;
        exit when not found;
        update parley.chats c
        set member_count = (select count(*) from parley.members m where m.chat_id = chat.id)
        where c.id = chat.id;
        insert into parley.read_markers (chat_id, user_id, last_read_message_id)
        select m.chat_id, m.user_id, chat.last_message_id from parley.members m
        where m.chat_id = chat.id and chat.last_message_id is not null
        on conflict (chat_id, user_id) do nothing;
        last_chat := chat.id;
        commit;
    end loop;
end $$;
