-- Drops what the migration created.
-- squawk-ignore-file ban-drop-table

-- Restores the function that reads the table. The lock waits for insertions in progress that are about to read it.
lock table parley.members in share row exclusive mode;

create or replace function parley.members_after_insert() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    member parley.members;
    taken bigint;
begin
    for member in select a.* from added a order by a.chat_id, a.user_id loop
        update parley.chats c set seq = c.seq + 1
        where c.id = member.chat_id and not parley.is_being_removed(c) returning c.seq into taken;
        if not found then
            raise exception using errcode = 'foreign_key_violation', constraint = 'members_chat_exists',
                message = 'the chat does not exist, or is deleted';
        end if;
        perform parley.record_event(
            member.chat_id, taken, 'member:added', to_json(member.user_id), changed_at => member.joined_at);
    end loop;
    return null;
end $$;

drop table parley.limits;
