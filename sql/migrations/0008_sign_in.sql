-- depends: 0007_outbox
--
-- Sign-in: a role for the web app, database sessions found by a digest of their token, and who was deleted.

do $$
begin
    if to_regrole('parley_web') is null then
        create role parley_web nologin;
    end if;
exception when duplicate_object or unique_violation then
    null;  -- made just now for another database
end $$;

-- What a token is looked up by, so that PostgreSQL's logs and statistics never have one. The token's bytes: a backslash
-- is doubled, because the cast reads escapes; convert_to() is not immutable.
-- Writes waited while it was made; later ones are made concurrently.
-- squawk-ignore require-concurrent-index-creation
create index sessions_token_digest on next_auth.sessions (sha256(replace("sessionToken", '\', '\\')::bytea));

create table parley.deleted_users (
    user_id text primary key,
    deleted_at timestamptz not null default now()
);

-- Those who were deleted before this, as far as their messages tell.
insert into parley.deleted_users (user_id)
select distinct m.user_id from parley.messages m
where not exists (select from next_auth.users u where u.id = m.user_id);

alter table parley.deleted_users enable row level security;

comment on index next_auth.sessions_token_digest is 'SHA-256 of the token: what the API looks a session up by.';
comment on table parley.deleted_users is 'Users who were deleted, whose session tokens may still be about: they don''t get in, and nobody else becomes them. An inserted row of next_auth.users lets one back in.';
comment on column parley.deleted_users.user_id is 'The id that they had.';
comment on column parley.deleted_users.deleted_at is 'When they were deleted, last.';
