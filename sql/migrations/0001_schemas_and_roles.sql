-- Schemas, roles, and the bookkeeping of repeatable migrations.
--
-- Each schema has one audience; roles and grants are made for the whole of it. Nothing is granted to PUBLIC, now or later:
-- the default privileges are revoked before the first object exists.

do $$
begin
    if current_setting('server_encoding') <> 'UTF8' then
        raise exception 'Parley requires a database in UTF8; this one is in %', current_setting('server_encoding');
    end if;
end $$;

alter default privileges revoke execute on functions from public;
alter default privileges revoke usage on types from public;

-- Roles belong to the cluster, which may have several Parley databases: an existing role is kept. The owner needs CREATEROLE only
-- if one is missing, because PostgreSQL checks that privilege before the existence of the role.
do $$
declare
    role_name text;
begin
    foreach role_name in array array['parley_api', 'parley_listener', 'parley_web', 'parley_analyst'] loop
        continue when exists (select from pg_roles r where r.rolname = role_name);
        begin
            execute format('create role %I nologin', role_name);
        exception when duplicate_object or unique_violation then
            null;  -- A concurrent migration of another database has created it.
        end;
    end loop;
end $$;

create schema next_auth;
create schema rules;
create schema parley;
create schema session;
create schema api;
create schema listener;
create schema analytics;

comment on schema next_auth is 'Users and their sign-in, in the tables that @auth/pg-adapter reads and writes.';
comment on schema rules is 'Validation of values, and the words that search indexes. Table constraints and generated columns call these functions.';
comment on schema parley is 'Tables, and internal functions. Not an interface: clients call schema api.';
comment on schema session is 'The user of the current transaction, for functions and policies.';
comment on schema api is 'The functions that the API role may call: one per route, each of which returns finished JSON.';
comment on schema listener is 'The functions that the listener role may call.';
comment on schema analytics is 'Views for analysts, without message content, e-mail addresses or tokens.';

-- For the GIN index on (chat_id, tsv). An extension that already exists in another schema serves as well.
create extension if not exists btree_gin with schema parley;

-- Forward declarations of the functions that table constraints and generated columns call. Their bodies are in
-- sql/functions, which is loaded after the migrations. Until then no row can be inserted, so none is stored unvalidated.
create function rules.validation_error(field text, value text) returns text
language plpgsql immutable as $$
begin
    raise exception 'rules.validation_error() is only declared: run yoyo apply to the end';
end $$;

create function rules.uuid7_timestamp(id uuid) returns timestamptz
language plpgsql immutable as $$
begin
    raise exception 'rules.uuid7_timestamp() is only declared: run yoyo apply to the end';
end $$;

create table parley.repeatable_migrations (
    name text primary key,
    checksum text not null,
    applied_at timestamptz not null default clock_timestamp()
);

alter table parley.repeatable_migrations enable row level security;

comment on table parley.repeatable_migrations is 'The repeatable migrations (functions, views, triggers, policies, grants) that this database has. Delete the rows to have yoyo apply all of them again.';
comment on column parley.repeatable_migrations.name is 'A file or folder of sql/.';
comment on column parley.repeatable_migrations.checksum is 'SHA-256 of the applied text and of the list of applied migrations.';
comment on column parley.repeatable_migrations.applied_at is 'When it was applied last.';
