-- squawk-ignore-file ban-drop-column

alter table parley.chats drop column gap, drop column lineage;

-- Until another version's functions are applied, replace the functions that change chats by variants without these columns.
do $$
declare
    changes_chats regprocedure;
begin
    for changes_chats in
        select oid from pg_proc
        where pronamespace = 'parley'::regnamespace and prosrc ~ 'gap = parley.next_gap|new.lineage :='
    loop
        execute replace(replace(pg_get_functiondef(changes_chats),
            ', lineage = parley.write_lineage(), gap = parley.next_gap(c)', ''), 'new.lineage := parley.write_lineage();', '');
    end loop;
end $$;

create or replace function parley.next_seq(chat parley.chats, changes bigint default 1) returns bigint
language sql stable as $$ select chat.seq + changes $$;

create or replace function parley.advance_seq(chat parley.chats) returns parley.chats
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    chat.seq := chat.seq + 1;
    return chat;
end $$;
