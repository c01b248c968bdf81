-- Profile images. Their content is in storage, under the hash of it; users.image has the URL.
--
--   api.register_image_upload                 POST /api/profile/image, before the image is stored
--   api.set_image                    POST /api/profile/image, while it is stored
--   api.claim_unused_image            the name of an image to remove from storage
--   api.confirm_image_removal                 says that this was done
--   parley.image_name                the name in storage of the image at a URL, or null
--   parley.is_image_used             whether any user has that image
--   parley.is_image_being_removed    whether its removal may be under way
--   parley.require_stored_image             that name, or a refusal
--   parley.lock_image                keeps others from storing or removing an image
--   parley.wait_for_image_removal             waits until an image is not being removed, for some seconds
--   parley.users_after_image_change          trigger: the image that a user leaves is looked at
--
-- Storage knows no transactions. So the API writes an image while the transaction of api.set_image is open: what is
-- refused is not stored. It removes one between api.claim_unused_image and api.confirm_image_removal, and as long as it is not known
-- whether that came to an end, nobody stores that image. Each name is listed in parley.image_cleanup before it can be in
-- storage unused, so also what a crash leaves behind goes.

create or replace function api.register_image_upload(image_url text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.require_user(session.user_id());
    insert into parley.image_cleanup (name, due) values (parley.require_stored_image(image_url), now() + interval '10 minutes');
end $$;
comment on function api.register_image_upload(text) is
    'Says that an image is about to be stored: should that come to nothing, it is removed in ten minutes.';

create or replace function api.set_image(image_url text) returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    name constant text := parley.require_stored_image(image_url);
    profile next_auth.users;
begin
    perform parley.lock_image(name);
    perform parley.wait_for_image_removal(name);
    update next_auth.users u set image = image_url where u.id = session.user_id() returning * into profile;
    perform parley.require_user(profile.id);
    return json_build_object('imageUrl', profile.image, 'updatedAt', parley.iso8601(profile.updated_at));
end $$;
comment on function api.set_image(text) is
    'Makes an image in storage the user''s. Answers {"imageUrl", "updatedAt"}. Until the commit nobody else stores or removes that image.';

create or replace function api.claim_unused_image() returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    listed parley.image_cleanup;
begin
    loop
        select c.* into listed from parley.image_cleanup c
        where c.due <= now() order by c.due limit 1 for update skip locked;
        if not found then
            return null;
        elsif not parley.is_image_used(listed.name) then
            perform parley.lock_image(listed.name);
            -- Nor has been taken since, by a user or for removal: one whose end is not known is left alone until it is due.
            if not parley.is_image_used(listed.name)
                and (listed.is_being_removed or not parley.is_image_being_removed(listed.name))
            then
                update parley.image_cleanup c set due = now() + interval '2 minutes', is_being_removed = true
                where c.id = listed.id;
                return listed.name;
            end if;
        end if;
        delete from parley.image_cleanup c where c.id = listed.id;
    end loop;
end $$;
comment on function api.claim_unused_image() is
    'The name of an image in storage that nobody uses, or null. Nobody stores it until api.confirm_image_removal says that it is gone; without that it is taken again in two minutes.';

create or replace function api.confirm_image_removal(name text) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    delete from parley.image_cleanup c where c.name = confirm_image_removal.name and c.is_being_removed
$$;
comment on function api.confirm_image_removal(text) is 'Says that an image that was taken is no longer in storage.';

create or replace function parley.image_name(url text) returns text
language sql immutable parallel safe as $$
    select substring(right(url, 80) from '/images/([0-9a-f]{64}[.](?:gif|jpg|png))$')
$$;

create or replace function parley.is_image_used(name text) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    return exists (select from next_auth.users u where parley.image_name(u.image) = is_image_used.name);
end $$;

create or replace function parley.is_image_being_removed(name text) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    return exists (
        select from parley.image_cleanup c where c.name = is_image_being_removed.name and c.is_being_removed);
end $$;

create or replace function parley.require_stored_image(url text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if parley.image_name(url) is null or url !~ '^https?://[^[:space:]]+$' or length(url) > 2000 then
        perform parley.raise_invalid('{"image": "is not in storage"}');
    end if;
    return parley.image_name(url);
end $$;

create or replace function parley.lock_image(name text) returns void
language sql volatile as $$ select pg_advisory_xact_lock(hashtextextended('parley.image ' || name, 0)) $$;

-- The lock of the image is held meanwhile, so none begins.
create or replace function parley.wait_for_image_removal(name text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    for attempt in 1..60 loop
        if not parley.is_image_being_removed(name) then
            return;
        end if;
        perform pg_sleep(0.05);
    end loop;
    perform parley.raise_error('PT503', 'This image is being removed.');
end $$;

create or replace function parley.users_after_image_change() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    if parley.image_name(old.image) is not null and (tg_op = 'DELETE' or new.image is distinct from old.image) then
        insert into parley.image_cleanup (name) values (parley.image_name(old.image));
    end if;
    return null;
end $$;
