-- What the migration made goes.
-- squawk-ignore-file ban-drop-function, ban-drop-table

-- What stays knows of no deleted user, until an older checkout's `yoyo apply` loads its own.
lock table next_auth.users, next_auth.accounts, next_auth.sessions, next_auth.verification_token, parley.deleted_users
    in access exclusive mode;

drop policy if exists users_web on next_auth.users;
drop policy if exists accounts_web on next_auth.accounts;
drop policy if exists sessions_web on next_auth.sessions;
drop policy if exists verification_token_web on next_auth.verification_token;

revoke all on all tables in schema next_auth from parley_web;
revoke all on schema next_auth from parley_web;

drop function if exists parley.users_after_delete cascade;

create or replace function session.is_deleted_user(subject text) returns boolean
language sql stable as $$ select false $$;

drop table parley.deleted_users;

-- With all else, in one transaction; a drop takes a moment.
-- squawk-ignore require-concurrent-index-deletion
drop index next_auth.sessions_token_digest;
