-- Who a statement speaks for. Both settings are local to the transaction, so a pooled connection forgets them.
--
--   session.authenticate          takes an identity and makes it the user of this transaction
--   session.user_id        that user, or null: then no policy lets any row through
--   session.user_of_session      whose database session it is
--   session.register       adds a first-seen user, and settings for them
--   session.is_deleted_user    whether a user with this id was deleted
--   parley.users_after_delete   trigger: remembers who was deleted, and removes what is theirs (removal.sql)

-- `identity` has the claims of a verified session token: sub, and name, email, picture where known. Or it has
-- `session_digests`: of tokens of which the caller knows nothing, but that one may be a database session's.
-- Who has settings is a user: one look-up tells both.
-- Used as `select api.… from session.authenticate($1, $2)`: a function in FROM runs before the select list does.
-- `request_id` is for whoever looks at the server: pg_stat_activity and, by %a in log_line_prefix, its log have it. A name
-- there has 63 bytes. `if_match` and `if_none_match` are the request's headers: preconditions.sql reads them.
create or replace function session.authenticate(
    identity jsonb, request_id text default null, if_match text default null, if_none_match text default null) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    subject constant text := coalesce(identity ->> 'sub', session.user_of_session(identity -> 'session_digests'));
begin
    if request_id is not null then
        perform set_config('application_name', left('parley ' || request_id, 63), true);
    end if;
    perform set_config('parley.user_id', subject, true), set_config('request.if_match', coalesce(if_match, ''), true),
        set_config('request.if_none_match', coalesce(if_none_match, ''), true);
    if not exists (select from parley.settings s where s.user_id = subject) then
        if rules.validation_error('userId', subject) is not null or subject is null then
            perform parley.raise_error('PT401', 'Authentication required.');
        end if;
        perform session.register(subject, identity ->> 'name', identity ->> 'email', identity ->> 'picture');
    end if;
end $$;

create or replace function session.user_id() returns text
language sql stable parallel safe as $$ select nullif(current_setting('parley.user_id', true), '') $$;

-- `digests` is an array of SHA-256 in hexadecimal, the first that counts goes first. The expression is the index's, and a
-- plan that was made when there were few sessions would be kept.
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

-- Two identities with one e-mail address stay two users: the address belongs to the first. An address or an image that a
-- profile could not have is none. Settings are the columns' defaults. An image in our storage is another user's, or gone
-- or going.
-- Whether a user was deleted is asked when their row is there again: whoever deletes them just now has been waited for.
create or replace function session.register(subject text, name text, email text, image text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    known_name constant text := case when not rules.is_blank(name) then left(name, upper(rules.length_limits('name')) - 1) end;
    known_email constant text := case when rules.validation_error('email', email) is null then email end;
    known_image constant text := case when parley.image_name(image) is null and rules.is_image_url(image) then image end;
    is_new boolean;
begin
    insert into next_auth.users (id, name, email, image)
    values (subject, known_name, known_email, known_image)
    on conflict do nothing;
    is_new := found;
    if not is_new then
        insert into next_auth.users (id, name, image)
        values (subject, known_name, known_image)
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

create or replace function parley.users_after_delete() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into parley.deleted_users (user_id, is_being_removed) values (old.id, true)
    on conflict (user_id) do update set deleted_at = excluded.deleted_at, is_being_removed = excluded.is_being_removed;
    perform parley.purge_memberships(old.id, 100);
    return null;
end $$;
