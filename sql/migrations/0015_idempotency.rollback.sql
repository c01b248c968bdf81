-- What the migration made goes.
-- squawk-ignore-file ban-drop-function, ban-drop-table

drop function if exists session.begin_once, session.recall, session.remember;

drop table parley.first_answers;
