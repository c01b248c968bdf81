-- Readiness of the database.
--
--   api.check_readiness           raises unless the API may serve requests
--   parley.assert_writable        raises if the session cannot write
--   parley.has_loaded_functions   whether the functions have been loaded since the last rollback of a migration

-- Raises PostgreSQL's own SQLSTATE, after which the API and the listener open a new session: it may be writable.
create or replace function parley.assert_writable() returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if current_setting('transaction_read_only')::boolean then
        raise read_only_sql_transaction using
            message = 'the database is read-only: it is a replica, or default_transaction_read_only is on';
    end if;
    return true;
end $$;

-- A rollback empties the table.
create or replace function parley.has_loaded_functions() returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from parley.repeatable_migrations m where m.name = 'functions')
$$;

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
    -- The API sets the isolation level of its connections, but some poolers reject or ignore that.
    if current_setting('transaction_isolation') <> 'read committed' then
        perform parley.raise_error('PT503', format(
            'default_transaction_isolation is %s: run alter role %I in database %I set default_transaction_isolation = '
            '''read committed'', and have the pooler reconnect',
            current_setting('transaction_isolation'), session_user, current_database()));
    end if;
    if not parley.has_loaded_functions() then
        perform parley.raise_error('PT503', 'the functions are not those of the applied migrations: run yoyo apply --batch');
    end if;
    return parley.assert_writable();
end $$;
comment on function api.check_readiness() is
    'Returns true if the API may serve requests as the current role. Raises PT503 if row-level security does not apply to the role, the isolation level of its transactions is not READ COMMITTED, or the functions may not be those of the applied migrations; and read_only_sql_transaction (25006) if the session cannot write.';
