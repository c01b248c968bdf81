-- depends: 0001_schemas_and_roles
--
-- What a value may be, said once: table constraints and the API's validation call the same functions.
-- Constraints depend on them, so they are state, and a change of a rule is a migration.
--
--   rules.length_limits      how long a text may be
--   rules.allowed_values            which words a text may be
--   rules.can_be_blank       which texts may be empty or only white space
--   rules.is_blank           whether a text is
--   rules.validation_error            what is wrong with a value, or null
--   rules.searchable         a text with the words in it apart, as search sees it
--   rules.uuid7_timestamp         the instant in a UUIDv7

create function rules.length_limits(field text) returns int4range
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

create function rules.allowed_values(field text) returns text[]
language sql immutable parallel safe
return case field
    when 'type' then array['text', 'code', 'image']
    when 'theme' then array['light', 'dark', 'system']
    when 'responseStyle' then array['concise', 'detailed']
end;

create function rules.can_be_blank(field text) returns boolean
language sql immutable parallel safe
return field in ('context', 'search');

-- The first character decides nearly always; the whole text is looked at only when that is blank.
-- The list is Unicode's White_Space and the zero-width ones, so that the answer is the same in every locale.
create function rules.is_blank(value text) returns boolean
language sql immutable parallel safe
return btrim(left(value, 1), E' \t\n\r\f\v\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff') = ''
    and btrim(value, E' \t\n\r\f\v\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff') = '';

create function rules.validation_error(field text, value text) returns text
language sql immutable parallel safe
return case
    when rules.allowed_values(field) is not null then
        case when value <> all (rules.allowed_values(field))
            then 'must be one of: ' || array_to_string(rules.allowed_values(field), ', ') end
    when not rules.length_limits(field) @> char_length(value) then
        format('must be %s to %s characters', lower(rules.length_limits(field)), upper(rules.length_limits(field)) - 1)
    when not rules.can_be_blank(field) and rules.is_blank(value) then 'must not be blank'
end;

-- PostgreSQL's parser tries these characters as parts of tags, addresses, paths and compounds, again at each place: a
-- text full of them would take seconds. Apart, they also let `get` find get_name.
create function rules.searchable(value text) returns text
language sql immutable parallel safe
return translate(value, '_<@:/.', '      ');

-- Seconds and milliseconds apart, since an interval is multiplied in floating point.
create function rules.uuid7_timestamp(id uuid) returns timestamptz
language sql immutable strict parallel safe
return (timestamp 'epoch'
    + ('x' || left(translate(id::text, '-', ''), 12))::bit(48)::bigint / 1000 * interval '1 second'
    + ('x' || left(translate(id::text, '-', ''), 12))::bit(48)::bigint % 1000 * interval '1 millisecond') at time zone 'UTC';
