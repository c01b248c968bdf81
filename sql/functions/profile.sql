-- Profiles: what a user tells of themselves.
--
--   api.get_profile         GET  /api/profile
--   api.update_profile      PUT  /api/profile
--   parley.users_before_email_write    trigger: an address is stored in lower case
--   parley.users_before_update    trigger: updated_at, and that a new address is not verified
--
-- Users are the web app's, so the API's role may not change them but through this function and api.set_image, which
-- run as the tables' owner and each change the user's own row.

-- Volatile, to see a user whom the same statement has just registered.
create or replace function api.get_profile() returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    profile next_auth.users;
begin
    select u.* into profile from next_auth.users u where u.id = session.user_id();
    perform parley.require_user(profile.id);
    if parley.check_preconditions(parley.iso8601(profile.updated_at)) then
        return null;
    end if;
    return json_build_object('user', json_build_object(
        'id', profile.id,
        'name', profile.name,
        'email', profile.email,
        'imageUrl', profile.image,
        'updatedAt', parley.iso8601(profile.updated_at)));
end $$;
comment on function api.get_profile() is
    'The user: {"user": {"id", "name", "email", "imageUrl", "updatedAt"}}; null is what nobody has told. Null if If-None-Match names its ETag.';

create or replace function api.update_profile(body jsonb) returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    profile next_auth.users;
begin
    perform parley.validate_body(body, required => '{}', optional => '{name,email}');
    begin
        update next_auth.users u
        set name = coalesce(body ->> 'name', u.name), email = coalesce(body ->> 'email', u.email)
        where u.id = session.user_id() and parley.assert_if_match(parley.iso8601(u.updated_at))
        returning * into profile;
    exception when unique_violation then
        perform parley.raise_error('PT409', 'This e-mail address is another user''s.', '{"fields": {"email": "is another user''s"}}');
    end;
    perform parley.require_user(profile.id);
    perform parley.set_response_etag(parley.iso8601(profile.updated_at));
    return json_build_object('user', json_build_object(
        'name', profile.name, 'email', profile.email, 'updatedAt', parley.iso8601(profile.updated_at)));
end $$;
comment on function api.update_profile(jsonb) is
    'Changes the user. Body: {"name"?, "email"?}, at least one. Answers {"user": {"name", "email", "updatedAt"}}. The e-mail address is stored in lower case. Raises PT409 for one that another user has.';

create or replace function parley.users_before_email_write() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    new.email := rules.lower_email(new.email);
    return new;
end $$;

-- An address that somebody wrote is not one that they have shown to be theirs. Only ASCII letters are the same in whatever
-- case: to others, which letter belongs to which is told otherwise by each locale and each mail server.
create or replace function parley.users_before_update() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    new.updated_at := parley.now_after(old.updated_at);
    if lower(new.email collate "C") is distinct from lower(old.email collate "C")
        and new."emailVerified" is not distinct from old."emailVerified"
    then
        new."emailVerified" := null;
    end if;
    return new;
end $$;
