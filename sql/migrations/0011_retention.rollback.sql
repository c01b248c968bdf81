-- What the migration made goes.
-- squawk-ignore-file ban-drop-column, ban-drop-function

-- Chats that were being removed have no members and no owner, so they stay hidden. Once this is applied again they are old
-- chats like others, and go, with a second chat:deleted that nobody is there to hear.
drop trigger if exists chats_gone on parley.chats;
drop trigger if exists chats_closed on parley.chats;

drop function if exists parley.remove_old_chats, parley.close_old_chats, parley.members_new cascade;

-- What stays knows of no such chat, until an older checkout's `yoyo apply` loads its own.
create or replace function parley.is_closed(chat parley.chats) returns boolean
language sql immutable parallel safe as $$ select false $$;

create trigger chats_gone before delete on parley.chats
    for each row execute function parley.chats_gone();

alter table parley.chats drop column is_being_removed;
