-- All triggers, named after their functions, which functions/ describes. PostgreSQL clones those of a partitioned table to its
-- partitions.

do $$
declare
    existing record;
begin
    for existing in
        select t.tgname, t.tgrelid::regclass as table_name from pg_trigger t join pg_proc p on p.oid = t.tgfoid
        where not t.tgisinternal and t.tgparentid = 0 and p.pronamespace = 'parley'::regnamespace
    loop
        execute format('drop trigger %I on %s', existing.tgname, existing.table_name);
    end loop;
end $$;

create trigger chats_before_insert before insert on parley.chats
    for each row execute function parley.chats_before_insert();

create trigger chats_after_insert after insert on parley.chats
    for each row when (new.owner_id is not null) execute function parley.chats_after_insert();

create trigger chats_before_owner_update before update of owner_id on parley.chats
    for each row when (new.owner_id is distinct from old.owner_id and new.owner_id is not null)
    execute function parley.chats_before_owner_update();

create trigger chats_before_update before update of title on parley.chats
    for each row when (old.title is distinct from new.title) execute function parley.chats_before_update();

create trigger chats_before_delete before delete on parley.chats
    for each row when (not old.is_being_removed) execute function parley.chats_before_removal();

create trigger chats_before_removal before update of is_being_removed on parley.chats
    for each row when (new.is_being_removed and not old.is_being_removed) execute function parley.chats_before_removal();

create trigger members_before_insert before insert on parley.members
    for each row execute function parley.members_before_insert();

create trigger members_after_insert after insert on parley.members
    referencing new table as new_members for each statement execute function parley.members_after_insert();

create trigger members_after_delete after delete on parley.members
    referencing old table as removed_members for each statement execute function parley.members_after_delete();

create trigger members_reject_key_update before update on parley.members
    for each row when ((old.chat_id, old.user_id) is distinct from (new.chat_id, new.user_id))
    execute function parley.members_reject_key_update();

create trigger messages_before_insert before insert on parley.messages
    for each row execute function parley.messages_before_insert();

create trigger messages_before_update before update of content, type on parley.messages
    for each row when (old.content is distinct from new.content or old.type is distinct from new.type)
    execute function parley.messages_before_update();

create trigger messages_after_delete after delete on parley.messages
    referencing old table as deleted_messages for each statement execute function parley.messages_after_delete();

create trigger messages_after_type_update after update on parley.messages
    referencing old table as old_rows new table as new_rows for each statement execute function parley.messages_after_type_update();

create trigger messages_reject_key_update before update on parley.messages
    for each row when ((old.chat_id, old.id) is distinct from (new.chat_id, new.id))
    execute function parley.messages_reject_key_update();

create trigger messages_after_write_words after insert or update of content, type on parley.messages
    for each row execute function parley.messages_after_write_words();

create trigger messages_after_delete_words after delete on parley.messages
    referencing old table as deleted_messages for each statement execute function parley.messages_after_delete_words();

create trigger messages_after_image_added after insert or update of content, type on parley.messages
    for each row when (new.type = 'image') execute function parley.messages_after_image_added();

create trigger messages_after_image_removed after delete or update of content, type on parley.messages
    for each row when (old.type = 'image') execute function parley.messages_after_image_removed();

create trigger outbox_after_delete after delete on parley.outbox
    referencing old table as removed_events for each statement execute function parley.outbox_after_delete();

create trigger outbox_after_truncate after truncate on parley.outbox
    for each statement execute function parley.outbox_after_delete();

create trigger users_before_email_write before insert or update of email on next_auth.users
    for each row execute function parley.users_before_email_write();

-- A comparison of rows with three columns would be deparsed in another way after a restore.
create trigger users_before_update before update of name, email, image on next_auth.users
    for each row when (old.name is distinct from new.name or old.email is distinct from new.email or old.image is distinct from new.image)
    execute function parley.users_before_update();

create trigger users_after_update after update of name, image on next_auth.users
    for each row when ((old.name, old.image) is distinct from (new.name, new.image))
    execute function parley.users_after_update();

create constraint trigger users_after_insert after insert on next_auth.users deferrable initially deferred
    for each row execute function parley.users_after_insert();

create trigger users_after_delete after delete on next_auth.users
    for each row execute function parley.users_after_delete();

create trigger users_after_image_change after update of image or delete on next_auth.users
    for each row execute function parley.users_after_image_change();

create trigger settings_before_update before update on parley.settings
    for each row when (old is distinct from new) execute function parley.settings_before_update();
