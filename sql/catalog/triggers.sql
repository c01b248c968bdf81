-- Triggers with functions of ours, rewrite rules, and triggers that are not simply enabled.

, triggers as (
    select g.*, t.name as relation from tables t join pg_trigger g on g.tgrelid = t.oid
    where not g.tgisinternal and g.tgparentid = 0 and g.tgfoid in (select oid from functions)
)
select 23 as place, format('trigger %I on %s', tgname, relation) as key, pg_get_triggerdef(oid) as create_statement,
    format('drop trigger %I on %s', tgname, relation) as drop_statement
from triggers

union all
select 23, format('rule %I on %s', w.rulename, r.name), rtrim(pg_get_ruledef(w.oid), ';'),
    format('drop rule %I on %s', w.rulename, r.name)
from relations r join pg_rewrite w on w.ev_class = r.oid and w.rulename <> '_RETURN'

union all
select 24, s.create_statement, s.create_statement, format('alter table %s enable trigger %I', t.relation, t.tgname)
from triggers t
join (values ('D'::"char", 'disable'), ('R', 'enable replica'), ('A', 'enable always')) e (code, state)
    on e.code = t.tgenabled
cross join lateral (values (format('alter table %s %s trigger %I', t.relation, e.state, t.tgname))) s (create_statement)

-- Internal triggers enforce foreign keys. They are only enabled together with all other triggers of the table, those of a
-- DBA's included, which the key names.
union all
select 24, format('alter table %s disable trigger all (foreign keys''%s)', t.name,
        '; the fix also enables ' || string_agg(quote_ident(g.tgname), ', ' order by g.tgname) filter (where not g.tgisinternal)),
    format('alter table %s disable trigger all', t.name),
    format('alter table %s enable trigger all /* by a superuser */', t.name)
from tables t
join pg_trigger g on g.tgrelid = t.oid and g.tgenabled <> 'O'
    and (g.tgisinternal or g.tgfoid not in (select oid from functions))
group by t.name having bool_or(g.tgisinternal)
