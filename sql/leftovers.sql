-- What only older functions need, taken away in the transaction that replaces them.

-- Migration 0009 has put parley.message_words and chats.last_message_id in their place. What older functions did since
-- then with the latter is made up for here.
do $$
begin
    if exists (
        select from pg_catalog.pg_attribute
        where attrelid = 'parley.chats'::regclass and attname = 'last_message_at' and not attisdropped)
    then
        update parley.chats c
        set last_message_id = newest.id
        from parley.chats o left join lateral (
            select m.id from parley.messages m where m.chat_id = o.id order by m.id desc limit 1) newest on true
        where c.id = o.id and o.last_message_id is distinct from newest.id;
        alter table parley.chats drop column last_message_at;
        alter table parley.messages drop column tsv;
        drop function rules.searchable;
    end if;
end $$;

-- Migration 0018 has other functions in their place.
drop function if exists rules.search_vector, rules.joined, rules.words, rules.folded;

-- Migration 0022: what refers to a deleted user is removed in batches.
alter table parley.members drop constraint if exists members_user_exists;
alter table parley.chats drop constraint if exists chats_owner_exists;
