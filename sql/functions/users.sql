-- Users: finding them by id or by e-mail address.
--
--   api.list_users                 GET /api/users
--   parley.find_user               the id of the user with an id or an e-mail address, or null
--   parley.find_new_members        the users whom the entries of `members` name, and the errors of the entries
--   parley.user_reference_errors   the errors of a body that names a user by either userId or email
--
-- An e-mail address is compared as a whole and without regard to case. Addresses are stored in lower case, so an index finds them.

-- Volatile, so that it sees a user whom session.authenticate() has registered in the same statement.
create or replace function api.list_users(email text default null) returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    perform parley.assert_authenticated(session.user_id());
    perform parley.raise_invalid(jsonb_build_object(
        'email', case when email is null then 'is required' else rules.validation_error('email', email) end));
    return json_build_object('users', parley.users_json(array(
        select u.id from next_auth.users u where u.email = rules.lower_email(list_users.email))));
end $$;
comment on function api.list_users(text) is
    'Lists the user who has an e-mail address: {"users": [{"id", "name", "imageUrl"}]}, with one user at most. Case is ignored.';

-- `field` is userId or email. The user cannot be deleted before the transaction ends. Security definer: users can read only their
-- own row.
create or replace function parley.find_user(field text, value text) returns text
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    user_id text;
begin
    if field = 'email' then
        select u.id into user_id from next_auth.users u where u.email = rules.lower_email(value) for key share;
    else
        select u.id into user_id from next_auth.users u where u.id = value for key share;
    end if;
    return user_id;
end $$;

-- `members` is the field of a body: user ids, and objects with either userId or email. The errors name every entry that is invalid
-- or whose user is unknown. If the field itself is invalid, which parley.field_error() reports, there are neither.
create or replace function parley.find_new_members(members jsonb, out users text[], out errors jsonb)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    entry jsonb;
    index bigint;
    field text;
    error text;
    user_id text;
begin
    users := '{}';
    errors := '{}';
    if members is null or parley.field_error('members', members) is not null then
        return;
    end if;
    for entry, index in
        select case jsonb_typeof(e.value) when 'string' then jsonb_build_object('userId', e.value) else e.value end, e.position - 1
        from jsonb_array_elements(members) with ordinality e (value, position) order by e.position
    loop
        field := case when entry ? 'email' then 'email' else 'userId' end;
        error := case
            when case jsonb_typeof(entry) when 'object' then entry ? field and entry - field = '{}' end
                then parley.field_error(field, entry -> field)
            else 'must be a user id, or an object with either userId or email' end;
        if error is null then
            user_id := parley.find_user(field, entry ->> field);
            error := case when user_id is null then 'is not a known user' end;
            users := users || user_id;
        end if;
        errors := errors || jsonb_strip_nulls(jsonb_build_object(format('members[%s]', index), error));
    end loop;
end $$;

create or replace function parley.user_reference_errors(body jsonb) returns jsonb
language sql immutable parallel safe as $$
    select parley.field_errors(body, required => '{}', optional => '{userId,email}') || case
        when body ?& '{userId,email}' then
            '{"userId": "cannot be combined with email", "email": "cannot be combined with userId"}'::jsonb
        when not body ?| '{userId,email}' then
            '{"userId": "is required unless email is given", "email": "is required unless userId is given"}'
        else '{}' end
$$;
