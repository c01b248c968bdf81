-- Access to chats: membership and ownership of the user. A transaction selects the chats that it reads, so that the policies
-- check the user's membership once per statement, and not for each row.
--
--   parley.select_chat           selects the chat of a route's {chatId}, or raises "not found"
--   session.selected_chat        the selected chat, if the user is a member
--   session.set_selected_chats   selects several chats, whose rows a page shows
--   session.selected_chats       the selected chats of which the user is a member
--   session.user_chats           all chats of the user
--   session.is_chat_member       whether the user is a member of a chat
--   session.is_chat_owner        whether the user owns a chat
--   parley.assert_owner          raises "forbidden" unless the user owns a chat
--   parley.raise_forbidden       raises "forbidden", or "not found" if the user is no longer a member
--   parley.lock_selected_chat    locks the selected chat, which serializes its writers
--   parley.set_chat_seq_header   sets the response header X-Chat-Seq to the selected chat's seq
--   parley.chat_revision         the number of changes of a chat and its messages, for entity tags
--
-- A policy checks the selected chat first, which is one lookup per statement. It then checks the selected chats of a page, and
-- the list of all chats only if both fail. So reading one chat costs the same for members of one chat and of ten thousand.
--
-- Functions that set a setting and read rows are declared stable, so that they read the snapshot of the calling statement.

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

create or replace function session.selected_chat() returns uuid
language plpgsql stable security definer parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    return (
        select m.chat_id from parley.members m
        where m.chat_id = nullif(current_setting('parley.selected_chat', true), '')::uuid
          and m.user_id = session.user_id()
    );
end $$;

create or replace function session.set_selected_chats(chats uuid[]) returns void
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

create or replace function session.user_chats() returns setof uuid
language sql stable security definer parallel safe set search_path = pg_catalog, pg_temp as $$
    select m.chat_id from parley.members m where m.user_id = session.user_id()
$$;

create or replace function session.is_chat_member(chat uuid) returns boolean
language sql stable security definer parallel safe set search_path = pg_catalog, pg_temp as $$
    select exists (select from parley.members m where m.chat_id = chat and m.user_id = session.user_id())
$$;

create or replace function session.is_chat_owner(chat uuid) returns boolean
language sql stable security definer parallel safe set search_path = pg_catalog, pg_temp as $$
    select exists (select from parley.chats c where c.id = chat and c.owner_id = session.user_id())
$$;

create or replace function parley.assert_owner(chat uuid) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if not session.is_chat_owner(chat) then
        perform parley.raise_forbidden('Only the owner of the chat may do this.');
    end if;
end $$;

-- A chat that is deleted after it was selected has no owner: its former owner must get "not found", not "forbidden".
create or replace function parley.raise_forbidden(message text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if session.selected_chat() is null then
        perform parley.raise_not_found('Chat');
    end if;
    perform parley.raise_error('PT403', message);
end $$;

-- Lock the chat before its messages, as chat deletion does, to avoid deadlocks. Membership is checked again, since the wait for
-- the lock may have ended with the chat deleted or the user removed. Security definer: only the owner may lock the row of a chat.
create or replace function parley.lock_selected_chat() returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from parley.chats c where c.id = nullif(current_setting('parley.selected_chat', true), '')::uuid for no key update;
    if not found or session.selected_chat() is null then
        perform parley.raise_not_found('Chat');
    end if;
end $$;

-- `seq` is that of the latest change that is visible to the statement. `revision` does not count chat:read.
create or replace function parley.set_chat_seq_header(out seq bigint, out revision bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    select set_config('response.chat_seq', c.seq::text, true), parley.chat_revision(c) into seq, revision
    from parley.chats c join parley.members m on m.chat_id = c.id
    where c.id = nullif(current_setting('parley.selected_chat', true), '')::uuid and m.user_id = session.user_id();
end $$;

create or replace function parley.chat_revision(chat parley.chats) returns bigint
language sql immutable parallel safe as $$ select chat.seq - chat.read_events $$;
