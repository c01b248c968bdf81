-- Pages: what a query asks for, which messages those are, how many there are in all, and which pages are next to it.
--
--   parley.page_errors         what is wrong with page, limit, before and after in a query
--   parley.parse_page            the page that they ask for
--   parley.trim_page           cuts off what was read to see whether there is more, and tells the API which pages are next
--   parley.find_message_page          the ids of a page of the entered chat, and how many messages there are in all
--   parley.skip_blocks           passes over messages, a block at a time
--   parley.count_messages        how many messages of a chat a filter lets through
--   parley.count_messages_in_range        the same by reading them
--   parley.last_message_at       when a chat's newest message was sent
--   parley.count_new_message         counts a new message, and gives it its id
--   parley.uncount_messages      … and deleted ones
--   parley.close_block           makes a block of the oldest messages that are in none
--   parley.recount_blocks        counts the messages of some blocks again
--   parley.recount_chat          counts all of a chat's messages again; for a DBA, after a load without triggers
--   parley.messages_after_type_update      trigger: messages are of another type now
--
-- A page number stands for so many messages before it. Blocks say how many a thousand neighbours are, so that these are
-- passed over a thousand at a time; the newest messages of a chat, up to a thousand, are in no block.

create or replace function parley.page_errors(page text, "limit" text, before text, after text) returns jsonb
language sql stable parallel safe as $$
    select jsonb_build_object(
        'page', case when coalesce(before, after) is not null and page is not null then 'can''t go with before or after'
            else parley.number_error('page', page) end,
        'limit', parley.number_error('limit', "limit"),
        'before', case when parley.parse_uuid(before) is null and before is not null then 'must be an id' end,
        'after', case when parley.parse_uuid(after) is null and after is not null then 'must be an id'
            when before is not null and after is not null then 'can''t go with before' end)
$$;

