-- Retention of chats: purges chats that have long been inactive, in batches. A DBA calls it until it returns 0.
--
--   parley.purge_inactive_chats              removes a batch of inactive chats and their messages
--   parley.begin_removal_of_inactive_chats   deletes some inactive chats for their members
--
-- An inactive chat is deleted for its members at once, as by its owner, and then removed in batches (removal.sql). A batch skips
-- locked chats and messages; a later one removes them.

-- Returns how many messages and chats were removed. 0 means that none are left, or only locked ones.
create or replace function parley.purge_inactive_chats(inactive_for interval, max_messages integer default 1000) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    removed bigint;
begin
    if inactive_for is null or inactive_for <= interval '0' then
        raise exception using errcode = 'invalid_parameter_value', message = 'inactive_for must be a time, like 2 years';
    elsif max_messages is null or max_messages < 1 then
        raise exception using errcode = 'invalid_parameter_value', message = 'max_messages must be 1 or more';
    end if;
    removed := parley.purge_deleted_chats(max_messages);
    if removed = 0 then
        perform parley.begin_removal_of_inactive_chats(parley.min_uuid7(now() - inactive_for), 100);
        removed := parley.purge_deleted_chats(max_messages);
    end if;
    return removed;
end $$;

-- Begins with the chats that have been inactive longest, which takes a scan of all chats. A chat that a concurrent writer has
-- locked is skipped, or seen as of that writer's commit.
create or replace function parley.begin_removal_of_inactive_chats(before_id uuid, max_chats integer) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = on as $$
declare
    chats uuid[] := array(
        select c.id from parley.chats c where parley.activity_key(c) < before_id and not c.is_being_removed
        order by parley.activity_key(c) limit max_chats for update skip locked);
begin
    -- A member who leaves by plain SQL locks the member's row, and then the chat's: skip such a chat, to avoid a deadlock.
    with free as materialized (
        select m.chat_id from parley.members m where m.chat_id = any (chats) for update skip locked
    )
    select array_agg(c.id order by c.place) into chats
    from unnest(chats) with ordinality c (id, place)
    where (select count(*) from parley.members m where m.chat_id = c.id)
        = (select count(*) from free f where f.chat_id = c.id);
    chats := coalesce(chats, '{}');
    update parley.chats c set is_being_removed = true, owner_id = null where c.id = any (chats);
    delete from parley.members m where m.chat_id = any (chats);
end $$;
