-- depends: 0004_chats
--
-- Which text of each reloaded part (functions, views, triggers, policies, grants) this database has: see reload.py.

create table parley.reloaded_parts (
    part text primary key,
    digest text not null,
    loaded_at timestamptz not null default clock_timestamp()
);

alter table parley.reloaded_parts enable row level security;

comment on table parley.reloaded_parts is 'The part of sql/ and the SHA-256 of what was loaded, with the migrations it was loaded on.';
