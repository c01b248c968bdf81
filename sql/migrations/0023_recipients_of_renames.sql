-- depends: 0022_removal_in_batches
--
-- The event of a rename no longer stores the chat's members: they are looked up when it is published, as are those of events
-- that were recorded before.

comment on column parley.outbox.recipients is 'The users who receive it on their own channels, or who were removed. Null for a rename, which is published to those who are members then, and for events of the chat''s channel only.';
