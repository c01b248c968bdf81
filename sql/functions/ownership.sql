-- Ownership of chats: the owner hands it over to another member.
--
--   api.update_member                  PUT /api/chats/{chatId}/members/{userId}
--   parley.transfer_ownership          makes a member the owner, if the user is the owner
--   parley.set_owner                   for a DBA: makes a member the owner
--   parley.chats_before_owner_update   trigger: rejects owners who are not members, records the event
--
-- The owner of a chat is always a member. Each change of owner_id and each removal of a member locks the chat's row, and then
-- reads what was committed meanwhile: the trigger rejects a new owner who has left, and members_after_delete() resets an owner who
-- is removed by plain SQL.

create or replace function api.update_member(chat_id text, user_id text, body jsonb) returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    chat constant uuid := parley.select_chat(chat_id);
    violated text;
begin
    perform parley.assert_owner(chat);
    perform parley.validate_body(body, required => '{role}');
    begin
        if not parley.transfer_ownership(user_id) then  -- The chat was deleted, or lost its owner, since the first check.
            perform parley.assert_owner(chat);
        end if;
    exception when foreign_key_violation then
        get stacked diagnostics violated = constraint_name;
        if violated <> 'chats_owner_is_member' then
            raise;
        end if;
        perform parley.raise_not_found('Member');
    end;
    perform parley.assert_preconditions('');  -- last, because other errors precede this one
    return (select m.member from parley.members_json(array[user_id]) m);
end $$;
comment on function api.update_member(text, text, jsonb) is
    'Makes a member the owner of the chat; the former owner remains a member. Body: {"role": "owner"}. Returns the member. Raises PT403 unless the user owns the chat, and PT404 unless the new owner is a member.';

-- Security definer: the API's role cannot update owner_id. Returns false if the user does not own the selected chat, or no longer
-- does.
create or replace function parley.transfer_ownership(new_owner text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    update parley.chats c set owner_id = new_owner
    where c.id = session.selected_chat() and c.owner_id = session.user_id();
    return found;
end $$;

create or replace function parley.set_owner(chat uuid, user_id text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    update parley.chats c set owner_id = set_owner.user_id where c.id = chat and not c.is_being_removed;
    if not found then
        raise exception using errcode = 'no_data_found', message = format('chat %s does not exist', chat);
    end if;
end $$;
comment on function parley.set_owner(uuid, text) is
    'For a DBA: makes a member the owner of a chat, also if it has no owner because the account was deleted.';

-- The membership of a deleted user may still exist, so the user must exist too.
create or replace function parley.chats_before_owner_update() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not exists (
        select from parley.members m join next_auth.users u on u.id = m.user_id
        where m.chat_id = new.id and m.user_id = new.owner_id)
    then
        raise exception using errcode = 'foreign_key_violation', constraint = 'chats_owner_is_member',
            message = 'the owner of a chat must be a member';
    end if;
    new := parley.advance_seq(new);
    perform parley.record_event(
        new.id, new.seq, 'member:updated', json_build_object('userId', new.owner_id, 'role', 'owner'));
    return new;
end $$;
