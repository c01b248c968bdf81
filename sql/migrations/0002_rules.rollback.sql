-- What the migration made goes.
-- squawk-ignore-file ban-drop-function

drop function rules.uuid7_timestamp;

drop function rules.searchable;

drop function rules.validation_error;

drop function rules.is_blank;

drop function rules.can_be_blank;

drop function rules.allowed_values;

drop function rules.length_limits;
