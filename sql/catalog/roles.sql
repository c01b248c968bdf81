-- Roles, their attributes and memberships, and the login roles that act for them and have too many privileges.

-- A member with neither the INHERIT nor the SET option can only grant the role to others, and does not act for it. Since
-- PostgreSQL 16 a revoke names the grantor: without the name, a grant by another role stays, without an error.
, memberships as (
    select m.roleid, m.member, m.grantor,
        coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)
            or coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true) as acts,
        format('revoke %I from %I', pg_get_userbyid(m.roleid), pg_get_userbyid(m.member))
            || case when current_setting('server_version_num')::int >= 160000
                then format(' granted by %I', pg_get_userbyid(m.grantor)) else '' end as revoke
    from pg_auth_members m
),
owners as (select oid from owner union select 10),  -- of the tables, and of the cluster
-- The roles that act for a role of ours or for an owner, directly or through others.
acting (role, member) as (
    select oid, oid from roles
    union
    select oid, oid from owners
    union
    select a.role, m.member from acting a join memberships m on m.roleid = a.member and m.acts
),
logins as (
    select r.*, quote_ident(r.rolname) as name, p.oid as role, p.rolname as acts_for,
        r.oid in (select oid from owners) as is_an_owner
    from acting a
    join roles p on p.oid = a.role
    join pg_roles r on r.oid = a.member and r.oid <> p.oid and r.rolcanlogin
)
select 2 as place, 'role ' || rolname as key, format('create role %I nologin', rolname) as create_statement,
    format('drop role %I', rolname) as drop_statement
from roles

union all
select 3, format('alter role %I %s', r.rolname, a.attribute), format('alter role %I %s', r.rolname, a.attribute),
    format('alter role %I no%s', r.rolname, a.attribute)
from roles r
cross join lateral (values ('login', r.rolcanlogin), ('superuser', r.rolsuper), ('bypassrls', r.rolbypassrls),
    ('createrole', r.rolcreaterole), ('createdb', r.rolcreatedb), ('replication', r.rolreplication)
    ) a (attribute, is_on)
where a.is_on

union all
select 3, format('grant %I to %I', g.rolname, r.rolname), format('grant %I to %I', g.rolname, r.rolname),
    string_agg(m.revoke, E';\n' order by m.grantor)
from roles r join memberships m on m.member = r.oid join pg_roles g on g.oid = m.roleid
group by g.rolname, r.rolname

union all
select 3, format('login %s of %s with %s', l.name, l.acts_for, a.attribute),
    format('alter role %s %s', l.name, a.attribute), format('alter role %s no%s', l.name, a.attribute)
from logins l
cross join lateral (values ('superuser', l.rolsuper), ('bypassrls', l.rolbypassrls)) a (attribute, is_on)
where a.is_on and not l.is_an_owner

union all
select 3, format('login %s of %s that %s', l.name, l.acts_for, w.what), '', (
    select string_agg(distinct m.revoke, E';\n')
    from memberships m join acting a on a.member = m.roleid
    where m.member = l.oid and m.acts and a.role = any (w.roles))
from logins l
cross join lateral (values
    ('owns the tables or the cluster', array[l.role], true),
    ('may act for the owner of the tables or the cluster', (select array_agg(oid) from owners), false)
    ) w (what, roles, is_an_owner)
where w.is_an_owner = l.is_an_owner
  and exists (select from acting a where a.member = l.oid and a.role = any (w.roles))
