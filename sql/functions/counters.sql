-- Counters of messages, for exact totals and for paging: chats.message_count and last_message_id, and message_blocks.
--
--   parley.allocate_message               allocates the id and seq of a new message, and counts it
--   parley.update_counters_after_delete   subtracts deleted messages; advances the chat's seq by their number
--   parley.close_block                    creates a block of the oldest 1,000 messages that are in none
--   parley.recount_blocks                 counts the messages of some blocks again
--   parley.recount_chat                   rebuilds all counters of a chat, and moves the authors' read markers to their newest
--                                         messages; for a DBA, after a load without triggers
--   parley.count_blocks                   counts all messages of a chat in blocks
--   parley.last_message_at                when a chat's newest message was sent
--   parley.messages_after_type_update     trigger: counts the blocks of messages whose type has changed
--
-- A block counts the messages in a range of ids: 1,000 when it is closed, fewer after deletions. Up to about 1,000 of the newest
-- messages are in no block. All functions but the trigger run under the lock of the chat's row.

-- Returns nulls if the chat does not exist or is being removed. The id is generated after the wait for the chat's lock, and not
-- before the previous message's, even if the clock was set back.
create or replace function parley.allocate_message(chat_id uuid, out id uuid, out seq bigint)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    is_block_full boolean;
begin
    update parley.chats c
    set seq = parley.next_seq(c), lineage = parley.write_lineage(), gap = parley.next_gap(c),
        message_count = c.message_count + 1,
        last_message_id = parley.generate_uuid7(
            case when parley.now_ms() > parley.last_message_at(c) then parley.now_ms() else parley.next_message_at(c) end,
            parley.next_seq(c))
    where c.id = allocate_message.chat_id and not parley.is_being_removed(c)
    returning c.last_message_id, c.seq, c.message_count - c.counted_messages > 1001 into id, seq, is_block_full;
    if is_block_full then
        perform parley.close_block(chat_id);
    end if;
end $$;

