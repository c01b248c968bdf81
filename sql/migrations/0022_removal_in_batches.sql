-- depends: 0021_addresses_of_older_users
--
-- Mark deleted users whose memberships are still being removed in batches.

alter table parley.deleted_users add column is_being_removed boolean not null default false;

-- Creating the index blocks only deletions of users, and reads few rows.
-- squawk-ignore require-concurrent-index-creation
create index deleted_users_being_removed on parley.deleted_users (user_id) where is_being_removed;

comment on column parley.deleted_users.is_being_removed is 'Whether the user has memberships, or owns chats, that are being removed in the background.';
comment on index parley.deleted_users_being_removed is 'Deleted users whose memberships are being removed.';
comment on column parley.chats.owner_id is 'Who may rename and delete the chat and manage its members; null when that account was deleted. No foreign key: an account that owns many chats is removed from them in the background.';
comment on table parley.members is 'Who is in which chat, the owner included. user_id has no foreign key: an account that is in many chats is removed from them in the background; a trigger requires that a new member is a user.';
