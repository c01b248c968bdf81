-- depends: 0021_addresses_of_older_users
--
-- Memberships of a deleted user are removed in batches: until the last one is, the user is marked.

alter table parley.deleted_users add column is_being_removed boolean not null default false;

-- Only deletions of users wait, while few rows are read.
-- squawk-ignore require-concurrent-index-creation
create index deleted_users_being_removed on parley.deleted_users (user_id) where is_being_removed;

comment on column parley.deleted_users.is_being_removed is 'Whether the user has memberships, or owns chats, that are being removed in the background.';
comment on index parley.deleted_users_being_removed is 'Deleted users whose memberships are being removed.';
comment on column parley.chats.owner_id is 'Who may rename and delete the chat and manage its members; null when that account was deleted. No foreign key: an account that owns many chats is removed from them in the background.';
comment on table parley.members is 'Who is in which chat, the owner included. user_id has no foreign key: an account that is in many chats is removed from them in the background; a trigger requires that a new member is a user.';
