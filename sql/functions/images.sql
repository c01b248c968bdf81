-- Images: users.image has the URL of a profile image, and the content of a message of type image that of an image of its chat.
-- The files are in storage.
--
--   api.authorize_upload                  authorizes an upload before its body is received
--   api.register_image_upload             registers an image before it is stored
--   api.set_image                         POST /api/profile/image, while the image is stored
--   api.add_chat_image                    POST /api/chats/{chatId}/images, while the image is stored
--   api.claim_unused_image                claims an image that may be removed from storage
--   api.confirm_image_removal             reports that a claimed image is removed
--   parley.image_name                     the name in storage of the image at a URL; null for other URLs
--   parley.message_image                  the name in storage of the image that a message has; null without one
--   parley.is_image_used                  whether a user or a message has the image
--   parley.is_image_being_removed         whether the image is claimed for removal
--   parley.assert_stored_image            the name in storage of the image at a URL, or raises a validation error
--   parley.lock_image                     locks an image against being stored, used by a message, or removed
--   parley.wait_for_image_removal         waits up to 3 seconds for the end of an image's removal
--   parley.users_after_image_change       trigger: queues a user's former image for cleanup
--   parley.messages_after_image_added     trigger: locks the image of a new or edited message against removal
--   parley.messages_after_image_removed   trigger: queues the image of a deleted or edited message for cleanup
--
-- Storage has no transactions. The API stores an image while the transaction of api.set_image or api.add_chat_image is open, so
-- that rejected images are not stored. It removes an image between api.claim_unused_image and api.confirm_image_removal; until the
-- confirmation nobody can store that image. Every name is in parley.image_cleanup before an unused image can be in storage, so
-- images that a crash leaves behind are removed too.
--
-- An image that was uploaded for a chat is used only by that chat's messages, so other chats cannot keep it. A message that is sent
-- after the claim does not use the image: parley.chat_images no longer has it.

create or replace function api.authorize_upload(chat_id text default null) returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.assert_authenticated(session.user_id());
    if chat_id is not null then
        perform parley.select_chat(chat_id);
    end if;
    return json_build_object('sub', session.user_id());
end $$;
comment on function api.authorize_upload(text) is
    'Authorizes an upload of a profile image or, with chat_id, of an image for a chat''s messages. Returns the user''s identity, {"sub"}. Raises PT404 unless the user is a member of the chat.';

create or replace function api.register_image_upload(image_url text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.assert_authenticated(session.user_id());
    insert into parley.image_cleanup (name, due) values (parley.assert_stored_image(image_url), now() + interval '24 hours');
end $$;
comment on function api.register_image_upload(text) is
    'Registers an image that is about to be stored. If no user and no message has it after 24 hours, it is removed.';

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

-- The name is random, so nobody else stores or removes the image now: it needs no lock.
create or replace function api.add_chat_image(chat_id text, image_url text, width integer, height integer) returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    name constant text := parley.assert_stored_image(image_url);
    chat constant uuid := parley.select_chat(chat_id);
begin
    insert into parley.chat_images (name, chat_id, user_id) values (name, chat, session.user_id());
    return json_build_object('imageUrl', image_url, 'width', width, 'height', height);
end $$;
comment on function api.add_chat_image(text, text, integer, integer) is
    'Adds a registered image, of this size in pixels, for messages of the chat. Returns {"imageUrl", "width", "height"}. Raises PT404 unless the user is a member of the chat.';

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
                delete from parley.chat_images i where i.name = candidate.name;
                update parley.image_cleanup c set due = now() + interval '2 minutes', is_being_removed = true
                where c.id = candidate.id;
                return candidate.name;
            end if;
        end if;
        delete from parley.image_cleanup c where c.id = candidate.id;
    end loop;
end $$;
comment on function api.claim_unused_image() is
    'Claims an image that no user and no message has, for removal from storage. Returns its name, or null. It can''t be stored until api.confirm_image_removal; without a confirmation it is claimed again after two minutes.';

create or replace function api.confirm_image_removal(name text) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    delete from parley.image_cleanup c where c.name = confirm_image_removal.name and c.is_being_removed
$$;
comment on function api.confirm_image_removal(text) is 'Confirms that a claimed image is no longer in storage.';

create or replace function parley.image_name(url text) returns text
language sql immutable parallel safe as $$
    select substring(right(url, 80) from '/images/([0-9a-f]{64}[.](?:gif|jpg|png))$')
$$;

create or replace function parley.message_image(message parley.messages) returns text
language sql immutable parallel safe as $$
    select case when message.type = 'image' then parley.image_name(message.content) end
$$;

create or replace function parley.is_image_used(name text) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    return exists (select from next_auth.users u where parley.image_name(u.image) = is_image_used.name)
        or exists (
            select from parley.chat_images i join parley.messages m
                on m.chat_id = i.chat_id and m.type = 'image' and parley.image_name(m.content) = i.name
            where i.name = is_image_used.name);
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

-- Runs after the message's row and its chat's are written, so that all transactions lock the chat before the image. The lock lasts
-- until the commit: a concurrent claim waits, and then finds the image used. If the claim was first, the image is gone. A message
-- that had the image before needs no lock, so an update of the URLs of many messages takes none.
create or replace function parley.messages_after_image_added() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'INSERT' or parley.message_image(new) is distinct from parley.message_image(old) then
        perform parley.lock_image(i.name) from parley.chat_images i
        where i.name = parley.message_image(new) and i.chat_id = new.chat_id;
    end if;
    return null;
end $$;

create or replace function parley.messages_after_image_removed() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'DELETE' or parley.message_image(new) is distinct from parley.message_image(old) then
        insert into parley.image_cleanup (name)
        select i.name from parley.chat_images i
        where i.name = parley.message_image(old) and i.chat_id = old.chat_id;
    end if;
    return null;
end $$;
