-- Read markers: how far a user has read a chat, and how many messages are unread.
--
--   api.mark_read                        PUT /api/chats/{chatId}/read
--   parley.advance_own_read_marker       moves the user's marker and, in a small chat, records the event
--   parley.advance_read_marker           moves a user's marker forward, never back; returns whether it moved
--   parley.mark_read_after_readmission   marks all messages of a chat as read by a readmitted user
--   parley.find_read_state               the read state of the user in a chat
--   parley.count_unread                  the number of messages after a marker
--
-- Sending a message advances its author's marker (messages_before_insert). So no message after a marker is the user's own, and
-- the unread messages are all those after the marker. They are counted by blocks (paging.sql), and not one by one.

create or replace function api.mark_read(chat_id text, body jsonb) returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    state parley.read_state;
begin
    perform parley.select_chat(chat_id), parley.validate_body(body, required => '{messageId}');
    state := parley.advance_own_read_marker((body ->> 'messageId')::uuid);
    return json_build_object('lastReadMessageId', state.last_read_message_id, 'unreadCount', state.unread_count);
end $$;
comment on function api.mark_read(text, jsonb) is
    'Marks a message, and all older ones of the chat, as read. Body: {"messageId"}. Returns {"lastReadMessageId", "unreadCount"}. An older message than the last read one changes nothing. Raises PT404 unless the message is one of the chat''s.';

-- Only small chats have the event: with n readers, a message causes up to n² publications.
create or replace function parley.advance_own_read_marker(message uuid) returns parley.read_state
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    caller constant text := session.user_id();
    chat parley.chats;
    is_advanced boolean;
    state parley.read_state;
begin
    perform parley.lock_selected_chat();
    select c.* into chat from parley.chats c where c.id = session.selected_chat();
    if not exists (select from parley.messages m where m.chat_id = chat.id and m.id = message) then
        perform parley.raise_not_found('Message');
    end if;
    perform parley.assert_preconditions('');
    is_advanced := parley.advance_read_marker(chat.id, caller, message);
    state := parley.find_read_state(chat.id);
    if is_advanced and parley.is_small(chat) then
        update parley.chats c
        set seq = parley.next_seq(c), lineage = parley.write_lineage(), gap = parley.next_gap(c), read_events = c.read_events + 1
        where c.id = chat.id returning c.* into chat;
        perform parley.record_event(chat.id, chat.seq, 'chat:read', json_build_object(
            'userId', caller, 'lastReadMessageId', message, 'unreadCount', state.unread_count));
    end if;
    return state;
end $$;

create or replace function parley.advance_read_marker(chat uuid, user_id text, message uuid) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    update parley.read_markers r set last_read_message_id = message
    where r.chat_id = chat and r.user_id = advance_read_marker.user_id and r.last_read_message_id < message;
    if not found then
        insert into parley.read_markers (chat_id, user_id, last_read_message_id)
        select chat, advance_read_marker.user_id, message where advance_read_marker.user_id is not null
        on conflict on constraint read_markers_pkey do nothing;
    end if;
    return found;
end $$;

-- Markers are removed with an account, and messages are not: without a marker, the user's own messages would be unread.
create or replace function parley.mark_read_after_readmission(chat uuid, user_id text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.advance_read_marker(chat, mark_read_after_readmission.user_id, c.last_message_id)
    from parley.chats c join parley.deleted_users d on d.user_id = mark_read_after_readmission.user_id
    where c.id = chat and c.last_message_id is not null and not exists (
        select from parley.read_markers r where r.chat_id = chat and r.user_id = d.user_id);
end $$;

-- Returns nulls unless the user is a member.
create or replace function parley.find_read_state(chat uuid) returns parley.read_state
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    found_member record;
begin
    select c as chat, r.last_read_message_id as marker into found_member
    from parley.members m join parley.chats c on c.id = m.chat_id
        left join parley.read_markers r on r.chat_id = m.chat_id and r.user_id = m.user_id
    where m.chat_id = find_read_state.chat and m.user_id = session.user_id();
    if not found then
        return null;
    end if;
    return (found_member.marker, parley.count_unread(found_member.chat, found_member.marker))::parley.read_state;
end $$;

-- count_messages() includes the message of the marker, if it still exists.
create or replace function parley.count_unread(chat parley.chats, marker uuid) returns bigint
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    if marker is null then
        return chat.message_count;
    elsif chat.last_message_id > marker then
        return parley.count_messages(chat.id, (null, marker, 'ffffffff-ffff-ffff-ffff-ffffffffffff')::parley.message_filter)
            - (select count(*) from parley.messages m where m.chat_id = chat.id and m.id = marker);
    end if;
    return 0;
end $$;
