-- How a function refuses: an SQLSTATE that tells the HTTP status, a sentence for people, a DETAIL in JSON.
--
--   parley.raise_error         raises one error
--   parley.raise_invalid       raises a validation error for the bad fields, if there are any
--   parley.raise_not_found    raises "… not found."
--   parley.require_user raises "unauthorized" where there is no user
--
-- PT400 validation_error, PT401 unauthorized, PT403 forbidden, PT404 not_found, PT409 conflict, PT410 cursor_expired,
-- PT412 precondition_failed, PT422 idempotency_key_reused, PT503 unavailable.

create or replace function parley.raise_error(state text, message text, details jsonb default null) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    raise exception using errcode = state, message = message, detail = coalesce(details::text, '');
end $$;

-- `problems` maps names of fields to what is wrong with each; nulls are fields that are fine.
create or replace function parley.raise_invalid(problems jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    problems := jsonb_strip_nulls(problems);
    if problems <> '{}' then
        perform parley.raise_error('PT400', 'The request has invalid fields.', jsonb_build_object('fields', problems));
    end if;
end $$;

create or replace function parley.raise_not_found(what text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.raise_error('PT404', what || ' not found.');
end $$;

create or replace function parley.require_user(id text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if id is null then
        perform parley.raise_error('PT401', 'Authentication required.');
    end if;
end $$;
