-- Authentication: which user a transaction acts for.
--
--   session.authenticate      authenticates the transaction; registers users at their first request
--   session.user_id           the authenticated user; null without one, so that no policy matches a row
--   session.user_of_session   the user of a database session
--   session.register_user     adds a user, with default settings
--   session.is_deleted_user   whether a user with this id was deleted
--
-- The settings are local to the transaction, so nothing is left on a pooled connection.

-- `identity` is what the API has verified of the caller: the claims of a session token (sub, and name, email and picture if
-- known), or else `session_digests`, an array of digests of tokens that may belong to database sessions.
-- `request_id` becomes part of application_name: pg_stat_activity shows it and, by %a in log_line_prefix, the server's log.
-- `if_match` and `if_none_match` are the request's headers, for preconditions.sql.
-- Call it in FROM, `select api.… from session.authenticate($1, $2)`, which PostgreSQL evaluates before the select list.
create or replace function session.authenticate(
    identity jsonb, request_id text default null, if_match text default null, if_none_match text default null) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    max_name_bytes constant integer := 63;  -- NAMEDATALEN - 1
    subject constant text := coalesce(identity ->> 'sub', session.user_of_session(identity -> 'session_digests'));
begin
    if request_id is not null then
        perform set_config('application_name', left('parley ' || request_id, max_name_bytes), true);
    end if;
    -- Just-in-time compilation would take longer than any statement of a request.
    perform set_config('parley.user_id', subject, true), set_config('request.if_match', coalesce(if_match, ''), true),
        set_config('request.if_none_match', coalesce(if_none_match, ''), true), set_config('jit', 'off', true);
    -- Every registered user has settings, so one index lookup suffices.
    if not exists (select from parley.settings s where s.user_id = subject) then
        if rules.validation_error('userId', subject) is not null or subject is null then
            perform parley.raise_error('PT401', 'Authentication required.');
        end if;
        perform session.register_user(subject, identity ->> 'name', identity ->> 'email', identity ->> 'picture');
    end if;
end $$;

create or replace function session.user_id() returns text
language sql stable parallel safe as $$ select nullif(current_setting('parley.user_id', true), '') $$;

-- `digests` are SHA-256 in hexadecimal; the first one of a valid session decides. The WHERE clause repeats the expression of
-- the index. Sequential scans are disabled because a cached plan may date from when there were few sessions.
create or replace function session.user_of_session(digests jsonb) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    digest text;
    subject text;
begin
    for digest in select jsonb_array_elements_text(digests) loop
        select s."userId" into subject from next_auth.sessions s
        where sha256(replace(s."sessionToken", '\', '\\')::bytea) = decode(digest, 'hex') and s.expires > now();
        exit when found;
    end loop;
    return subject;
end $$;

-- An e-mail address belongs to the first user who has it; a second user is added without one. Invalid claims are dropped, as
-- are URLs of images in our storage, which belong to another user or are about to be removed.
-- Deletion is checked after the insert, which waits for a concurrent deletion of the same user.
create or replace function session.register_user(subject text, name text, email text, image text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    valid_name constant text := case when not rules.is_blank(name) then left(name, upper(rules.length_limits('name')) - 1) end;
    valid_email constant text := case when rules.validation_error('email', email) is null then email end;
    valid_image constant text := case when parley.image_name(image) is null and rules.is_image_url(image) then image end;
    is_new boolean;
begin
    insert into next_auth.users (id, name, email, image)
    values (subject, valid_name, valid_email, valid_image)
    on conflict do nothing;
    is_new := found;
    if not is_new then
        insert into next_auth.users (id, name, image)
        values (subject, valid_name, valid_image)
        on conflict do nothing;
        is_new := found;
    end if;
    if is_new and session.is_deleted_user(subject) then
        perform parley.raise_error('PT401', 'Authentication required.');
    end if;
    insert into parley.settings (user_id) values (subject)
    on conflict do nothing;
end $$;

create or replace function session.is_deleted_user(subject text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (select from parley.deleted_users d where d.user_id = subject)
$$;
