-- What the migration made goes.
-- squawk-ignore-file ban-drop-column, ban-drop-function

-- Chats that were being removed have no members and no owner, so they stay hidden. Once this is applied again they are old
-- chats like others, and go, with a second chat:deleted that nobody is there to hear.
drop trigger if exists chats_before_delete on parley.chats;
drop trigger if exists chats_before_removal on parley.chats;

drop function if exists parley.purge_inactive_chats, parley.begin_removal_of_inactive_chats, parley.members_before_insert cascade;

-- What stays knows of no such chat, until an older checkout's `yoyo apply` loads its own.
create or replace function parley.is_being_removed(chat parley.chats) returns boolean
language sql immutable parallel safe as $$ select false $$;

create trigger chats_before_delete before delete on parley.chats
    for each row execute function parley.chats_before_removal();

alter table parley.chats drop column is_being_removed;
