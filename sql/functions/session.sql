-- Who a statement speaks for. Both settings are local to the transaction, so a pooled connection forgets them.
--
--   session.begin      takes a verified identity and makes it the user of this transaction
--   session.user_id    that user, or null: then no policy lets any row through
--   session.register   adds a first-seen user, and settings for them

-- `identity` has the claims of a verified session token: sub, and name, email, picture where known.
-- Who has settings is a user: one look-up tells both.
-- Used as `select api.… from session.begin($1)`: a function in FROM runs before the select list does.
create or replace function session.begin(identity jsonb) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    subject constant text := identity ->> 'sub';
begin
    if rules.problem('userId', subject) is not null or subject is null then
        perform parley.fail('PT401', 'Authentication required.');
    end if;
    perform set_config('parley.user_id', subject, true);
    if not exists (select from parley.settings s where s.user_id = subject) then
        perform session.register(subject, identity ->> 'name', identity ->> 'email', identity ->> 'picture');
    end if;
end $$;

create or replace function session.user_id() returns text
language sql stable parallel safe as $$ select nullif(current_setting('parley.user_id', true), '') $$;

-- Two identities with one e-mail address stay two users: the address belongs to the first. What is longer than an
-- address can be is none; it would not fit into the index either. Settings are the columns' defaults.
-- An image in our storage is of an account that was deleted, and gone or going.
create or replace function session.register(subject text, name text, email text, image text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    known_name constant text := case when not rules.is_blank(name) then left(name, upper(rules.length_limits('name')) - 1) end;
    known_image constant text := case when parley.image_name(image) is null then image end;
begin
    insert into next_auth.users (id, name, email, image)
    values (subject, known_name, case when not rules.is_blank(email) and char_length(email) <= 254 then email end,
        known_image)
    on conflict do nothing;
    insert into next_auth.users (id, name, image)
    values (subject, known_name, known_image)
    on conflict do nothing;
    insert into parley.settings (user_id) values (subject)
    on conflict do nothing;
end $$;
