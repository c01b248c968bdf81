-- Tables without their columns, sequences that belong to no column, and storage parameters.

select 8 as place, 'sequence ' || name as key, 'create sequence ' || name as create_statement,
    'drop sequence ' || name as drop_statement
from relations r
where relkind = 'S' and not exists (
    select from pg_depend d where d.objid = r.oid and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i'))

-- A partitioned table needs the columns of its key.
union all
select case when t.relispartition then 11 else 9 end, 'table ' || t.name,
    case
        when t.relispartition then format('create table %s partition of %s %s', t.name, i.inhparent::regclass,
            pg_get_expr(t.relpartbound, t.oid))
        when t.relkind = 'p' then format('create table %s (%s) partition by %s', t.name, (
            select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
            from pg_partitioned_table p join pg_attribute a on a.attrelid = p.partrelid and a.attnum = any (p.partattrs)
            where p.partrelid = t.oid), pg_get_partkeydef(t.oid))
        else format('create table %s ()', t.name)
    end,
    format('drop table %s', t.name)
from tables t left join pg_inherits i on i.inhrelid = t.oid and t.relispartition

union all
select 12, s.create_statement, s.create_statement, format('alter table %s set logged', t.name)
from tables t cross join lateral (values (format('alter table %s set unlogged', t.name))) s (create_statement)
where t.relpersistence = 'u'

union all
select case when r.relkind in ('r', 'p') then 12 else 22 end, format('option %s of %s', o.option_name, r.name),
    format('alter %s %s set (%s = %L)', k.name, r.name, o.option_name, o.option_value),
    format('alter %s %s reset (%s)', k.name, r.name, o.option_name)
from relations r
join (values ('r'::"char", 'table'), ('p', 'table'), ('v', 'view'), ('m', 'materialized view')) k (code, name)
    on k.code = r.relkind
cross join lateral pg_options_to_table(r.reloptions) o
