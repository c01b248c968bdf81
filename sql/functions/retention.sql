-- Retention: chats that nobody has used for long are removed in small pieces. For a DBA, who calls until the answer is 0.
--
--   parley.remove_old_chats    one piece: up to so many messages, or chats
--   parley.close_old_chats     deletes some old chats for their members
--   parley.is_closed           whether a chat is being removed
--   parley.members_new         trigger: a chat that is being removed takes nobody in
--
-- For its members a chat goes at once and whole: they hear that it is deleted, and are in it no more. Its messages follow,
-- and in the end its row. Each piece is a transaction, and what one has begun any other goes on with. Who is at a chat or
-- at a message is never waited for: a later piece comes back to it.

-- 0 means that nothing is left, or only what somebody else is at.
create or replace function parley.remove_old_chats(inactive_for interval, max_messages integer default 1000) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
    max_chats constant integer := 100;
    chats uuid[];
    messages bigint;
    emptied bigint;
begin
    if inactive_for is null or inactive_for <= interval '0' then
        raise exception using errcode = 'invalid_parameter_value', message = 'inactive_for must be a time, like 2 years';
    elsif max_messages is null or max_messages < 1 then
        raise exception using errcode = 'invalid_parameter_value', message = 'max_messages must be 1 or more';
    end if;
    chats := array(
        select c.id from parley.chats c where c.is_being_removed order by c.id limit max_chats for update skip locked);
    if chats = '{}' then
        chats := parley.close_old_chats(parley.uuid7_from(now() - inactive_for), max_chats);
    end if;
    -- A plan is made for chats of the usual size, so whatever reads the whole of one is ruled out.
    with old as materialized (
        select m.chat_id, m.id from unnest(chats) c (id) cross join lateral (
            select o.chat_id, o.id from parley.messages o where o.chat_id = c.id order by o.id for update skip locked) m
        limit max_messages
    )
    delete from parley.messages m using old where m.chat_id = old.chat_id and m.id = old.id;
    get diagnostics messages = row_count;
    delete from parley.chats c
    where c.id = any (chats) and not exists (select from parley.messages m where m.chat_id = c.id);
    get diagnostics emptied = row_count;
    return messages + emptied;
end $$;

-- The longest unused first: all chats are looked through for that, once for a hundred. Whoever writes just now has the
-- chat's row: it is passed over, or looked at as they left it.
create or replace function parley.close_old_chats(before_id uuid, max_chats integer) returns uuid[]
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = on as $$
declare
    chats uuid[] := array(
        select c.id from parley.chats c where parley.activity(c) < before_id and not c.is_being_removed
        order by parley.activity(c) limit max_chats for update skip locked);
begin
    -- Who leaves by plain SQL has their own row, and is going to ask for the chat's.
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
    return chats;
end $$;

create or replace function parley.is_closed(chat parley.chats) returns boolean
language sql immutable parallel safe as $$ select chat.is_being_removed $$;

-- Who waited for the chat's row sees it as it is now, which a policy does not.
create or replace function parley.members_new() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    chat parley.chats;
begin
    select c.* into chat from parley.chats c where c.id = new.chat_id for key share;
    if parley.is_closed(chat) then
        raise exception using errcode = 'foreign_key_violation', constraint = 'members_chat_exists',
            message = 'the chat is being removed';
    end if;
    return new;
end $$;
