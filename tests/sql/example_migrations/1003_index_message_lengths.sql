-- depends: 1002_lengths_of_older_messages
-- transactional: false
--
-- Example of an index on a table that is in use. An interrupted `create index concurrently` leaves an invalid index, which
-- the next attempt drops first; `if not exists` would keep it.

drop index concurrently if exists parley.message_lengths_longest;

-- squawk-ignore prefer-robust-stmts
create index concurrently message_lengths_longest on parley.message_lengths (chat_id, characters);
