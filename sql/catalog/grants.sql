-- Privileges of public and of our roles, default privileges, and owners that differ from that of schema parley.

, privileges (on_what, acl) as (
    select 'schema ' || quote_ident(name), acl from schemas
    union all select name, relacl from relations where relkind in ('r', 'p', 'v', 'm', 'f')
    union all select 'sequence ' || name, relacl from relations where relkind = 'S'
    union all select 'function ' || name, coalesce(proacl, acldefault('f', proowner)) from functions
    union all select 'type ' || name, coalesce(typacl, acldefault('T', typowner)) from types
),
-- Privileges on objects that the owner will create.
default_privileges (in_what, on_what, acl) as (
    select '', k.plural, coalesce(d.defaclacl, acldefault(k.acl_kind, o.oid))
    from owner o
    cross join (values ('r'::"char", 'r'::"char", 'tables'), ('S', 's', 'sequences'), ('f', 'f', 'functions'),
        ('T', 'T', 'types'), ('n', 'n', 'schemas')) k (kind, acl_kind, plural)
    left join pg_default_acl d on d.defaclrole = o.oid and d.defaclnamespace = 0 and d.defaclobjtype = k.kind
    union all
    select ' in schema ' || quote_ident(s.name), k.plural, d.defaclacl
    from owner o
    join pg_default_acl d on d.defaclrole = o.oid
    join schemas s on s.oid = d.defaclnamespace
    join (values ('r'::"char", 'tables'), ('S', 'sequences'), ('f', 'functions'), ('T', 'types')) k (kind, plural)
        on k.kind = d.defaclobjtype
),
things_with_owner (thing, owner) as (
    select 'table ' || name, relowner from relations where relkind in ('r', 'p', 'v', 'm', 'f')
    union all select 'routine ' || name, proowner from functions
    union all select 'schema ' || quote_ident(name), owner from schemas
)
select 27 as place, s.create_statement as key, s.create_statement, s.drop_statement
from privileges p
cross join lateral aclexplode(p.acl) a
join grantees g on g.oid = a.grantee
cross join lateral (values (
    format('grant %s on %s to %s', lower(a.privilege_type), p.on_what, g.name)
        || case when a.is_grantable then ' with grant option' else '' end,
    format('revoke %s on %s from %s', lower(a.privilege_type), p.on_what, g.name)
    )) s (create_statement, drop_statement)

union all
select 28, s.create_statement, s.create_statement, s.drop_statement
from relations r
join pg_attribute c on c.attrelid = r.oid and not c.attisdropped
cross join lateral aclexplode(c.attacl) a
join grantees g on g.oid = a.grantee
cross join lateral (values (
    format('grant %s (%I) on %s to %s', lower(a.privilege_type), c.attname, r.name, g.name)
        || case when a.is_grantable then ' with grant option' else '' end,
    format('revoke %s (%I) on %s from %s', lower(a.privilege_type), c.attname, r.name, g.name)
    )) s (create_statement, drop_statement)

union all
select 29, s.create_statement, s.create_statement, s.drop_statement
from default_privileges d
cross join lateral aclexplode(d.acl) a
join grantees g on g.oid = a.grantee
cross join lateral (values (
    format('alter default privileges%s grant %s on %s to %s', d.in_what, lower(a.privilege_type), d.on_what, g.name),
    format('alter default privileges%s revoke %s on %s from %s', d.in_what, lower(a.privilege_type), d.on_what, g.name)
    )) s (create_statement, drop_statement)

union all
select 30, s.create_statement, s.create_statement, s.drop_statement
from things_with_owner x
cross join owner o
cross join lateral (values (
    format('alter %s owner to %I', x.thing, pg_get_userbyid(x.owner)),
    format('alter %s owner to %I', x.thing, o.name))) s (create_statement, drop_statement)
where x.owner <> o.oid
