-- Schemas, and the extension that an index needs.

select 0 as place, 'schema ' || quote_ident(name) as key, format('create schema %I', name) as create_statement,
    format('drop schema %I', name) as drop_statement
from schemas

union all
select 1, 'extension ' || extname, 'create extension btree_gin schema parley', 'drop extension btree_gin'
from pg_extension where extname = 'btree_gin'
