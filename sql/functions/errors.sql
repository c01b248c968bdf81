-- Errors that functions raise for a client: an SQLSTATE that maps to an HTTP status, a message for people, and details.
--
--   parley.raise_error            raises one error
--   parley.raise_invalid          raises a validation error that lists the invalid fields, if there are any
--   parley.raise_not_found        raises "… not found."
--   parley.assert_authenticated   raises "unauthorized" for a null user
--
-- SQLSTATE PTnnn is HTTP status nnn: PT400 validation_error, PT401 unauthorized, PT403 forbidden, PT404 not_found,
-- PT409 conflict, PT410 cursor_expired, PT412 precondition_failed, PT422 idempotency_key_reused, PT503 unavailable.

-- `details` becomes the DETAIL of the error, in JSON.
create or replace function parley.raise_error(state text, message text, details jsonb default null) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    raise exception using errcode = state, message = message, detail = coalesce(details::text, '');
end $$;

-- `errors` maps the name of each field to its error, or to null if the field is valid.
create or replace function parley.raise_invalid(errors jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    errors := jsonb_strip_nulls(errors);
    if errors <> '{}' then
        perform parley.raise_error('PT400', 'The request has invalid fields.', jsonb_build_object('fields', errors));
    end if;
end $$;

create or replace function parley.raise_not_found(resource text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.raise_error('PT404', resource || ' not found.');
end $$;

create or replace function parley.assert_authenticated(user_id text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if user_id is null then
        perform parley.raise_error('PT401', 'Authentication required.');
    end if;
end $$;
