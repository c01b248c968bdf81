-- Errors that functions raise for a client: an SQLSTATE that maps to an HTTP status, a message for people, and details.
--
--   parley.raise_error               raises one error
--   parley.raise_invalid             raises a validation error that lists the invalid fields, if there are any
--   session.set_parameter_errors     sets the errors of unknown and repeated query parameters
--   session.raise_parameter_errors   raises a validation error that lists them
--   parley.raise_not_found           raises "… not found."
--   parley.assert_authenticated      raises "unauthorized" for a null user
--
-- SQLSTATE PTnnn is HTTP status nnn: PT400 validation_error, PT401 unauthorized, PT403 forbidden, PT404 not_found,
-- PT409 conflict, PT410 cursor_expired, PT412 precondition_failed, PT422 idempotency_key_reused, PT503 unavailable.

-- `details` becomes the DETAIL of the error, in JSON.
create or replace function parley.raise_error(state text, message text, details jsonb default null) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    raise exception using errcode = state, message = message, detail = coalesce(details::text, '');
end $$;

-- `errors` maps the name of each field to its error, or to null if the field is valid. Includes the errors of
-- set_parameter_errors().
create or replace function parley.raise_invalid(errors jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    errors := jsonb_strip_nulls(errors);
    if errors <> '{}' then
        errors := coalesce(nullif(current_setting('request.parameter_errors', true), ''), '{}')::jsonb || errors;
        perform parley.raise_error('PT400', 'The request has invalid fields.', jsonb_build_object('fields', errors));
    end if;
end $$;

-- `unknown` has the names that the route does not accept, `repeated` those that are given more than once; each is cut to 100. The
-- route's function runs in the same statement and lists the errors of the values too. session.raise_parameter_errors() raises if
-- it returns.
create or replace function session.set_parameter_errors(unknown text[], repeated text[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('request.parameter_errors', jsonb_object_agg(left(p.name, 100), p.error)::text, true)
    from (
        select u.name, 'is not a known parameter' from unnest(unknown[:100]) u (name)
        union all
        select r.name, 'is given more than once' from unnest(repeated[:100]) r (name)) p (name, error);
end $$;

create or replace function session.raise_parameter_errors() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.raise_invalid(current_setting('request.parameter_errors')::jsonb);
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
