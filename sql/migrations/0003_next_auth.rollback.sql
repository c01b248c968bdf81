-- What the migration made goes.
-- squawk-ignore-file ban-drop-table

drop table next_auth.verification_token;

drop table next_auth.sessions;

drop table next_auth.accounts;

drop table next_auth.users cascade;
