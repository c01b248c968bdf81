-- Profiles: the API's functions, and the triggers of next_auth.users.
--
--   api.get_profile                   GET  /api/profile
--   api.update_profile                PUT  /api/profile
--   parley.find_profile               the user's row
--   parley.profile_json               formats a profile
--   parley.user_name                  the user's name, or null
--   parley.users_before_email_write   trigger: stores addresses in lower case
--   parley.users_before_update        trigger: sets updated_at, marks a new address as not verified
--   parley.users_after_update         trigger: records the event, when the name or the image changes
--
-- The table belongs to the web app, so the API's role can't change it. api.update_profile and api.set_image are SECURITY DEFINER
-- and change the user's own row only.

-- Volatile, so that it sees a user whom session.authenticate() has registered in the same statement.
create or replace function api.get_profile() returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    profile constant next_auth.users := parley.find_profile();
begin
    perform parley.assert_authenticated(profile.id);
    if parley.check_preconditions(parley.iso8601(profile.updated_at)) then
        return null;
    end if;
    return json_build_object('user', parley.profile_json(profile));
end $$;
comment on function api.get_profile() is
    'Returns the user: {"user": {"id", "name", "email", "imageUrl", "updatedAt"}}; unknown fields are null. Returns null if If-None-Match lists the profile''s entity tag.';

create or replace function api.update_profile(body jsonb) returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    profile next_auth.users;
begin
    perform parley.validate_body(body, required => '{}', optional => '{name,email}');
    begin
        update next_auth.users u
        set name = coalesce(body ->> 'name', u.name), email = coalesce(body ->> 'email', u.email)
        where u.id = session.user_id() and parley.assert_preconditions(parley.iso8601(u.updated_at))
        returning * into profile;
    exception when unique_violation then
        perform parley.raise_error('PT409', 'This e-mail address is another user''s.', '{"fields": {"email": "is another user''s"}}');
    end;
    perform parley.assert_authenticated(profile.id);
    perform parley.set_response_etag(parley.iso8601(profile.updated_at));
    return json_build_object('user', json_build_object(
        'name', profile.name, 'email', profile.email, 'updatedAt', parley.iso8601(profile.updated_at)));
end $$;
comment on function api.update_profile(jsonb) is
    'Changes the user''s name or e-mail address. Body: {"name"?, "email"?}, at least one. Returns {"user": {"name", "email", "updatedAt"}}. The address is stored in lower case. Raises PT409 if it is another user''s, and PT412 if If-Match does not list the profile''s entity tag.';

-- Volatile, as api.get_profile() is.
create or replace function parley.find_profile() returns next_auth.users
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    profile next_auth.users;
begin
    select u.* into profile from next_auth.users u where u.id = session.user_id();
    return profile;
end $$;

create or replace function parley.profile_json(profile next_auth.users) returns json
language sql stable as $$
    select json_build_object(
        'id', profile.id,
        'name', profile.name,
        'email', profile.email,
        'imageUrl', profile.image,
        'updatedAt', parley.iso8601(profile.updated_at))
$$;

create or replace function parley.user_name() returns text
language sql stable as $$ select u.name from next_auth.users u where u.id = session.user_id() $$;

create or replace function parley.users_before_email_write() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    new.email := rules.lower_email(new.email);
    return new;
end $$;

-- A new address is not verified. An address stays verified if only the case of ASCII letters changes: locales and mail servers
-- disagree on the case of other letters.
create or replace function parley.users_before_update() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    new.updated_at := parley.next_updated_at(old.updated_at);
    if lower(new.email collate "C") is distinct from lower(old.email collate "C")
        and new."emailVerified" is not distinct from old."emailVerified"
    then
        new."emailVerified" := null;
    end if;
    return new;
end $$;

-- user:updated belongs to no chat: its seq is 0, and clients cannot fetch it. The lock of the user's row serializes the events of
-- a user.
create or replace function parley.users_after_update() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.record_event(parley.user_queue_id(new.id), 0, 'user:updated',
        parley.public_user_json(new.id, new.name, new.image), changed_at => new.updated_at);
    return null;
end $$;
