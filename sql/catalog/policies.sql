-- Row-level security: whether it is enabled and forced, and the policies for our roles.

select 25 as place, s.create_statement as key, s.create_statement, s.drop_statement
from tables t
cross join lateral (values
    ('enable', 'disable', t.relrowsecurity), ('force', 'no force', t.relforcerowsecurity)) w (on_word, off_word, is_on)
cross join lateral (values (
    format('alter table %s %s row level security', t.name, w.on_word),
    format('alter table %s %s row level security', t.name, w.off_word))) s (create_statement, drop_statement)
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
