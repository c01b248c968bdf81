-- Drops what the migration created, with the functions, policies and triggers that depend on it.
-- squawk-ignore-file ban-drop-table, ban-drop-type

drop type parley.page_request, parley.message_filter cascade;

drop table parley.limits cascade;

drop table parley.message_blocks cascade;

drop table parley.messages cascade;

drop table parley.members cascade;

drop table parley.chats cascade;
