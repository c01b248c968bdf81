-- What is in the schemas of Parley, a row each: its key, the statement that makes it and the one that takes it away.
--
-- For psql as well as for `parley db check`. The rows are the same on PostgreSQL 15 to 18, whoever owns the database, but
-- for bodies that PostgreSQL writes anew from what it parsed: those of views and of functions in standard SQL. A fact about
-- an object (a default, a grant, that row-level security is on) is a row by itself, so that what differs can be mended by
-- itself. What is not as it should be even where everything is there (a role that may log in, a trigger that is off) is a
-- row as well, which a sound database does not have.
--
-- Left out are yoyo's tables, comments, and what is a DBA's own by sql/README.md: triggers with functions of other schemas,
-- policies and grants for other roles.

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
-- Those of the row types of tables go with their tables.
types as (
    select t.*, t.oid::regtype::text as name from pg_type t left join pg_class c on c.oid = t.typrelid
    where t.typnamespace in (select oid from schemas) and (t.typtype in ('e', 'd', 'r') or c.relkind = 'c')
),
columns as (
    select a.*, t.name as relation, format('%s.%I', t.name, a.attname) as name, quote_ident(a.attname) as column_name,
        pg_get_expr(d.adbin, d.adrelid) as expression
    from tables t
    join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where not t.relispartition
),
triggers as (
    select g.*, t.name as relation from tables t join pg_trigger g on g.tgrelid = t.oid
    where not g.tgisinternal and g.tgparentid = 0 and g.tgfoid in (select oid from functions)
),
-- Who may only pass a role on, as its maker may, does not act for it. Who made a grant is to be named since PostgreSQL 16:
-- another's stays otherwise, without an error.
memberships as (
    select m.roleid, m.member, m.grantor,
        coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)
            or coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true) as acts,
        format('revoke %I from %I', pg_get_userbyid(m.roleid), pg_get_userbyid(m.member))
            || case when current_setting('server_version_num')::int >= 160000
                then format(' granted by %I', pg_get_userbyid(m.grantor)) else '' end as revoke
    from pg_auth_members m
),
owners as (select oid from owner union select 10),
-- Who acts for a role of ours or an owner, through others too.
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
),
storages (code, name) as (values ('p'::"char", 'plain'), ('e', 'external'), ('m', 'main'), ('x', 'extended')),
kinds (code, name) as (values ('r'::"char", 'table'), ('p', 'table'), ('v', 'view'), ('m', 'materialized view')),
privileges (on_what, acl) as (
    select 'schema ' || quote_ident(name), acl from schemas
    union all select name, relacl from relations where relkind in ('r', 'p', 'v', 'm', 'f')
    union all select 'sequence ' || name, relacl from relations where relkind = 'S'
    union all select 'function ' || name, coalesce(proacl, acldefault('f', proowner)) from functions
    union all select 'type ' || name, coalesce(typacl, acldefault('T', typowner)) from types
),
-- What objects that the owner will make are granted to others than the owner.
future (in_what, on_what, acl) as (
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
things (place, key, make, remove) as (
    select 0, 'schema ' || quote_ident(name), format('create schema %I', name), format('drop schema %I', name)
    from schemas

    union all
    select 1, 'extension ' || extname, 'create extension btree_gin schema parley', 'drop extension btree_gin'
    from pg_extension where extname = 'btree_gin'

    union all
    select 2, 'role ' || rolname, format('create role %I nologin', rolname), format('drop role %I', rolname) from roles

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

    union all
    select 4, 'type ' || t.name,
        case t.typtype
            when 'e' then format('create type %s as enum (%s)', t.name, (
                select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder)
                from pg_enum e where e.enumtypid = t.oid))
            when 'd' then format('create domain %s as %s', t.name, format_type(t.typbasetype, t.typtypmod))
            when 'r' then format('create type %s as range (subtype = %s)', t.name, (
                select r.rngsubtype::regtype from pg_range r where r.rngtypid = t.oid))
            else format('create type %s as (%s)', t.name, (
                select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
                from pg_attribute a where a.attrelid = t.typrelid and not a.attisdropped))
        end,
        format('drop type %s', t.name)
    from types t

    union all
    select 5, 'text search dictionary ' || d.oid::regdictionary,
        format('create text search dictionary %s (template = %I.%I%s)', d.oid::regdictionary, n.nspname, t.tmplname,
            ', ' || d.dictinitoption),
        format('drop text search dictionary %s', d.oid::regdictionary)
    from pg_ts_dict d join pg_ts_template t on t.oid = d.dicttemplate join pg_namespace n on n.oid = t.tmplnamespace
    where d.dictnamespace in (select oid from schemas)

    union all
    select 6, 'text search configuration ' || c.oid::regconfig,
        format('create text search configuration %s (parser = %I.%I)', c.oid::regconfig, n.nspname, p.prsname) || (
            select string_agg(format(E';\nalter text search configuration %s add mapping for %s with %s',
                c.oid::regconfig, m.words, m.dictionaries), '' order by m.words)
            from (
                select string_agg(w.alias, ', ' order by w.alias) as words, w.dictionaries
                from (
                    select t.alias, string_agg(m.mapdict::regdictionary::text, ', ' order by m.mapseqno) as dictionaries
                    from pg_ts_config_map m join ts_token_type(c.cfgparser) t on t.tokid = m.maptokentype
                    where m.mapcfg = c.oid group by t.alias) w
                group by w.dictionaries) m),
        format('drop text search configuration %s', c.oid::regconfig)
    from pg_ts_config c join pg_ts_parser p on p.oid = c.cfgparser join pg_namespace n on n.oid = p.prsnamespace
    where c.cfgnamespace in (select oid from schemas)

    -- Those of rules come before the tables whose constraints call them. Bodies are compared by their MD5.
    union all
    select case when pronamespace = to_regnamespace('rules') then 7 else 20 end, 'function ' || name,
        case
            when prosqlbody is not null then rtrim(pg_get_functiondef(oid), E'\n')
            else split_part(pg_get_functiondef(oid), E'\nAS ', 1) || E'\nAS md5 ' || md5(prosrc)
        end,
        format('drop routine if exists %s', name)  -- the repeatable migration may have dropped it already
    from functions

    union all
    select 8, 'sequence ' || name, 'create sequence ' || name, 'drop sequence ' || name
    from relations r
    where relkind = 'S' and not exists (
        select from pg_depend d where d.objid = r.oid and d.classid = 'pg_class'::regclass and d.deptype in ('a', 'i'))

    union all
    select case when t.relispartition then 11 else 9 end, 'table ' || t.name,
        case
            when t.relispartition then format('create table %s partition of %s %s', t.name, i.inhparent::regclass,
                pg_get_expr(t.relpartbound, t.oid))
            when t.relkind = 'p' then format('create table %s (%s) partition by %s', t.name, (
                select string_agg(format('%s %s', c.column_name, format_type(c.atttypid, c.atttypmod)), ', ' order by c.attnum)
                from pg_partitioned_table p join columns c on c.attrelid = p.partrelid and c.attnum = any (p.partattrs)
                where p.partrelid = t.oid), pg_get_partkeydef(t.oid))
            else format('create table %s ()', t.name)
        end,
        format('drop table %s', t.name)
    from tables t left join pg_inherits i on i.inhrelid = t.oid and t.relispartition

    union all
    select 10, 'column ' || c.name,
        concat(format('alter table %s add column if not exists %s %s', c.relation, c.column_name,
            format_type(c.atttypid, c.atttypmod)),
            case when c.attcollation <> t.typcollation then format(' collate %s', c.attcollation::regcollation) end,
            case c.attgenerated when 's' then format(' generated always as (%s) stored', c.expression)
                when 'v' then format(' generated always as (%s) virtual', c.expression) end),
        format('alter table %s drop column %s', c.relation, c.column_name)
    from columns c join pg_type t on t.oid = c.atttypid

    union all
    select 12, s.make, s.make, format('alter table %s set logged', t.name)
    from tables t cross join lateral (values (format('alter table %s set unlogged', t.name))) s (make)
    where t.relpersistence = 'u'

    union all
    select 12, 'default of ' || name, format('alter table %s alter column %s set default %s', relation, column_name, expression),
        format('alter table %s alter column %s drop default', relation, column_name)
    from columns where expression is not null and attgenerated = ''

    union all
    select 12, 'not null of ' || name, format('alter table %s alter column %s set not null', relation, column_name),
        format('alter table %s alter column %s drop not null', relation, column_name)
    from columns where attnotnull

    -- Numbers go on after those that are there.
    union all
    select 13, 'identity of ' || name,
        format(E'alter table %s alter column %s add generated %s as identity;\n', relation, column_name,
            case attidentity when 'a' then 'always' else 'by default' end)
        || format('select setval(pg_get_serial_sequence(%L, %L), coalesce(max(%s), 0) + 1, false) from %s',
            relation, attname, column_name, relation),
        format('alter table %s alter column %s drop identity', relation, column_name)
    from columns where attidentity <> ''

    union all
    select 12, 'storage of ' || c.name,
        format('alter table %s alter column %s set storage %s', c.relation, c.column_name, s.name),
        format('alter table %s alter column %s set storage %s', c.relation, c.column_name, d.name)
    from columns c join pg_type t on t.oid = c.atttypid
    join storages s on s.code = c.attstorage join storages d on d.code = t.typstorage
    where c.attstorage <> t.typstorage

    union all
    select case when r.relkind in ('r', 'p') then 12 else 22 end, format('option %s of %s', o.option_name, r.name),
        format('alter %s %s set (%s = %L)', k.name, r.name, o.option_name, o.option_value),
        format('alter %s %s reset (%s)', k.name, r.name, o.option_name)
    from relations r
    join kinds k on k.code = r.relkind
    cross join lateral pg_options_to_table(r.reloptions) o

    union all
    select case c.contype when 'p' then 13 when 'u' then 13 else 14 end, format('constraint %I on %s', c.conname, t.name),
        format('alter table %s add constraint %I %s', t.name, c.conname, pg_get_constraintdef(c.oid)),
        format('alter table %s drop constraint %I', t.name, c.conname)
    from tables t join pg_constraint c on c.conrelid = t.oid
    where c.contype in ('c', 'f', 'p', 'u', 'x') and c.conparentid = 0 and c.conislocal

    union all
    select 15, format('index %s on %s', i.indexrelid::regclass, t.name),
        case when c.relkind = 'I' then replace(pg_get_indexdef(c.oid), ' ON ONLY ', ' ON ')
            else replace(pg_get_indexdef(c.oid), ' INDEX ', ' INDEX CONCURRENTLY ') end
            || case when i.indisvalid then '' else ' /* invalid */' end,
        format('drop index %s%s', case when c.relkind = 'i' then 'concurrently ' end, c.oid::regclass)
    from tables t join pg_index i on i.indrelid = t.oid join pg_class c on c.oid = i.indexrelid
    where not c.relispartition and not exists (
        select from pg_constraint o where o.conindid = c.oid and o.contype in ('p', 'u', 'x'))

    union all
    select 21, 'view ' || name, format(E'create view %s as\n%s', name, rtrim(pg_get_viewdef(oid), ';')),
        format('drop %s %s', case relkind when 'm' then 'materialized view' else 'view' end, name)
    from relations where relkind in ('v', 'm')

    union all
    select 23, format('trigger %I on %s', tgname, relation), pg_get_triggerdef(oid), format('drop trigger %I on %s', tgname, relation)
    from triggers

    union all
    select 23, format('rule %I on %s', w.rulename, r.name), rtrim(pg_get_ruledef(w.oid), ';'),
        format('drop rule %I on %s', w.rulename, r.name)
    from relations r join pg_rewrite w on w.ev_class = r.oid and w.rulename <> '_RETURN'

    union all
    select 24, s.make, s.make, format('alter table %s enable trigger %I', t.relation, t.tgname)
    from triggers t
    join (values ('D'::"char", 'disable'), ('R', 'enable replica'), ('A', 'enable always')) e (code, state)
        on e.code = t.tgenabled
    cross join lateral (values (format('alter table %s %s trigger %I', t.relation, e.state, t.tgname))) s (make)

    -- Foreign keys are enforced by triggers of PostgreSQL's own.
    union all
    select 24, format('alter table %s disable trigger all (foreign keys''%s)', t.name,
            '; mended, ' || string_agg(quote_ident(g.tgname), ', ' order by g.tgname) filter (where not g.tgisinternal)
            || ' is on as well'),
        format('alter table %s disable trigger all', t.name),
        format('alter table %s enable trigger all /* by a superuser */', t.name)
    from tables t
    join pg_trigger g on g.tgrelid = t.oid and g.tgenabled <> 'O'
        and (g.tgisinternal or g.tgfoid not in (select oid from functions))
    group by t.name having bool_or(g.tgisinternal)

    union all
    select 25, s.make, s.make, s.remove
    from tables t
    cross join lateral (values
        ('enable', 'disable', t.relrowsecurity), ('force', 'no force', t.relforcerowsecurity)) w (on_word, off_word, is_on)
    cross join lateral (values (
        format('alter table %s %s row level security', t.name, w.on_word),
        format('alter table %s %s row level security', t.name, w.off_word))) s (make, remove)
    where w.is_on

    union all
    select 26, format('policy %I on %s', p.polname, t.name),
        concat(format('create policy %I on %s', p.polname, t.name),
            case when not p.polpermissive then ' as restrictive' end,
            case p.polcmd when 'r' then ' for select' when 'a' then ' for insert' when 'w' then ' for update'
                when 'd' then ' for delete' else ' for all' end,
            ' to ' || (
                select string_agg(r.name, ', ' order by r.name collate "C")
                from unnest(p.polroles) o (oid)
                left join grantees g on g.oid = o.oid
                cross join lateral (values (coalesce(g.name, quote_ident(pg_get_userbyid(o.oid))))) r (name)),
            E'\n    using (' || pg_get_expr(p.polqual, p.polrelid) || ')',
            E'\n    with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'),
        format('drop policy %I on %s', p.polname, t.name)
    from tables t join pg_policy p on p.polrelid = t.oid
    where p.polroles && (select array_agg(oid) from grantees)

    union all
    select 27, s.make, s.make, s.remove
    from privileges p
    cross join lateral aclexplode(p.acl) a
    join grantees g on g.oid = a.grantee
    cross join lateral (values (
        format('grant %s on %s to %s', lower(a.privilege_type), p.on_what, g.name)
            || case when a.is_grantable then ' with grant option' else '' end,
        format('revoke %s on %s from %s', lower(a.privilege_type), p.on_what, g.name))) s (make, remove)

    union all
    select 28, s.make, s.make, s.remove
    from relations r
    join pg_attribute c on c.attrelid = r.oid and not c.attisdropped
    cross join lateral aclexplode(c.attacl) a
    join grantees g on g.oid = a.grantee
    cross join lateral (values (
        format('grant %s (%I) on %s to %s', lower(a.privilege_type), c.attname, r.name, g.name)
            || case when a.is_grantable then ' with grant option' else '' end,
        format('revoke %s (%I) on %s from %s', lower(a.privilege_type), c.attname, r.name, g.name))) s (make, remove)

    union all
    select 29, s.make, s.make, s.remove
    from future f
    cross join lateral aclexplode(f.acl) a
    join grantees g on g.oid = a.grantee
    cross join lateral (values (
        format('alter default privileges%s grant %s on %s to %s',
            f.in_what, lower(a.privilege_type), f.on_what, g.name),
        format('alter default privileges%s revoke %s on %s from %s',
            f.in_what, lower(a.privilege_type), f.on_what, g.name))) s (make, remove)

    union all
    select 30, s.make, s.make, s.remove
    from (
        select 'table ' || name, relowner from relations where relkind in ('r', 'p', 'v', 'm', 'f')
        union all select 'routine ' || name, proowner from functions
        union all select 'schema ' || quote_ident(name), owner from schemas) x (thing, owner)
    cross join owner o
    cross join lateral (values (
        format('alter %s owner to %I', x.thing, pg_get_userbyid(x.owner)),
        format('alter %s owner to %I', x.thing, o.name))) s (make, remove)
    where x.owner <> o.oid
)
select key, make || ';' as make, remove || ';' as remove from things order by place, key collate "C";
