-- What the migration made goes.
-- squawk-ignore-file ban-drop-function, ban-drop-table

drop function if exists session.begin_once, session.recall, session.remember, listener.remove_answers,
    parley.users_answers_gone cascade;

drop table parley.first_answers;
