-- All policies. Row-level security is enabled for every table, so a table without a policy shows no row.
-- Without an authenticated user session.user_id() is null, and no policy matches.
--
-- Expressions that do not depend on the row are in (select …): PostgreSQL evaluates them once per statement.

do $$
declare
    existing record;
begin
    for existing in
        select policyname, schemaname, tablename from pg_policies
        where schemaname in ('next_auth', 'parley') and roles && '{parley_api,parley_listener,parley_analyst,parley_web}'
    loop
        execute format('drop policy %I on %I.%I', existing.policyname, existing.schemaname, existing.tablename);
    end loop;
end $$;

-- Users: select the caller's own row. parley.members_json() returns the names of other members.
create policy users_select on next_auth.users for select to parley_api
    using (id = (select session.user_id()));

-- The web app authenticates all users, so it may use all rows of its four tables.
create policy users_web on next_auth.users to parley_web using (true);
create policy accounts_web on next_auth.accounts to parley_web using (true);
create policy sessions_web on next_auth.sessions to parley_web using (true);
create policy verification_token_web on next_auth.verification_token to parley_web using (true);

-- Chats: members select, the owner updates and deletes. The creator becomes the owner.
create policy chats_select on parley.chats for select to parley_api
    using (id = (select session.selected_chat()) or id = any ((select session.selected_chats())::uuid[])
        or owner_id = (select session.user_id()) or id in (select session.user_chats()));
create policy chats_insert on parley.chats for insert to parley_api
    with check (owner_id = (select session.user_id()));
create policy chats_update on parley.chats for update to parley_api
    using (owner_id = (select session.user_id()));
create policy chats_delete on parley.chats for delete to parley_api
    using (owner_id = (select session.user_id()));

-- Members: members select; the owner adds and removes other members; other members remove themselves.
create policy members_select on parley.members for select to parley_api
    using (chat_id = (select session.selected_chat()) or user_id = (select session.user_id())
        or chat_id in (select session.user_chats()));
create policy members_insert on parley.members for insert to parley_api
    with check (session.is_chat_owner(chat_id));
create policy members_delete on parley.members for delete to parley_api
    using ((user_id = (select session.user_id())) <> session.is_chat_owner(chat_id));  -- true if exactly one of them is

-- Messages: members select and insert, the author updates, the author and the chat's owner delete.
create policy messages_select on parley.messages for select to parley_api
    using (chat_id = (select session.selected_chat()) or chat_id = any ((select session.selected_chats())::uuid[])
        or chat_id in (select session.user_chats()));
create policy messages_insert on parley.messages for insert to parley_api
    with check (user_id = (select session.user_id())
        and (chat_id = (select session.selected_chat()) or chat_id in (select session.user_chats())));
create policy messages_update on parley.messages for update to parley_api
    using (user_id = (select session.user_id())
        and (chat_id = (select session.selected_chat()) or chat_id in (select session.user_chats())));
create policy messages_delete on parley.messages for delete to parley_api
    using ((user_id = (select session.user_id()) or session.is_chat_owner(chat_id))
        and (chat_id = (select session.selected_chat()) or chat_id in (select session.user_chats())));

-- Read markers: members select, since a marker is a read receipt. parley.advance_own_read_marker() moves them.
create policy read_markers_select on parley.read_markers for select to parley_api
    using (chat_id = (select session.selected_chat()) or user_id = (select session.user_id())
        or chat_id in (select session.user_chats()));

-- Settings: select and update the caller's own row.
create policy settings_select on parley.settings for select to parley_api
    using (user_id = (select session.user_id()));
create policy settings_update on parley.settings for update to parley_api
    using (user_id = (select session.user_id()));
