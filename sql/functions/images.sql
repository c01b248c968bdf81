-- Profile images. Their content is in storage, under the hash of it; users.image has the URL.
--
--   api.expect_image           POST /api/profile/image, before the image is stored
--   api.set_image              POST /api/profile/image, while it is stored
--   api.take_unused_image      the name of an image to remove from storage
--   parley.image_name          the name in storage of the image at a URL, or null
--   parley.image_is_used       whether any user has an image
--   parley.require_image       that name, or a refusal
--   parley.lock_image          keeps others from storing or removing an image
--   parley.users_image_left    trigger: the image that a user leaves is looked at
--
-- Storage knows no transactions, so the API writes an image while the transaction of api.set_image is open, and removes
-- one while that of api.take_unused_image is: what is refused is not stored, and what one user stores no other removes.
-- Each name is listed in parley.image_cleanup before it can be in storage unused; so also what a crash leaves behind goes.

create or replace function api.expect_image(image_url text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.require_user(session.user_id());
    insert into parley.image_cleanup (name, due) values (parley.require_image(image_url), now() + interval '10 minutes');
end $$;
comment on function api.expect_image is
    'Says that an image is about to be stored: should that come to nothing, it is removed in ten minutes.';

create or replace function api.set_image(image_url text) returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    profile next_auth.users;
begin
    perform parley.lock_image(parley.require_image(image_url));
    update next_auth.users u set image = image_url where u.id = session.user_id() returning * into profile;
    perform parley.require_user(profile.id);
    return json_build_object('imageUrl', profile.image, 'updatedAt', parley.iso8601(profile.updated_at));
end $$;
comment on function api.set_image is
    'Makes an image in storage the user''s. Answers {"imageUrl", "updatedAt"}. Until the commit nobody else stores or removes that image.';

create or replace function api.take_unused_image() returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    found_name text;
begin
    loop
        delete from parley.image_cleanup c where c.id = (
            select d.id from parley.image_cleanup d where d.due <= now() order by d.due limit 1 for update skip locked)
        returning c.name into found_name;
        exit when found_name is null;
        continue when parley.image_is_used(found_name);
        perform parley.lock_image(found_name);
        exit when not parley.image_is_used(found_name);  -- nor has been since
    end loop;
    return found_name;
end $$;
comment on function api.take_unused_image is
    'The name of an image in storage that nobody uses, or null. Until the commit nobody stores it; a rollback puts it back on the list.';

create or replace function parley.image_name(url text) returns text
language sql immutable parallel safe as $$
    select substring(right(url, 80) from '/images/([0-9a-f]{64}[.](?:gif|jpg|png))$')
$$;

create or replace function parley.image_is_used(name text) returns boolean
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    return exists (select from next_auth.users u where parley.image_name(u.image) = image_is_used.name);
end $$;

create or replace function parley.require_image(url text) returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if parley.image_name(url) is null or url !~ '^https?://[^[:space:]]+$' or length(url) > 2000 then
        perform parley.reject('{"image": "is not in storage"}');
    end if;
    return parley.image_name(url);
end $$;

create or replace function parley.lock_image(name text) returns void
language sql volatile as $$ select pg_advisory_xact_lock(hashtextextended('parley.image ' || name, 0)) $$;

create or replace function parley.users_image_left() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    if parley.image_name(old.image) is not null and (tg_op = 'DELETE' or new.image is distinct from old.image) then
        insert into parley.image_cleanup (name) values (parley.image_name(old.image));
    end if;
    return null;
end $$;
