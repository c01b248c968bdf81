-- What the migration made goes.
-- squawk-ignore-file ban-drop-table

drop table parley.reloaded_parts;
