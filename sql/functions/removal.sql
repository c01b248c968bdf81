-- Removal in the background. A deleted chat has its messages, and a deleted user has memberships, until the listener has
-- removed them in batches: a deletion takes no longer for what there is much of.
--
--   parley.close_chat             deletes a chat of the user's for everybody
--   parley.is_closed              whether a chat is deleted
--   parley.remove_closed_chats    removes a batch of messages of deleted chats, and the chats without any
--   parley.leave_chats            removes a batch of a deleted user's memberships, and their first answers
--   parley.users_return           trigger: an id is used again only when all of its memberships are removed
--   listener.remove_closed_chats  the same as parley's, for the listener
--   listener.remove_memberships   removes a batch of memberships of all deleted users
--
-- Batches wait for nobody: what somebody else has locked is left to a later batch.

-- False if the user does not own the chat, or no longer.
create or replace function parley.close_chat(chat uuid) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    update parley.chats c set is_being_removed = true, owner_id = null
    where c.id = chat and c.owner_id = session.user_id() and parley.require_match(parley.chat_version(chat, c.seq));
    if not found then
        return false;
    end if;
    delete from parley.members m where m.chat_id = chat;
    return true;
end $$;

create or replace function parley.is_closed(chat parley.chats) returns boolean
language sql immutable parallel safe as $$ select chat.is_being_removed $$;

-- Returns how many messages and chats were removed: 0 means that nothing is left, or only what is locked.
create or replace function parley.remove_closed_chats(max_messages integer) returns bigint
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
    -- A plan is made for chats of the usual size, so whatever reads the whole of one is ruled out.
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

-- Returns how many memberships and ownerships were removed. parley.deleted_users has whether any are left.
create or replace function parley.leave_chats(leaver text, max_chats integer) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    owned constant uuid[] := array(
        select c.id from parley.chats c where c.owner_id = leaver limit max_chats for no key update skip locked);
    joined constant uuid[] := array(
        select c.id from parley.members m join parley.chats c on c.id = m.chat_id
        where m.user_id = leaver order by m.chat_id limit max_chats
        for no key update of c skip locked for update of m skip locked);
begin
    update parley.chats c set owner_id = null where c.id = any (owned);
    delete from parley.members m where m.user_id = leaver and m.chat_id = any (joined);
    -- A request of the user's that is still under way has a chat locked, so this is done once more after its end.
    delete from parley.first_answers f where f.user_id = leaver;
    update parley.deleted_users d set is_being_removed = false
    where d.user_id = leaver and d.is_being_removed
      and not exists (select from parley.members m where m.user_id = leaver)
      and not exists (select from parley.chats c where c.owner_id = leaver);
    return cardinality(owned) + cardinality(joined);
end $$;

-- At commit: session.register refuses users who were deleted before that.
create or replace function parley.users_return() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    if exists (select from parley.deleted_users d where d.user_id = new.id and d.is_being_removed) then
        raise exception using errcode = 'object_in_use',
            message = 'the user with this id was deleted, and is still being removed from chats',
            hint = 'Try again in a minute; the listener removes them.';
    end if;
    return null;
end $$;

create or replace function listener.remove_closed_chats(max_messages integer) returns bigint
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select parley.remove_closed_chats(max_messages)
$$;
comment on function listener.remove_closed_chats(integer) is
    'Removes up to so many messages of deleted chats, and up to a hundred of the chats without any; answers how many of both.';

create or replace function listener.remove_memberships(max_chats integer) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    leaver text;
    removed bigint := 0;
begin
    for leaver in
        select d.user_id from parley.deleted_users d where d.is_being_removed order by d.user_id for update skip locked
    loop
        removed := removed + parley.leave_chats(leaver, max_chats);
        exit when removed >= max_chats;
    end loop;
    return removed;
end $$;
comment on function listener.remove_memberships(integer) is
    'Removes about so many memberships of deleted users, with an event each, and leaves their chats without an owner; answers how many.';
