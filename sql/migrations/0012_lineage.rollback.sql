-- Drops what the migration created, with the trigger that depends on it.
-- squawk-ignore-file ban-drop-column, ban-drop-function

drop function if exists parley.chats_before_change cascade;

alter table parley.chats drop column gap_until, drop column gap_after, drop column lineage;
