-- All grants. The file revokes all privileges first, so that the grants below are complete.

revoke all on all tables in schema next_auth, parley, analytics from public, parley_api, parley_listener, parley_analyst, parley_web;
revoke all on all sequences in schema next_auth, parley, analytics from public, parley_api, parley_listener, parley_analyst, parley_web;
revoke all on all functions in schema rules, parley, session, api, listener, analytics from public, parley_api, parley_listener, parley_analyst, parley_web;
revoke all on schema next_auth, rules, parley, session, api, listener, analytics from public, parley_api, parley_listener, parley_analyst, parley_web;

-- The API calls the functions of schema api. These run with the privileges of the API's role, which therefore has the privileges
-- that they need. Policies restrict the rows, and writes are limited to the columns that a user may set.
grant usage on schema next_auth, rules, parley, session, api to parley_api;
grant execute on all functions in schema rules, session, api, parley to parley_api;

-- A role that may execute a trigger function could attach it to a table of its own. A trigger fires without that privilege.
do $$
declare
    trigger_function regprocedure;
begin
    for trigger_function in
        select oid from pg_proc where pronamespace = 'parley'::regnamespace and prorettype = 'trigger'::regtype
    loop
        execute format('revoke execute on function %s from parley_api', trigger_function);
    end loop;
end $$;

grant select on next_auth.users to parley_api;
grant select, insert (title), update (title), delete on parley.chats to parley_api;
grant select, insert (chat_id, user_id), delete on parley.members to parley_api;
grant select, insert (chat_id, type, content), update (type, content), delete on parley.messages to parley_api;
grant select on parley.read_markers to parley_api;
grant select, update (model, theme, context, runtime, response_style, always_show_code) on parley.settings to parley_api;

-- Only the tables' owner may call these: a DBA, or functions that run as the owner.
revoke execute on function parley.purge_inactive_chats, parley.begin_removal_of_inactive_chats, parley.purge_deleted_chats, parley.purge_memberships,
    parley.users_json, parley.set_owner
    from parley_api;

-- The listener has no privileges on tables: its functions run as the tables' owner.
grant usage on schema listener to parley_listener;
grant execute on all functions in schema listener to parley_listener;

-- The web app has the privileges that @auth/pg-adapter needs.
grant usage on schema next_auth to parley_web;
grant select, insert (id, name, email, "emailVerified", image), update (name, email, "emailVerified", image), delete
    on next_auth.users to parley_web;
grant select, insert, update, delete on next_auth.accounts, next_auth.sessions, next_auth.verification_token to parley_web;

grant usage on schema analytics to parley_analyst;
grant select on all tables in schema analytics to parley_analyst;

-- Every login could otherwise store large objects. Only a superuser may change this; elsewhere, `parley db check` remarks on it.
do $$
declare
    large_object_function regprocedure;
begin
    for large_object_function in
        select p.oid from pg_proc p
        where p.pronamespace = 'pg_catalog'::regnamespace and p.proname ~ '^(lo_.*|loread|lowrite)$'
          and has_function_privilege('public', p.oid, 'execute') and pg_has_role(p.proowner, 'usage')
    loop
        execute format('revoke execute on function %s from public', large_object_function);
    end loop;
end $$;
