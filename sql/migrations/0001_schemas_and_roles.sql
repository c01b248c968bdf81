-- Schemas by audience, and the three roles that nobody logs in as.
--
-- We grant nothing to PUBLIC, now or later: the default privileges come before the first object.
-- Roles belong to the whole cluster and may serve several databases, so an existing one is kept.

do $$
begin
    if current_setting('server_encoding') <> 'UTF8' then
        raise exception 'Parley needs a database in UTF8, this one is in %', current_setting('server_encoding');
    end if;
end $$;

alter default privileges revoke execute on functions from public;
alter default privileges revoke usage on types from public;

do $$
declare
    role_name text;
begin
    foreach role_name in array array['parley_api', 'parley_listener', 'parley_analyst'] loop
        begin
            execute format('create role %I nologin', role_name);
        exception when duplicate_object or unique_violation then
            null;  -- there before, or made just now for another database
        end;
    end loop;
end $$;

create schema next_auth;
create schema rules;
create schema parley;
create schema session;
create schema api;
create schema analytics;

-- For the index on (chat_id, words). A DBA's own copy elsewhere serves as well.
create extension if not exists btree_gin with schema parley;

comment on schema next_auth is 'Users and their sign-in, in the tables that @auth/pg-adapter reads and writes.';
comment on schema rules is 'What a value may be: functions that constraints are made of. A change of one is a migration.';
comment on schema parley is 'The tables, and the functions that keep their rules. Not an interface: clients call schema api.';
comment on schema session is 'Who a statement speaks for: begin() says it, the rest answers it.';
comment on schema api is 'The functions that the API role may call, one a route, each answering finished JSON.';
comment on schema analytics is 'Views for analysts: no message content, no e-mail address, no token.';
