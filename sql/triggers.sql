-- Every trigger. What each does is with its function, in functions/. Those of partitions come and go with their table's.

do $$
declare
    old record;
begin
    for old in
        select t.tgname, t.tgrelid::regclass as place from pg_trigger t join pg_proc p on p.oid = t.tgfoid
        where not t.tgisinternal and t.tgparentid = 0 and p.pronamespace = 'parley'::regnamespace
    loop
        execute format('drop trigger %I on %s', old.tgname, old.place);
    end loop;
end $$;

create trigger chats_new before insert on parley.chats
    for each row execute function parley.chats_new();

create trigger chats_add_owner after insert on parley.chats
    for each row when (new.owner_id is not null) execute function parley.chats_add_owner();

create trigger chats_renamed before update of title on parley.chats
    for each row when (old.title is distinct from new.title) execute function parley.chats_renamed();

create trigger chats_gone before delete on parley.chats
    for each row when (not old.is_being_removed) execute function parley.chats_gone();

create trigger chats_closed before update of is_being_removed on parley.chats
    for each row when (new.is_being_removed and not old.is_being_removed) execute function parley.chats_gone();

create trigger members_new before insert on parley.members
    for each row execute function parley.members_new();

create trigger members_added after insert on parley.members
    referencing new table as added for each statement execute function parley.members_added();

create trigger members_gone after delete on parley.members
    referencing old table as gone for each statement execute function parley.members_gone();

create trigger members_stay before update on parley.members
    for each row when ((old.chat_id, old.user_id) is distinct from (new.chat_id, new.user_id))
    execute function parley.members_stay();

create trigger messages_new before insert on parley.messages
    for each row execute function parley.messages_new();

create trigger messages_changed before update of content, type on parley.messages
    for each row when (old.content is distinct from new.content or old.type is distinct from new.type)
    execute function parley.messages_changed();

create trigger messages_gone after delete on parley.messages
    referencing old table as gone for each statement execute function parley.messages_gone();

create trigger messages_retyped after update on parley.messages
    referencing old table as old_rows new table as new_rows for each statement execute function parley.messages_retyped();

create trigger messages_stay before update on parley.messages
    for each row when ((old.chat_id, old.id) is distinct from (new.chat_id, new.id))
    execute function parley.messages_stay();

create trigger messages_words after insert or update of content, type on parley.messages
    for each row execute function parley.messages_words();

create trigger messages_words_gone after delete on parley.messages
    referencing old table as gone for each statement execute function parley.messages_words_gone();

create trigger outbox_removed after delete on parley.outbox
    referencing old table as gone for each statement execute function parley.outbox_removed();

create trigger outbox_emptied after truncate on parley.outbox
    for each statement execute function parley.outbox_removed();

create trigger users_address before insert or update of email on next_auth.users
    for each row execute function parley.users_address();

create trigger users_changed before update of name, email, image on next_auth.users
    for each row when ((old.name, old.email, old.image) is distinct from (new.name, new.email, new.image))
    execute function parley.users_changed();

create constraint trigger users_return after insert on next_auth.users deferrable initially deferred
    for each row execute function parley.users_return();

create trigger users_deleted after delete on next_auth.users
    for each row execute function parley.users_deleted();

create trigger users_image_left after update of image or delete on next_auth.users
    for each row execute function parley.users_image_left();

create trigger settings_changed before update on parley.settings
    for each row when (old is distinct from new) execute function parley.settings_changed();
