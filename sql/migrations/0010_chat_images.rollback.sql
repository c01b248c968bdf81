-- The images remain in storage.
-- squawk-ignore-file ban-drop-table

drop table parley.chat_images cascade;
