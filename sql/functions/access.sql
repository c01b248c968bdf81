-- Who may see and do what in a chat. The policies and the API's functions ask here.
--
--   session.chat_id         the chat that the statement has entered, if its user is a member
--   session.chat_ids        all chats of the user
--   session.page_of_chats   a page of them, latest activity first
--   session.enter_chats     enters several chats, to read what has been found in them
--   session.entered_chats   those of them that the user is in
--   session.owns_chat       whether the user owns a chat
--   parley.tell_chat_seq    tells beside the answer of how many changes of the entered chat that knows
--   parley.enter_chat       a route's {chatId}: enters that chat, or raises "not found"
--   parley.lock_chat        makes changes of the entered chat wait for each other
--   parley.forbid           raises "forbidden", or "not found" once the user is not in the entered chat any more
--
-- A policy asks for the entered chat first, which is one look-up a statement, then for those of an answered page, and for
-- all chats only when these don't answer: somebody in ten thousand chats reads one of them as fast as somebody in one.

create or replace function session.chat_id() returns uuid
language plpgsql stable security definer parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    return (
        select m.chat_id from parley.members m
        where m.chat_id = nullif(current_setting('parley.chat_id', true), '')::uuid
          and m.user_id = session.user_id()
    );
end $$;

create or replace function session.chat_ids() returns setof uuid
language sql stable security definer parallel safe set search_path = pg_catalog, pg_temp as $$
    select m.chat_id from parley.members m where m.user_id = session.user_id()
$$;

-- One more than asked for where there is one.
create or replace function session.page_of_chats(
    asked parley.page, out chats uuid[], out activities uuid[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    total := (select count(*) from parley.members m where m.user_id = session.user_id());
    select array_agg(p.id order by p.activity desc), array_agg(p.activity order by p.activity desc) into chats, activities
    from (
        select a.id, a.activity
        from (
            select c.id, parley.activity(c) as activity
            from parley.members m join parley.chats c on c.id = m.chat_id where m.user_id = session.user_id()) a
        where a.activity > asked.after_id and a.activity < asked.before_id
        order by case when asked.is_ascending then a.activity end, a.activity desc
        limit asked.size + 1 offset asked.skip
    ) p;
end $$;

create or replace function session.enter_chats(chats uuid[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('parley.chat_ids', coalesce(chats::text, ''), true);
end $$;

create or replace function session.entered_chats() returns uuid[]
language plpgsql stable security definer parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    return array(
        select m.chat_id from parley.members m
        where m.chat_id = any (nullif(current_setting('parley.chat_ids', true), '')::uuid[])
          and m.user_id = session.user_id());
end $$;

create or replace function session.owns_chat(chat uuid) returns boolean
language sql stable security definer parallel safe set search_path = pg_catalog, pg_temp as $$
    select exists (select from parley.chats c where c.id = chat and c.owner_id = session.user_id())
$$;

create or replace function parley.tell_chat_seq() returns bigint
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return (
        select set_config('parley.chat_seq', c.seq::text, true)
        from parley.chats c join parley.members m on m.chat_id = c.id
        where c.id = nullif(current_setting('parley.chat_id', true), '')::uuid and m.user_id = session.user_id())::bigint;
end $$;

create or replace function parley.enter_chat(chat_id text) returns uuid
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    chat constant uuid := parley.parse_uuid(chat_id);
begin
    perform set_config('parley.chat_id', coalesce(chat::text, ''), true);
    if session.chat_id() is null then
        perform parley.not_found('Chat');
    end if;
    return chat;
end $$;

-- A change of messages takes the chat's row before theirs, as a deletion of the chat does: no deadlock. Who waited looks
-- again whether there still is that chat, and the user in it.
create or replace function parley.lock_chat() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from parley.chats c where c.id = nullif(current_setting('parley.chat_id', true), '')::uuid for no key update;
    if not found or session.chat_id() is null then
        perform parley.not_found('Chat');
    end if;
end $$;

-- A chat that is deleted after it was entered has no owner either: its owner must not be told to be none.
create or replace function parley.forbid(message text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if session.chat_id() is null then
        perform parley.not_found('Chat');
    end if;
    perform parley.fail('PT403', message);
end $$;
