-- Readiness of the database for the API.
--
--   api.check_readiness   raises unless row-level security applies to the current role

create or replace function api.check_readiness() returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if exists (
        select from pg_class c
        where c.relnamespace in ('next_auth'::regnamespace, 'parley'::regnamespace) and c.relkind in ('r', 'p')
          and not row_security_active(c.oid)
    ) then
        perform parley.raise_error('PT503', format(
            'row-level security does not bind the role %s: it is a superuser, owns the tables or has BYPASSRLS. '
            'Log in as a role that was granted parley_api', current_user));
    end if;
    return true;
end $$;
comment on function api.check_readiness() is 'Returns true if the API may serve requests as the current role. Raises PT503 if row-level security does not apply to it.';
