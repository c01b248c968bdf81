-- What the migration made goes.
-- squawk-ignore-file ban-drop-column, ban-drop-function, ban-drop-table

drop function if exists parley.users_before_update, parley.users_after_image_change, parley.settings_before_update cascade;

create or replace function rules.validation_error(field text, value text) returns text
language sql immutable parallel safe
return case
    when rules.allowed_values(field) is not null then
        case when value <> all (rules.allowed_values(field))
            then 'must be one of: ' || array_to_string(rules.allowed_values(field), ', ') end
    when not rules.length_limits(field) @> char_length(value) then
        format('must be %s to %s characters', lower(rules.length_limits(field)), upper(rules.length_limits(field)) - 1)
    when not rules.can_be_blank(field) and rules.is_blank(value) then 'must not be blank'
end;

drop function rules.is_email;

create or replace function rules.is_blank(value text) returns boolean
language sql immutable parallel safe
return btrim(left(value, 1), E' \t\n\r\f\v\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff') = ''
    and btrim(value, E' \t\n\r\f\v\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff') = '';

create or replace function rules.length_limits(field text) returns int4range
language sql immutable parallel safe
return case field
    when 'title' then int4range(1, 200, '[]')
    when 'name' then int4range(1, 100, '[]')
    when 'content' then int4range(1, 32768, '[]')
    when 'search' then int4range(0, 1000, '[]')
    when 'context' then int4range(0, 10000, '[]')
    when 'userId' then int4range(1, 255, '[]')
    else int4range(1, 100, '[]')
end;

drop table parley.image_cleanup cascade;

-- With all else, in one transaction; a drop takes a moment.
-- squawk-ignore require-concurrent-index-deletion
drop index next_auth.users_stored_image;

alter table next_auth.users drop column updated_at cascade;

comment on column next_auth.users.image is null;

comment on table parley.settings is 'What users chose; who has no row has the columns'' defaults.';

alter default privileges in schema rules revoke execute on functions from parley_api;
