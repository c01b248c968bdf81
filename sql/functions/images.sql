-- Profile images. users.image has an image's URL; the content is in storage, named after its hash.
--
--   api.register_image_upload         POST /api/profile/image, before the image is stored
--   api.set_image                     POST /api/profile/image, while it is stored
--   api.claim_unused_image            claims an image that may be removed from storage
--   api.confirm_image_removal         reports that a claimed image is removed
--   parley.image_name                 the name in storage of the image at a URL; null for other URLs
--   parley.is_image_used              whether a user has the image
--   parley.is_image_being_removed     whether the image is claimed for removal
--   parley.assert_stored_image        the name in storage of the image at a URL, or raises a validation error
--   parley.lock_image                 locks an image against being stored or removed
--   parley.wait_for_image_removal     waits up to 3 seconds for the end of an image's removal
--   parley.users_after_image_change   trigger: queues a user's former image for cleanup
--
-- Storage has no transactions. The API stores an image while the transaction of api.set_image is open, so that rejected images
-- are not stored. It removes an image between api.claim_unused_image and api.confirm_image_removal; until the confirmation nobody
-- can store that image. Every name is in parley.image_cleanup before an unused image can be in storage, so images that a crash
-- leaves behind are removed too.

create or replace function api.register_image_upload(image_url text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.assert_authenticated(session.user_id());
    insert into parley.image_cleanup (name, due) values (parley.assert_stored_image(image_url), now() + interval '10 minutes');
end $$;
comment on function api.register_image_upload(text) is
    'Registers an image that is about to be stored. If no user has it after ten minutes, it is removed.';

create or replace function api.set_image(image_url text) returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    name constant text := parley.assert_stored_image(image_url);
    profile next_auth.users;
begin
    perform parley.lock_image(name);
    perform parley.wait_for_image_removal(name);
    update next_auth.users u set image = image_url where u.id = session.user_id() returning * into profile;
    perform parley.assert_authenticated(profile.id);
    return json_build_object('imageUrl', profile.image, 'updatedAt', parley.iso8601(profile.updated_at));
end $$;
comment on function api.set_image(text) is
    'Sets the user''s image. Returns {"imageUrl", "updatedAt"}. Locks the image against being stored or removed by others until the commit.';

create or replace function api.claim_unused_image() returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    candidate parley.image_cleanup;
begin
    loop
        select c.* into candidate from parley.image_cleanup c
        where c.due <= now() order by c.due limit 1 for update skip locked;
        if not found then
            return null;
        elsif not parley.is_image_used(candidate.name) then
            perform parley.lock_image(candidate.name);
            -- Check again under the lock. A removal in progress elsewhere is claimed again only when its entry is due.
            if not parley.is_image_used(candidate.name)
                and (candidate.is_being_removed or not parley.is_image_being_removed(candidate.name))
            then
                update parley.image_cleanup c set due = now() + interval '2 minutes', is_being_removed = true
                where c.id = candidate.id;
                return candidate.name;
            end if;
        end if;
        delete from parley.image_cleanup c where c.id = candidate.id;
    end loop;
end $$;
comment on function api.claim_unused_image() is
    'Claims an image that no user has, for removal from storage. Returns its name, or null. It can''t be stored until api.confirm_image_removal; without a confirmation it is claimed again after two minutes.';

create or replace function api.confirm_image_removal(name text) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    delete from parley.image_cleanup c where c.name = confirm_image_removal.name and c.is_being_removed
$$;
comment on function api.confirm_image_removal(text) is 'Confirms that a claimed image is no longer in storage.';

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

create or replace function parley.assert_stored_image(url text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if parley.image_name(url) is null or url !~ '^https?://[^[:space:]]+$' or length(url) > 2000 then
        perform parley.raise_invalid('{"image": "is not in storage"}');
    end if;
    return parley.image_name(url);
end $$;

create or replace function parley.lock_image(name text) returns void
language sql volatile as $$ select pg_advisory_xact_lock(hashtextextended('parley.image ' || name, 0)) $$;

-- The caller holds the image's lock, so no removal can begin.
create or replace function parley.wait_for_image_removal(name text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    for attempt in 1..60 loop  -- of 0.05 s
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
