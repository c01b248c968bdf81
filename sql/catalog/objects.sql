-- The objects of Parley, which the queries in this folder select from.
--
-- Each other file is the rest of a query that begins with this file, for one kind of object; it begins with a comma if it has
-- common table expressions of its own. The query returns a row for each object: its key, the statement that creates it, and
-- the one that drops it. The rows are the same on PostgreSQL 15 to 18, and do not depend on the owner of the database. The
-- exceptions are bodies that PostgreSQL deparses: those of views and of functions in standard SQL.
--
-- A property of an object (a default, a grant, row-level security) is a row of its own, so that each difference can be fixed
-- by itself. So is a state that no sound database has: a role that can log in, a disabled trigger.
--
-- `place` orders the rows of all queries so that objects are created after those that they depend on. Rows of one place do not
-- depend on each other.
--
-- The queries leave out yoyo's tables, comments, and what sql/README.md leaves to the DBA: triggers with functions in other
-- schemas, and policies and grants for other roles.

set search_path = '';

with recursive
schemas as (
    select oid, nspname as name, nspowner as owner, nspacl as acl from pg_namespace
    where nspname in ('next_auth', 'rules', 'parley', 'session', 'api', 'listener', 'analytics')
),
roles as (
    select * from pg_roles where rolname in ('parley_api', 'parley_listener', 'parley_analyst', 'parley_web')
),
grantees as (
    select oid, quote_ident(rolname) as name from roles union all select 0, 'public'
),
owner as (select owner as oid, pg_get_userbyid(owner) as name from schemas where name = 'parley'),
relations as (
    select c.*, c.oid::regclass::text as name from pg_class c
    where c.relnamespace in (select oid from schemas) and not exists (
        select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
),
tables as (select * from relations where relkind in ('r', 'p')),
functions as (
    select p.*, p.oid::regprocedure::text as name from pg_proc p
    where p.pronamespace in (select oid from schemas) and p.prokind in ('f', 'p') and not exists (
        select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
),
-- Without the row types of tables.
types as (
    select t.*, t.oid::regtype::text as name from pg_type t left join pg_class c on c.oid = t.typrelid
    where t.typnamespace in (select oid from schemas) and (t.typtype in ('e', 'd', 'r') or c.relkind = 'c')
)
