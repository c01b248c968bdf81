-- Functions and procedures. Their bodies are compared by MD5.

-- Those of rules come before the tables whose constraints call them. A function may have been dropped by the repeatable
-- migration that a fix before this one applies.
select case when pronamespace = to_regnamespace('rules') then 7 else 20 end as place, 'function ' || name as key,
    case
        when prosqlbody is not null then rtrim(pg_get_functiondef(oid), E'\n')
        else split_part(pg_get_functiondef(oid), E'\nAS ', 1) || E'\nAS md5 ' || md5(prosrc)
    end as create_statement,
    format('drop routine if exists %s', name) as drop_statement
from functions
