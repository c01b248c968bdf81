-- The rows that restore_drill.sh compares, in addition to the schema from pg_dump. Each line begins with its section.
-- The variable `roles` has the names of the roles to compare.

set datestyle = iso;
set intervalstyle = postgres;
set timezone = 'UTC';
set extra_float_digits = 1;
set bytea_output = hex;
set search_path = pg_catalog;

select 'row-level security', c.oid::regclass, c.relrowsecurity, c.relforcerowsecurity
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname !~ '^(pg_|information_schema$)' and c.relkind in ('r', 'p')
order by c.oid::regclass::text;

select 'policies', p.* from pg_policies p order by p.schemaname, p.tablename, p.policyname;

select 'roles', r.rolname, r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin, r.rolreplication,
    r.rolbypassrls, r.rolconnlimit, r.rolvaliduntil, r.rolconfig
from pg_roles r where r.rolname = any (:'roles'::name[]) order by r.rolname;

select 'memberships', r.rolname, m.rolname, a.admin_option
from pg_auth_members a join pg_roles r on r.oid = a.roleid join pg_roles m on m.oid = a.member
where m.rolname = any (:'roles'::name[]) order by r.rolname, m.rolname;

-- Default privileges are included, because PostgreSQL may store them explicitly or as null.
select 'grants', o.what, a.grantor::regrole, a.grantee::regrole, a.privilege_type, a.is_grantable
from (
    select 'database', coalesce(datacl, acldefault('d', datdba)), '' from pg_database where datname = current_database()
    union all
    select 'schema ' || nspname, coalesce(nspacl, acldefault('n', nspowner)), nspname from pg_namespace
    union all
    select 'relation ' || c.oid::regclass,
        coalesce(c.relacl, acldefault((case c.relkind when 'S' then 's' else 'r' end)::"char", c.relowner)), n.nspname
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    union all
    select format('column %s.%s', c.oid::regclass, t.attname), t.attacl, n.nspname
    from pg_attribute t join pg_class c on c.oid = t.attrelid join pg_namespace n on n.oid = c.relnamespace
    where not t.attisdropped
    union all
    select 'function ' || p.oid::regprocedure, coalesce(p.proacl, acldefault('f', p.proowner)), n.nspname
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    union all
    select 'type ' || t.oid::regtype, coalesce(t.typacl, acldefault('T', t.typowner)), n.nspname
    from pg_type t join pg_namespace n on n.oid = t.typnamespace
    union all
    select format('default of %s for %s in %s', defaclrole::regrole, defaclobjtype, defaclnamespace::regnamespace),
        defaclacl, ''
    from pg_default_acl
) o (what, acl, schema) cross join lateral aclexplode(o.acl) a
where o.schema !~ '^(pg_|information_schema$)'
order by o.what, a.grantor::regrole::text, a.grantee::regrole::text, a.privilege_type;

-- The sum of the rows' hashes does not depend on their order.
select format('select ''rows'', %L, count(*), sum(hashtextextended(t::text, 0)::numeric) from %1$s t', c.oid::regclass)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname !~ '^(pg_|information_schema$)' and c.relkind in ('r', 'p') and not c.relispartition
order by c.oid::regclass::text
\gexec
