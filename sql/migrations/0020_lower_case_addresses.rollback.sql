-- Drops what the migration created. Addresses stay in lower case.
-- squawk-ignore-file ban-drop-function

drop function parley.users_before_email_write cascade;

-- The functions as they were before the migration.
create or replace function session.register(subject text, name text, email text, image text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    known_name constant text := case when not rules.is_blank(name) then left(name, upper(rules.length_limits('name')) - 1) end;
    known_image constant text := case when parley.image_name(image) is null then image end;
    is_new boolean;
begin
    insert into next_auth.users (id, name, email, image)
    values (subject, known_name, case when not rules.is_blank(email) and char_length(email) <= 254 then email end,
        known_image)
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

create or replace function parley.users_before_update() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    new.updated_at := parley.now_after(old.updated_at);
    if lower(new.email) is distinct from lower(old.email) and new."emailVerified" is not distinct from old."emailVerified" then
        new."emailVerified" := null;
    end if;
    return new;
end $$;

drop function rules.lower_email;
drop function rules.is_image_url;
