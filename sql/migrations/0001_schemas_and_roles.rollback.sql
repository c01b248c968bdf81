-- Drops everything but the roles, which other databases of the cluster may use.
-- squawk-ignore-file ban-drop-schema

drop schema analytics cascade;

drop schema listener cascade;

drop schema api cascade;

drop schema session cascade;

drop schema parley cascade;

drop schema rules cascade;

drop schema next_auth cascade;

alter default privileges grant usage on types to public;

alter default privileges grant execute on functions to public;

-- grants.sql has revoked the functions for large objects from public. PostgreSQL's own revocations are in pg_init_privs.
do $$
declare
    large_object_function regprocedure;
begin
    for large_object_function in
        select p.oid from pg_proc p
        where p.pronamespace = 'pg_catalog'::regnamespace and p.proname ~ '^(lo_.*|loread|lowrite)$'
          and not exists (select from pg_init_privs i where i.classoid = 'pg_proc'::regclass and i.objoid = p.oid)
          and pg_has_role(p.proowner, 'usage')
    loop
        execute format('grant execute on function %s to public', large_object_function);
    end loop;
end $$;
