-- Indexes, except those of constraints. An index of a partitioned table cannot be created concurrently.

select 15 as place, format('index %s on %s', i.indexrelid::regclass, t.name) as key,
    case when c.relkind = 'I' then replace(pg_get_indexdef(c.oid), ' ON ONLY ', ' ON ')
        else replace(pg_get_indexdef(c.oid), ' INDEX ', ' INDEX CONCURRENTLY ') end
        || case when i.indisvalid then '' else ' /* invalid */' end as create_statement,
    format('drop index %s%s', case when c.relkind = 'i' then 'concurrently ' end, c.oid::regclass) as drop_statement
from tables t join pg_index i on i.indrelid = t.oid join pg_class c on c.oid = i.indexrelid
where not c.relispartition and not exists (
    select from pg_constraint o where o.conindid = c.oid and o.contype in ('p', 'u', 'x'))
