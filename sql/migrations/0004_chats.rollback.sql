-- What the migration made goes.
-- squawk-ignore-file ban-drop-table

drop table parley.settings cascade;

drop table parley.messages cascade;

drop table parley.members cascade;

drop table parley.chats cascade;