-- A block that reaches beyond the newest remaining message is dropped: the next message's id may lie in its range.
create or replace function parley.update_counters_after_delete(chat uuid, ids uuid[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    newest_id constant uuid := (select m.id from parley.messages m where m.chat_id = chat order by m.id desc limit 1);
begin
    update parley.chats c
    set seq = parley.next_seq(c, cardinality(ids)), lineage = parley.write_lineage(), gap = parley.next_gap(c),
        message_count = c.message_count - cardinality(ids), last_message_id = newest_id
    where c.id = chat;
    delete from parley.message_blocks b
    where b.chat_id = chat and (b.before_id > newest_id or newest_id is null);
    perform parley.recount_blocks(chat, ids);
end $$;

-- Needs 1,001 messages: 1,000 for the block, and the one with which the next block begins. Without a sort, the only plan reads
-- these from the primary key, and does not depend on statistics.
create or replace function parley.close_block(chat uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
declare
    first_id constant uuid := coalesce(
        (select b.before_id from parley.message_blocks b where b.chat_id = chat order by b.first_id desc limit 1),
        '00000000-0000-0000-0000-000000000000');
    before_id constant uuid := (
        select m.id from parley.messages m where m.chat_id = chat and m.id >= first_id
        order by m.id limit 1 offset 1000);
begin
    if before_id is not null then
        insert into parley.message_blocks (chat_id, first_id, before_id, messages, by_type)
        values (chat, first_id, before_id, 0, '{}');
        perform parley.recount_blocks(chat, array[first_id]);
    end if;
end $$;

-- Counts the blocks that contain, or contained, one of these messages. Index-only scans are disabled because PostgreSQL would
-- read the types of the whole chat from the index messages_type.
create or replace function parley.recount_blocks(chat uuid, ids uuid[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_indexonlyscan = off as $$
begin
    update parley.message_blocks b
    set messages = counts.messages, by_type = counts.by_type
    from (
        select distinct (
            select o.first_id from parley.message_blocks o
            where o.chat_id = chat and o.first_id <= i order by o.first_id desc limit 1) as first_id
        from unnest(ids) i
    ) changed cross join lateral (
        select coalesce(sum(t.messages), 0) as messages, coalesce(jsonb_object_agg(t.type, t.messages), '{}') as by_type
        from (
            select m.type, count(*) as messages from parley.message_blocks o join parley.messages m
                on m.chat_id = o.chat_id and m.id >= o.first_id and m.id < o.before_id
            where o.chat_id = chat and o.first_id = changed.first_id group by m.type) t
    ) counts
    where b.chat_id = chat and b.first_id = changed.first_id;
    update parley.chats c set counted_messages = coalesce(
        (select sum(b.messages) from parley.message_blocks b where b.chat_id = chat), 0)
    where c.id = chat;
end $$;

-- No plan depends on statistics, which a table that was just loaded lacks: each statement scans the messages of the chat once, in
-- the order of the primary key, and joins them to nothing.
create or replace function parley.recount_chat(chat uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
declare
    total bigint;
begin
    perform from parley.chats c where c.id = chat for no key update;
    delete from parley.message_blocks b where b.chat_id = chat;
    with blocks as materialized (
        select b.* from parley.count_blocks(chat) b
    ), full_blocks as (
        insert into parley.message_blocks (chat_id, first_id, before_id, messages, by_type)
        select chat, b.first_id, b.before_id, b.messages, b.by_type from blocks b where b.before_id is not null
    )
    select coalesce(sum(b.messages), 0) into total from blocks b;
    update parley.chats c
    set seq = parley.next_seq(c), lineage = parley.write_lineage(), gap = parley.next_gap(c),
        member_count = (select count(*) from parley.members m where m.chat_id = chat), message_count = total,
        counted_messages = (select coalesce(sum(b.messages), 0) from parley.message_blocks b where b.chat_id = chat),
        last_message_id = (select m.id from parley.messages m where m.chat_id = chat order by m.id desc limit 1)
    where c.id = chat;
    -- PostgreSQL 15 has no max(uuid), and sorting by user takes longer.
    insert into parley.read_markers (chat_id, user_id, last_read_message_id)
    select chat, m.user_id, max(m.id::text collate "C")::uuid from parley.messages m where m.chat_id = chat group by m.user_id
    on conflict on constraint read_markers_pkey do update
    set last_read_message_id = greatest(read_markers.last_read_message_id, excluded.last_read_message_id);
end $$;

-- Each thousand messages are a block, which ends where the next one begins. The last block has no end yet.
create or replace function parley.count_blocks(chat uuid)
returns table (first_id uuid, before_id uuid, messages bigint, by_type jsonb)
language sql stable as $$
    select case t.number when 0 then '00000000-0000-0000-0000-000000000000' else t.first_id end,
        lead(t.first_id) over (order by t.number), t.messages, t.by_type
    from (
        select b.number, (array_agg(b.first_id) filter (where b.first_id is not null))[1] as first_id,
            sum(b.messages)::bigint as messages, jsonb_object_agg(b.type, b.messages) as by_type
        from (
            select m.number / 1000 as number, m.type, count(*) as messages,
                (array_agg(m.id) filter (where m.number % 1000 = 0))[1] as first_id
            from (
                select o.id, o.type, row_number() over (order by o.id) - 1 as number
                from parley.messages o where o.chat_id = chat) m
            group by 1, 2) b
        group by 1) t
$$;

create or replace function parley.last_message_at(chat parley.chats) returns timestamptz
language sql immutable parallel safe as $$ select rules.uuid7_timestamp(chat.last_message_id) $$;

create or replace function parley.messages_after_type_update() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.recount_blocks(t.chat_id, t.ids)
    from (
        select o.chat_id, array_agg(o.id) as ids from old_rows o join new_rows n on n.chat_id = o.chat_id and n.id = o.id
        where n.type <> o.type group by o.chat_id) t;
    return null;
end $$;
