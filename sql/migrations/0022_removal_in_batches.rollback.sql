-- Drops what the migration created. Deleted chats stay hidden until parley.purge_inactive_chats() removes them.
-- squawk-ignore-file ban-drop-column, ban-drop-constraint, adding-foreign-key-constraint, constraint-missing-not-valid

-- In the order in which requests lock them, to avoid deadlocks.
lock table next_auth.users, parley.members, parley.chats, parley.deleted_users in access exclusive mode;

drop trigger if exists users_after_insert on next_auth.users;

delete from parley.members m where not exists (select from next_auth.users u where u.id = m.user_id);
update parley.chats c set owner_id = null
where c.owner_id is not null and not exists (select from next_auth.users u where u.id = c.owner_id);

alter table parley.members drop constraint if exists members_user_exists;
alter table parley.members add constraint members_user_exists foreign key (user_id) references next_auth.users on delete cascade;
alter table parley.chats drop constraint if exists chats_owner_exists;
alter table parley.chats add constraint chats_owner_exists foreign key (owner_id) references next_auth.users on delete set null;

-- The functions as they were before the migration.
create or replace function api.delete_chat(chat_id text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    chat constant uuid := parley.select_chat(chat_id);
begin
    perform parley.require_owner(chat);
    delete from parley.chats c where c.id = chat and parley.assert_if_match(parley.chat_version(chat, c.seq));
    if not found then
        perform parley.require_owner(chat);
    end if;
end $$;

create or replace function parley.users_after_delete() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into parley.deleted_users (user_id) values (old.id)
    on conflict (user_id) do update set deleted_at = excluded.deleted_at;
    return null;
end $$;

create or replace function parley.users_after_delete_keys() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    delete from parley.idempotency_keys f where f.user_id = old.id;
    return null;
end $$;

create or replace trigger users_after_delete_keys after delete on next_auth.users
    for each row execute function parley.users_after_delete_keys();

alter table parley.deleted_users drop column is_being_removed;

comment on column parley.chats.owner_id is 'Who may rename and delete the chat and manage its members; null when that account was deleted.';
comment on table parley.members is 'Who is in which chat, the owner included.';
