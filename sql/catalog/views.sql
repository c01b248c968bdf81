-- Views and materialized views. tables.sql has their options.

select 21 as place, 'view ' || name as key,
    format(E'create view %s as\n%s', name, rtrim(pg_get_viewdef(oid), ';')) as create_statement,
    format('drop %s %s', case relkind when 'm' then 'materialized view' else 'view' end, name) as drop_statement
from relations where relkind in ('v', 'm')
