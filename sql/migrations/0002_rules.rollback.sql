-- What the migration made goes.
-- squawk-ignore-file ban-drop-function

drop function rules.uuid7_time;

drop function rules.searchable;

drop function rules.problem;

drop function rules.is_blank;

drop function rules.may_be_blank;

drop function rules.choices;

drop function rules.length_limits;
