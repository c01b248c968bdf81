-- Constraints: primary keys and unique constraints first, since foreign keys need them.

select case when c.contype in ('p', 'u') then 13 else 14 end as place, format('constraint %I on %s', c.conname, t.name) as key,
    format('alter table %s add constraint %I %s', t.name, c.conname, pg_get_constraintdef(c.oid)) as create_statement,
    format('alter table %s drop constraint %I', t.name, c.conname) as drop_statement
from tables t join pg_constraint c on c.conrelid = t.oid
where c.contype in ('c', 'f', 'p', 'u', 'x') and c.conparentid = 0 and c.conislocal
