-- Drops the views that show these columns; applying the repeatable migrations restores them.
-- squawk-ignore-file ban-drop-column, ban-drop-view

drop view if exists analytics.users, analytics.chats;

alter table parley.rollup_chats drop column last_day_messages, drop column previous_message_on;

alter table parley.rollup_users drop column last_day_messages, drop column previous_message_on;
