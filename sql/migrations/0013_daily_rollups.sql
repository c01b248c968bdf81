-- depends: 0012_lineage
--
-- The counts as of the end of the previous day, which the views of single users and chats show until the present day ends.

-- Existing rows need no backfill. Those with a message of today have no row in the views until their next day is over.
alter table parley.rollup_users
    add column previous_message_on date,
    add column last_day_messages bigint;

alter table parley.rollup_chats
    add column previous_message_on date,
    add column last_day_messages bigint;

comment on column parley.rollup_users.previous_message_on is 'The day of the last message before last_message_on; null if there is none.';
comment on column parley.rollup_users.last_day_messages is 'How many of messages were sent on last_message_on. Null for a row that is older than the column.';
comment on column parley.rollup_chats.previous_message_on is 'The day of the last message before last_message_on; null if there is none.';
comment on column parley.rollup_chats.last_day_messages is 'How many of messages were sent on last_message_on. Null for a row that is older than the column.';
