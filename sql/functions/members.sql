-- Members of chats: adding and removing them, and the triggers of parley.members. The policies members_insert and members_delete
-- decide who may do so. member_pages.sql lists members.
--
--   api.add_member                 POST   /api/chats/{chatId}/members
--   api.remove_member              DELETE /api/chats/{chatId}/members/{userId}
--   parley.members_before_insert   trigger: rejects members who are not users
--   parley.members_after_insert    trigger: sets joined_seq, records the events, counts the members, checks the
--                                      limit, rejects deleted chats
--   parley.members_after_delete        trigger: records the events, counts the members, resets a removed owner
--   parley.members_reject_key_update   trigger: rejects updates of the primary key

create or replace function api.add_member(chat_id text, body jsonb) returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    chat constant uuid := parley.select_chat(chat_id);
    field constant text := case when body ? 'email' then 'email' else 'userId' end;
    new_member text;
begin
    perform parley.assert_is_object(body);
    perform parley.raise_invalid(parley.user_reference_errors(body));
    perform parley.lock_selected_chat();
    perform parley.assert_owner(chat);
    new_member := parley.find_user(field, body ->> field);
    if new_member is null then
        perform parley.raise_invalid(jsonb_build_object(field, 'is not a known user'));
    end if;
    insert into parley.members (chat_id, user_id) values (chat, new_member) on conflict do nothing;
    if not found then
        perform parley.raise_error('PT409', 'This user is a member already.');
    end if;
    return (select m.member from parley.members_json(array[new_member]) m);
end $$;
comment on function api.add_member(text, jsonb) is
    'Adds a user who has signed in before. Body: either {"userId"} or {"email"}. Returns the member. Raises PT403 if the caller is not the chat''s owner, and PT409 if the user is a member already or the chat has as many members as parley.limits allows.';

create or replace function api.remove_member(chat_id text, user_id text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    chat constant uuid := parley.select_chat(chat_id);
begin
    perform parley.lock_selected_chat();
    if user_id is distinct from session.user_id() then
        perform parley.assert_owner(chat);
    elsif session.is_chat_owner(chat) then
        perform parley.raise_error(
            'PT409', 'The owner can''t leave the chat, but can delete it, or first make another member its owner.');
    end if;
    delete from parley.members m where m.chat_id = chat and m.user_id = remove_member.user_id and parley.assert_preconditions('');
    if not found then
        perform parley.raise_not_found('Member');
    end if;
end $$;
comment on function api.remove_member(text, text) is
    'Removes a member. The owner can remove all others; other members only themselves. Raises PT409 for the owner, who can''t leave.';

-- Replaces a foreign key, because removal.sql removes the memberships of a deleted user in the background.
create or replace function parley.members_before_insert() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from next_auth.users u where u.id = new.user_id for key share;
    if not found then
        raise exception using errcode = 'foreign_key_violation', constraint = 'members_user_exists',
            message = 'a member must be a user in next_auth.users';
    end if;
    return new;
end $$;

-- The limit is exact, because each chat's row is locked until the commit. Without a row in parley.limits there is no limit.
create or replace function parley.members_after_insert() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    max_members constant bigint := (select l.members_per_chat from parley.limits l);
    member parley.members;
    new_seq bigint;
    new_count bigint;
begin
    for member in select a.* from new_members a order by a.chat_id, a.user_id loop
        update parley.chats c set seq = parley.next_seq(c), lineage = parley.write_lineage(), gap = parley.next_gap(c)
        where c.id = member.chat_id and not parley.is_being_removed(c) returning c.seq into new_seq;
        if not found then
            raise exception using errcode = 'foreign_key_violation', constraint = 'members_chat_exists',
                message = 'the chat does not exist, or is deleted';
        end if;
        update parley.members m set joined_seq = new_seq where m.chat_id = member.chat_id and m.user_id = member.user_id;
        perform parley.mark_read_after_readmission(member.chat_id, member.user_id);
        perform parley.record_event(
            member.chat_id, new_seq, 'member:added', to_json(member.user_id), changed_at => member.joined_at);
        -- After the event, so that the members of a small chat learn of the member who makes it a large one.
        update parley.chats c set member_count = c.member_count + 1 where c.id = member.chat_id
        returning c.member_count into new_count;
        if new_count > max_members then
            perform parley.raise_error('PT409', format(
                'The chat is full. A chat has at most %s members: remove one to add another.', max_members));
        end if;
    end loop;
    return null;
end $$;

-- A chat that is being removed gets no event, since its last one is recorded. Chats are locked in the order of their ids, to
-- avoid deadlocks. An owner who is removed by plain SQL, or with the account, owns the chat no longer.
create or replace function parley.members_after_delete() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    member parley.members;
    new_seq bigint;
begin
    for member in select r.* from removed_members r order by r.chat_id, r.user_id loop
        update parley.chats c
        set seq = parley.next_seq(c), lineage = parley.write_lineage(), gap = parley.next_gap(c),
            member_count = c.member_count - 1, owner_id = nullif(c.owner_id, member.user_id)
        where c.id = member.chat_id and not parley.is_being_removed(c) returning c.seq into new_seq;
        if found then
            perform parley.record_event(
                member.chat_id, new_seq, 'member:removed', to_json(member.user_id), removed_user => member.user_id,
                terminates_connections => member.was_authorized);
        end if;
    end loop;
    return null;
end $$;

create or replace function parley.members_reject_key_update() returns trigger
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    raise exception 'the primary key of a member cannot be updated: delete the row and insert another';
end $$;
