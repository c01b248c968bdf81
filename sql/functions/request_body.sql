-- JSON bodies of requests: parsing, and validation of their fields.
--
--   api.parse_json            parses a body
--   parley.nested_objects     the objects in an object's fields, with their names
--   parley.validate_body      raises a validation error that lists the invalid fields of a body
--   parley.assert_is_object   raises a validation error for a body that is not an object
--   parley.field_errors       the errors of an object's fields, by name
--   parley.field_error        the error of one field, or null
--   parley.assert_has_any     raises a validation error for an object that has none of some fields
--
-- validation.sql has the rules for the values of fields.

create or replace function api.parse_json(document bytea) returns jsonb
language plpgsql stable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    source json;
    keys bigint;
    is_plain boolean;
    errors jsonb;
begin
    source := convert_from(document, 'UTF8')::json;
    if json_typeof(source) <> 'object' then
        perform parley.raise_error('PT400', 'The body must be a JSON object.');
    end if;
    select count(*), count(*) = count(distinct e.key collate "C") and bool_and(case json_typeof(e.value)
        when 'object' then false when 'array' then strpos(e.value::text, '{') = 0 else true end)
    into keys, is_plain from json_each(source) e;
    if keys > 100 then
        perform parley.raise_error('PT400', 'The body has too many fields.');
    elsif is_plain then
        return source::jsonb;
    end if;
    -- jsonb keeps only the last of duplicate keys, so they are detected in the json.
    select jsonb_object_agg(left(d.key, 100), d.error) into errors from (
        select key, 'is given twice' from json_each(source) group by key having count(*) > 1
        union all
        select o.name, case when k.keys > 100 then 'has too many keys' else 'has a key twice' end
        from parley.nested_objects(source) o cross join lateral (
            select count(*) as keys, count(distinct key) as distinct_keys from json_object_keys(o.object) key) k
        where k.keys > 100 or k.keys > k.distinct_keys
    ) d (key, error);
    perform parley.raise_invalid(coalesce(errors, '{}'));
    return source::jsonb;
exception
    when untranslatable_character then
        perform parley.raise_error('PT400', 'The body has \u0000, which text may not have.');
    when data_exception or program_limit_exceeded then
        perform parley.raise_error('PT400', 'The body is not valid JSON in UTF-8.');
end $$;
comment on function api.parse_json(bytea) is
    'Parses the body of a request into jsonb. Raises PT400 unless it is a JSON object in UTF-8 without duplicate keys and without \u0000.';

-- Returns the objects in the fields of an object, or in arrays there. No valid body nests deeper, or has an array of more than 100.
create or replace function parley.nested_objects(source json) returns table (name text, object json)
language sql stable as $$
    select e.key, e.value from json_each(source) e where json_typeof(e.value) = 'object'
    union all
    select format('%s[%s]', e.key, i.position - 1), i.value
    from json_each(source) e cross join lateral json_array_elements(
        case when case json_typeof(e.value) when 'array' then json_array_length(e.value) end <= 100 then e.value else '[]' end)
        with ordinality i (value, position)
    where json_typeof(i.value) = 'object'
$$;

-- Without required fields, the body must have at least one optional field.
create or replace function parley.validate_body(body jsonb, required text[], optional text[] default '{}') returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.assert_is_object(body);
    perform parley.raise_invalid(parley.field_errors(body, required, optional));
    perform parley.assert_has_any(body, required || optional);
end $$;

create or replace function parley.assert_is_object(body jsonb) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if jsonb_typeof(body) is distinct from 'object' then
        perform parley.raise_error('PT400', 'The body must be a JSON object.');
    end if;
end $$;

-- Lists every error. Most bodies have none, so the loop avoids queries, which cost more than expressions.
create or replace function parley.field_errors(body jsonb, required text[], optional text[]) returns jsonb
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    fields constant text[] := required || optional;
    errors jsonb := '{}';
    error text;
    field text;
begin
    foreach field in array fields loop
        error := case
            when body ? field then parley.field_error(field, body -> field)
            when field = any (required) then 'is required' end;
        if error is not null then
            errors := errors || jsonb_build_object(field, error);
        end if;
    end loop;
    if body - fields <> '{}' then
        errors := errors || (
            select jsonb_object_agg(left(key, 100), 'is not a known field') from jsonb_object_keys(body - fields) key);
    end if;
    return errors;
end $$;

create or replace function parley.field_error(field text, value jsonb) returns text
language sql immutable parallel safe as $$
    select case
        when field = 'settings' then case when jsonb_typeof(value) <> 'object' then 'must be an object' end
        when field = 'messageId' then case when parley.parse_uuid(value #>> '{}') is null then 'must be an id' end
        when field = 'members' then case when jsonb_typeof(value) <> 'array' then 'must be an array'
            when jsonb_array_length(value) > 100 then 'must have at most 100 entries' end
        when field = 'alwaysShowCode' then case when jsonb_typeof(value) <> 'boolean' then 'must be true or false' end
        when jsonb_typeof(value) <> 'string' then 'must be a string'
        else rules.validation_error(field, value #>> '{}')
    end
$$;

create or replace function parley.assert_has_any(body jsonb, fields text[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if not body ?| fields then
        perform parley.raise_error('PT400', format('The body must have at least one of: %s.', array_to_string(fields, ', ')));
    end if;
end $$;
