-- Removal in the background: a deletion takes the same time whatever the number of messages or memberships. A deleted chat is
-- hidden at once, and its rows are purged in batches. A deleted user is removed from all chats. The user's messages remain:
-- messages.user_id has no foreign key.
--
--   parley.begin_chat_removal    deletes a chat of the user for all members; its messages remain
--   parley.is_being_removed      whether a chat was deleted, and its rows are being purged
--   parley.purge_deleted_chats   removes a batch of messages of deleted chats, and the chats that have none left
--   parley.purge_memberships     removes a batch of a deleted user's memberships and read markers, and the user's
--                                  stored responses
--   parley.users_after_delete      trigger: records the deletion of a user, and starts to remove the user from chats
--   parley.users_after_insert      trigger: rejects the id of a deleted user until all its memberships are removed
--   listener.purge_deleted_chats   parley.purge_deleted_chats, for the listener
--   listener.purge_memberships     removes a batch of memberships of all deleted users
--
-- The listener calls the last two. Batches wait for no lock: they skip locked rows, which a later batch removes.

-- Returns false if the user does not own the chat, or no longer does.
create or replace function parley.begin_chat_removal(chat uuid) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    update parley.chats c set is_being_removed = true, owner_id = null
    where c.id = chat and c.owner_id = session.user_id() and parley.assert_preconditions(parley.chat_version(parley.chat_revision(c), chat));
    if not found then
        return false;
    end if;
    delete from parley.members m where m.chat_id = chat;
    return true;
end $$;

create or replace function parley.is_being_removed(chat parley.chats) returns boolean
language sql immutable parallel safe as $$ select chat.is_being_removed $$;

-- Returns how many messages and chats were removed. 0 means that none are left, or only locked ones.
create or replace function parley.purge_deleted_chats(max_messages integer) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    max_chats constant integer := 100;
    chats constant uuid[] := array(
        select c.id from parley.chats c where c.is_being_removed order by c.id limit max_chats for update skip locked);
    messages bigint;
    emptied bigint;
begin
    -- The generic plan assumes chats of average size, so plans that read all messages of a chat are disabled.
    with batch as materialized (
        select m.chat_id, m.id from unnest(chats) c (id) cross join lateral (
            select o.chat_id, o.id from parley.messages o where o.chat_id = c.id order by o.id for update skip locked) m
        limit max_messages
    )
    delete from parley.messages m using batch b where m.chat_id = b.chat_id and m.id = b.id;
    get diagnostics messages = row_count;
    delete from parley.chats c
    where c.id = any (chats) and not exists (select from parley.messages m where m.chat_id = c.id);
    get diagnostics emptied = row_count;
    return messages + emptied;
end $$;

-- Returns how many memberships, ownerships and read markers were removed. The flag in parley.deleted_users is reset when none are left.
create or replace function parley.purge_memberships(deleted_user text, max_chats integer) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    owned constant uuid[] := array(
        select c.id from parley.chats c where c.owner_id = deleted_user limit max_chats for no key update skip locked);
    joined constant uuid[] := array(
        select c.id from parley.members m join parley.chats c on c.id = m.chat_id
        where m.user_id = deleted_user order by m.chat_id limit max_chats
        for no key update of c skip locked for update of m skip locked);
    markers integer;
begin
    update parley.chats c set owner_id = null where c.id = any (owned);
    delete from parley.members m where m.user_id = deleted_user and m.chat_id = any (joined);
    -- A request of the user may have locked a chat. A later batch then removes that membership, and the response stored
    -- meanwhile.
    delete from parley.idempotency_keys f where f.user_id = deleted_user;
    delete from parley.read_markers r
    where r.user_id = deleted_user and r.chat_id = any (array(
        select o.chat_id from parley.read_markers o where o.user_id = deleted_user limit max_chats for update skip locked));
    get diagnostics markers = row_count;
    update parley.deleted_users d set is_being_removed = false
    where d.user_id = deleted_user and d.is_being_removed
      and not exists (select from parley.members m where m.user_id = deleted_user)
      and not exists (select from parley.chats c where c.owner_id = deleted_user)
      and not exists (select from parley.read_markers r where r.user_id = deleted_user);
    return cardinality(owned) + cardinality(joined) + markers;
end $$;

-- Removes the first 100 memberships at once; the listener removes the others. The user's messages remain.
create or replace function parley.users_after_delete() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into parley.deleted_users (user_id, is_being_removed) values (old.id, true)
    on conflict (user_id) do update set deleted_at = excluded.deleted_at, is_being_removed = excluded.is_being_removed;
    perform parley.purge_memberships(old.id, 100);
    return null;
end $$;

-- Runs at commit, after session.register_user has rejected users who were deleted before.
create or replace function parley.users_after_insert() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from parley.deleted_users d where d.user_id = new.id and d.is_being_removed) then
        raise exception using errcode = 'object_in_use',
            message = 'the user with this id was deleted, and is still being removed from chats',
            hint = 'Try again in a minute; the listener removes them.';
    end if;
    return null;
end $$;

create or replace function listener.purge_deleted_chats(max_messages integer) returns bigint
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select parley.purge_deleted_chats(max_messages)
$$;
comment on function listener.purge_deleted_chats(integer) is
    'Removes up to max_messages messages of deleted chats, and up to 100 deleted chats that have none left. Returns how many of both.';

create or replace function listener.purge_memberships(max_chats integer) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    deleted_user text;
    removed bigint := 0;
begin
    for deleted_user in
        select d.user_id from parley.deleted_users d where d.is_being_removed order by d.user_id for update skip locked
    loop
        removed := removed + parley.purge_memberships(deleted_user, max_chats);
        exit when removed >= max_chats;
    end loop;
    return removed;
end $$;
comment on function listener.purge_memberships(integer) is
    'Removes about max_chats memberships of deleted users, with an event each, their ownership of chats and their read markers. Returns how many of all.';
