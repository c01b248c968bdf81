-- Drops what the migration created.
-- squawk-ignore-file ban-drop-function, ban-drop-table

lock table parley.chats, parley.messages in access exclusive mode;

drop function public.record_message_length cascade;

drop table parley.message_lengths;
