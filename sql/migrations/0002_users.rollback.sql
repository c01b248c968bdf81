-- Drops what the migration created, with the functions, policies and triggers that depend on it.
-- squawk-ignore-file ban-drop-table

drop table parley.image_cleanup cascade;

drop table parley.deleted_users cascade;

drop table parley.settings cascade;

drop table next_auth.verification_token cascade;

drop table next_auth.sessions cascade;

drop table next_auth.accounts cascade;

drop table next_auth.users cascade;
