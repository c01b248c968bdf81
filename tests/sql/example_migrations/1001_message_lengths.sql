-- depends: 0007_analytics
--
-- Example of a migration that needs locks: the length of each new or changed message, recorded by a trigger. The next
-- migration adds those of the existing messages.

-- Both locks at once, in the order in which requests lock the tables: a session that waits for the second while it holds the
-- first could deadlock with a request.
lock table parley.chats, parley.messages in access exclusive mode;

create table parley.message_lengths (
    chat_id uuid,
    id uuid,
    characters bigint not null,
    primary key (chat_id, id)
);

alter table parley.message_lengths enable row level security;

create function public.record_message_length() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into parley.message_lengths (chat_id, id, characters) values (new.chat_id, new.id, char_length(new.content))
    on conflict (chat_id, id) do update set characters = excluded.characters;
    return null;
end $$;

create trigger record_length after insert or update of content on parley.messages
    for each row execute function public.record_message_length();
