-- Who may see and do what in a chat. The policies and the API's functions ask here.
--
--   session.selected_chat         the chat that the statement has entered, if its user is a member
--   session.member_chats        all chats of the user
--   parley.find_chat_page   a page of them, latest activity first
--   session.select_chats     enters several chats, to read what has been found in them
--   session.selected_chats   those of them that the user is in
--   session.is_chat_owner       whether the user owns a chat
--   parley.set_response_chat_seq    tells beside the answer of how many changes of the entered chat that knows
--   parley.select_chat       a route's {chatId}: enters that chat, or raises "not found"
--   parley.lock_chat        makes changes of the entered chat wait for each other
--   parley.raise_forbidden           raises "forbidden", or "not found" once the user is not in the entered chat any more
--
-- A policy asks for the entered chat first, which is one look-up a statement, then for those of an answered page, and for
-- all chats only when these don't answer: somebody in ten thousand chats reads one of them as fast as somebody in one.

create or replace function session.selected_chat() returns uuid
language plpgsql stable security definer parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    return (
        select m.chat_id from parley.members m
        where m.chat_id = nullif(current_setting('parley.selected_chat', true), '')::uuid
          and m.user_id = session.user_id()
    );
end $$;

create or replace function session.member_chats() returns setof uuid
language sql stable security definer parallel safe set search_path = pg_catalog, pg_temp as $$
    select m.chat_id from parley.members m where m.user_id = session.user_id()
$$;

-- One more than asked for where there is one.
create or replace function parley.find_chat_page(
    asked parley.page_request, out chats uuid[], out activities uuid[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    total := (select count(*) from parley.members m where m.user_id = session.user_id());
    select array_agg(p.id order by p.activity desc), array_agg(p.activity order by p.activity desc) into chats, activities
    from (
        select a.id, a.activity
        from (
            select c.id, parley.last_activity(c) as activity
            from parley.members m join parley.chats c on c.id = m.chat_id where m.user_id = session.user_id()) a
        where a.activity > asked.after_id and a.activity < asked.before_id
        order by case when asked.is_ascending then a.activity end, a.activity desc
        limit asked.size + 1 offset asked.skip
    ) p;
end $$;

create or replace function session.select_chats(chats uuid[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('parley.selected_chats', coalesce(chats::text, ''), true);
end $$;

create or replace function session.selected_chats() returns uuid[]
language plpgsql stable security definer parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    return array(
        select m.chat_id from parley.members m
        where m.chat_id = any (nullif(current_setting('parley.selected_chats', true), '')::uuid[])
          and m.user_id = session.user_id());
end $$;

create or replace function session.is_chat_owner(chat uuid) returns boolean
language sql stable security definer parallel safe set search_path = pg_catalog, pg_temp as $$
    select exists (select from parley.chats c where c.id = chat and c.owner_id = session.user_id())
$$;

create or replace function parley.set_response_chat_seq() returns bigint
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return (
        select set_config('response.chat_seq', c.seq::text, true)
        from parley.chats c join parley.members m on m.chat_id = c.id
        where c.id = nullif(current_setting('parley.selected_chat', true), '')::uuid and m.user_id = session.user_id())::bigint;
end $$;

create or replace function parley.select_chat(chat_id text) returns uuid
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    chat constant uuid := parley.parse_uuid(chat_id);
begin
    perform set_config('parley.selected_chat', coalesce(chat::text, ''), true);
    if session.selected_chat() is null then
        perform parley.raise_not_found('Chat');
    end if;
    return chat;
end $$;

-- A change of messages takes the chat's row before theirs, as a deletion of the chat does: no deadlock. Who waited looks
-- again whether there still is that chat, and the user in it.
create or replace function parley.lock_chat() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from parley.chats c where c.id = nullif(current_setting('parley.selected_chat', true), '')::uuid for no key update;
    if not found or session.selected_chat() is null then
        perform parley.raise_not_found('Chat');
    end if;
end $$;

-- A chat that is deleted after it was entered has no owner either: its owner must not be told to be none.
create or replace function parley.raise_forbidden(message text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if session.selected_chat() is null then
        perform parley.raise_not_found('Chat');
    end if;
    perform parley.raise_error('PT403', message);
end $$;
