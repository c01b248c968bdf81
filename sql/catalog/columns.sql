-- Columns, with a row each for their default, not null, identity and storage.

, columns as (
    select a.*, t.name as relation, format('%s.%I', t.name, a.attname) as name, quote_ident(a.attname) as column_name,
        y.typcollation, y.typstorage, pg_get_expr(d.adbin, d.adrelid) as expression
    from tables t
    join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
    join pg_type y on y.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where not t.relispartition
),
storages (code, name) as (values ('p'::"char", 'plain'), ('e', 'external'), ('m', 'main'), ('x', 'extended'))
select 10 as place, 'column ' || name as key,
    concat(format('alter table %s add column if not exists %s %s', relation, column_name, format_type(atttypid, atttypmod)),
        case when attcollation <> typcollation then format(' collate %s', attcollation::regcollation) end,
        case attgenerated when 's' then format(' generated always as (%s) stored', expression)
            when 'v' then format(' generated always as (%s) virtual', expression) end) as create_statement,
    format('alter table %s drop column %s', relation, column_name) as drop_statement
from columns

union all
select 12, 'default of ' || name, format('alter table %s alter column %s set default %s', relation, column_name, expression),
    format('alter table %s alter column %s drop default', relation, column_name)
from columns where expression is not null and attgenerated = ''

union all
select 12, 'not null of ' || name, format('alter table %s alter column %s set not null', relation, column_name),
    format('alter table %s alter column %s drop not null', relation, column_name)
from columns where attnotnull

union all
select 12, 'storage of ' || c.name,
    format('alter table %s alter column %s set storage %s', c.relation, c.column_name, s.name),
    format('alter table %s alter column %s set storage %s', c.relation, c.column_name, d.name)
from columns c join storages s on s.code = c.attstorage join storages d on d.code = c.typstorage
where c.attstorage <> c.typstorage

-- An identity that is added again continues after the highest number.
union all
select 13, 'identity of ' || name,
    format(E'alter table %s alter column %s add generated %s as identity;\n', relation, column_name,
        case attidentity when 'a' then 'always' else 'by default' end)
    || format('select setval(pg_get_serial_sequence(%L, %L), coalesce(max(%s), 0) + 1, false) from %s',
        relation, attname, column_name, relation),
    format('alter table %s alter column %s drop identity', relation, column_name)
from columns where attidentity <> ''
