create or replace function rules.validation_error(field text, value text) returns text
language sql immutable parallel safe
return case
    when rules.allowed_values(field) is not null then
        case when value <> all (rules.allowed_values(field))
            then 'must be one of: ' || array_to_string(rules.allowed_values(field), ', ') end
    when not rules.length_limits(field) @> char_length(value) then
        format('must be %s to %s characters', lower(rules.length_limits(field)), upper(rules.length_limits(field)) - 1)
    when not rules.can_be_blank(field) and rules.is_blank(value) then 'must not be blank'
    when field = 'email' and not rules.is_email(value) then 'must be an e-mail address, like ada@example.org'
end;

create or replace function rules.uuid7_timestamp(id uuid) returns timestamptz
language sql immutable strict parallel safe
return (timestamp 'epoch'
    + ('x' || left(translate(id::text, '-', ''), 12))::bit(48)::bigint / 1000 * interval '1 second'
    + ('x' || left(translate(id::text, '-', ''), 12))::bit(48)::bigint % 1000 * interval '1 millisecond') at time zone 'UTC';