create or replace function parley.parse_page(page text, "limit" text, before text, after text) returns parley.page_request
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    asked parley.page_request;
begin
    asked.number := case when coalesce(before, after) is null then coalesce(page, '1')::bigint end;
    asked.size := coalesce("limit", '50');
    asked.skip := coalesce((asked.number - 1) * asked.size, 0);
    asked.after_id := coalesce(after, '00000000-0000-0000-0000-000000000000');
    asked.before_id := coalesce(before, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
    asked.is_ascending := after is not null;
    return asked;
end $$;

-- `ids` are newest first, and one more than asked for where there is one. Who asks by a cursor has seen the page on its
-- other side. `next` and `prev` are what differs in the query; the API makes the header Link of them.
create or replace function parley.trim_page(asked parley.page_request, ids uuid[], sort text default null) returns uuid[]
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    has_more constant boolean := coalesce(cardinality(ids) > asked.size, false);
    next json;
    prev json;
begin
    ids := coalesce(ids, '{}');
    if has_more then
        ids := case when asked.is_ascending then ids[2:] else ids[:asked.size] end;
    end if;
    if sort = 'relevance' then
        next := case when has_more then json_build_object('page', asked.number + 1) end;
        prev := case when asked.number > 1 then json_build_object('page', asked.number - 1) end;
    elsif ids <> '{}' then
        next := case when has_more or asked.is_ascending then json_build_object('before', ids[cardinality(ids)]) end;
        prev := case when has_more and asked.is_ascending or not asked.is_ascending and asked.number is distinct from 1
            then json_build_object('after', ids[1]) end;
    end if;
    perform set_config('response.links',
        json_strip_nulls(json_build_object('next', next, 'prev', prev, 'first', json_build_object()))::text, true);
    return ids;
end $$;

-- Newest first, and one more than asked for where there is one. Those of a type are asked for by (type, id), which is an order
-- of the index messages_type alone: PostgreSQL may take the primary key to be as good, and look through a chat for what is rare.
create or replace function parley.find_message_page(wanted parley.message_filter, asked parley.page_request, out ids uuid[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_sort = off as $$
declare
    chat constant uuid := session.selected_chat();
    size constant bigint := asked.size + 1;
    before_id uuid := least(wanted.before_id, asked.before_id);
    skip bigint := asked.skip;
begin
    total := parley.count_messages(chat, wanted);
    if skip > 1000 then
        select s.before_id, s.skip into before_id, skip
        from parley.skip_blocks(chat, (wanted.type, wanted.first_id, before_id)::parley.message_filter, skip) s;
    end if;
    if asked.is_ascending then
        ids := array(
            select p.id from (
                (select m.id from parley.messages m
                where wanted.type is null and m.chat_id = chat
                  and m.id >= wanted.first_id and m.id < before_id and m.id > asked.after_id
                order by m.id limit size)
                union all
                (select m.id from parley.messages m
                where wanted.type is not null and m.chat_id = chat and m.id > asked.after_id
                  and (m.type, m.id) >= (wanted.type, greatest(wanted.first_id, asked.after_id))
                  and (m.type, m.id) < (wanted.type, before_id)
                order by m.type, m.id limit size)
            ) p order by p.id desc);
    elsif wanted.type is null then
        ids := array(
            select m.id from parley.messages m
            where m.chat_id = chat and m.id >= wanted.first_id and m.id < before_id
            order by m.id desc limit size offset skip);
    else
        ids := array(
            select m.id from parley.messages m
            where m.chat_id = chat
              and (m.type, m.id) >= (wanted.type, wanted.first_id) and (m.type, m.id) < (wanted.type, before_id)
            order by m.type desc, m.id desc limit size offset skip);
    end if;
end $$;

-- Answers before which message to go on, and how many are still to be passed over.
create or replace function parley.skip_blocks(chat uuid, wanted parley.message_filter, inout skip bigint, out before_id uuid)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    block record;
    newer bigint;
begin
    before_id := wanted.before_id;
    for block in
        select b.first_id, b.before_id, case
            when wanted.type is null then b.messages
            else coalesce((b.by_type ->> wanted.type)::integer, 0) end as messages
        from parley.message_blocks b
        where b.chat_id = chat and b.first_id >= wanted.first_id and b.first_id < wanted.before_id
          and b.before_id <= wanted.before_id
        order by b.first_id desc
    loop
        if newer is null then
            newer := case when wanted is distinct from parley.parse_filter(null, null, null)
                then parley.count_messages_in_range(chat, (wanted.type, block.before_id, wanted.before_id)::parley.message_filter)
                else (select c.message_count - c.counted_messages from parley.chats c where c.id = chat) end;
            exit when skip < newer;
            skip := skip - newer;
            before_id := block.before_id;
        end if;
        exit when skip < block.messages;
        skip := skip - block.messages;
        before_id := block.first_id;
    end loop;
end $$;

create or replace function parley.count_messages(chat uuid, wanted parley.message_filter) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    whole record;
begin
    if wanted is not distinct from parley.parse_filter(null, null, null) then
        return (select c.message_count from parley.chats c where c.id = chat);
    end if;
    select (array_agg(b.first_id order by b.first_id))[1] as first_id,
        (array_agg(b.before_id order by b.first_id desc))[1] as before_id,
        sum(case when wanted.type is null then b.messages else (b.by_type ->> wanted.type)::integer end) as messages
    into whole
    from parley.message_blocks b
    where b.chat_id = chat and b.first_id >= wanted.first_id and b.first_id < wanted.before_id
      and b.before_id <= wanted.before_id;
    if whole.first_id is null then
        return parley.count_messages_in_range(chat, wanted);
    end if;
    return coalesce(whole.messages, 0)
        + parley.count_messages_in_range(chat, (wanted.type, wanted.first_id, whole.first_id)::parley.message_filter)
        + parley.count_messages_in_range(chat, (wanted.type, whole.before_id, wanted.before_id)::parley.message_filter);
end $$;

create or replace function parley.count_messages_in_range(chat uuid, wanted parley.message_filter) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    if wanted.type is null then
        return (
            select count(*) from parley.messages m
            where m.chat_id = chat and m.id >= wanted.first_id and m.id < wanted.before_id);
    end if;
    return (
        select count(*) from parley.messages m
        where m.chat_id = chat and m.type = wanted.type and m.id >= wanted.first_id and m.id < wanted.before_id);
end $$;

create or replace function parley.last_message_at(chat parley.chats) returns timestamptz
language sql immutable parallel safe as $$ select rules.uuid7_timestamp(chat.last_message_id) $$;

-- Answers the message's id, and the number that it takes in its chat; null where there is no chat or it is being removed. Who
-- waited until the chat's row was changed reads the clock again; whatever it says, a message is not older than its forerunner.
create or replace function parley.count_new_message(chat_id uuid, out id uuid, out seq bigint)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    is_block boolean;
begin
    update parley.chats c
    set seq = c.seq + 1, message_count = c.message_count + 1,
        last_message_id = parley.generate_uuid7(greatest(parley.now_ms(), parley.last_message_at(c)), c.seq + 1)
    where c.id = count_new_message.chat_id and not parley.is_being_removed(c)
    returning c.last_message_id, c.seq, c.message_count - c.counted_messages > 1001 into id, seq, is_block;
    if is_block then
        perform parley.close_block(chat_id);
    end if;
end $$;

-- Called under the lock of the chat's row.
-- A block that reaches beyond the newest message is none any more: the next message may come to lie in it.
create or replace function parley.uncount_messages(chat uuid, ids uuid[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    newest constant uuid := (select m.id from parley.messages m where m.chat_id = chat order by m.id desc limit 1);
begin
    update parley.chats c
    set seq = c.seq + cardinality(ids), message_count = c.message_count - cardinality(ids), last_message_id = newest
    where c.id = chat;
    delete from parley.message_blocks b
    where b.chat_id = chat and (b.before_id > newest or newest is null);
    perform parley.recount_blocks(chat, ids);
end $$;

-- There are a thousand at least, and one more, which begins the next block.
create or replace function parley.close_block(chat uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
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

-- Those that have, or had, one of these messages. Their types alone would be read from an index, but of the whole chat.
create or replace function parley.recount_blocks(chat uuid, ids uuid[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_indexonlyscan = off as $$
begin
    update parley.message_blocks b
    set messages = counted.messages, by_type = counted.by_type
    from (
        select distinct (
            select o.first_id from parley.message_blocks o
            where o.chat_id = chat and o.first_id <= i order by o.first_id desc limit 1) as first_id
        from unnest(ids) i
    ) touched cross join lateral (
        select coalesce(sum(t.messages), 0) as messages, coalesce(jsonb_object_agg(t.type, t.messages), '{}') as by_type
        from (
            select m.type, count(*) as messages from parley.message_blocks o join parley.messages m
                on m.chat_id = o.chat_id and m.id >= o.first_id and m.id < o.before_id
            where o.chat_id = chat and o.first_id = touched.first_id group by m.type) t
    ) counted
    where b.chat_id = chat and b.first_id = touched.first_id;
    update parley.chats c set counted_messages = coalesce(
        (select sum(b.messages) from parley.message_blocks b where b.chat_id = chat), 0)
    where c.id = chat;
end $$;

create or replace function parley.recount_chat(chat uuid) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform from parley.chats c where c.id = chat for no key update;
    delete from parley.message_blocks b where b.chat_id = chat;
    update parley.chats c
    set seq = c.seq + 1, counted_messages = 0,
        message_count = (select count(*) from parley.messages m where m.chat_id = chat),
        last_message_id = (select m.id from parley.messages m where m.chat_id = chat order by m.id desc limit 1)
    where c.id = chat;
    while (select c.message_count - c.counted_messages > 1000 from parley.chats c where c.id = chat) loop
        perform parley.close_block(chat);
    end loop;
end $$;

create or replace function parley.messages_after_type_update() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.recount_blocks(t.chat_id, t.ids)
    from (
        select o.chat_id, array_agg(o.id) as ids from old_rows o join new_rows n on n.chat_id = o.chat_id and n.id = o.id
        where n.type <> o.type group by o.chat_id) t;
    return null;
end $$;
