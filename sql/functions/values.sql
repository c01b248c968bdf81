-- From text to values and back.
--
--   api.parse_json             a request's body
--   parley.validate_body            checks a body's fields
--   parley.field_errors      what is wrong with each field of an object
--   parley.field_error       what is wrong with one field, or null
--   parley.require_one_of      refuses an object that has none of some fields
--   parley.number_error      … with a whole number in a query
--   parley.number_limits       how large that may be
--   parley.timestamp_error     … with a date or date-time in a query
--   parley.parse_uuid          a UUID in its usual form, or null
--   parley.parse_timestamp       an ISO date or date-time, or null
--   parley.parse_end_date              the first instant after what an inclusive end date covers
--   parley.iso8601             an instant as answers have it
--   parley.now_ms              the clock, to the millisecond
--   parley.now_after           … and later than the instant of the last change, so that updatedAt tells of each

create or replace function api.parse_json(document bytea) returns jsonb
language plpgsql stable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    source json;
    keys bigint;
    is_plain boolean;
    problems jsonb;
begin
    source := convert_from(document, 'UTF8')::json;
    if json_typeof(source) <> 'object' then
        perform parley.raise_error('PT400', 'The body must be a JSON object.');
    end if;
    select count(*), count(*) = count(distinct e.key collate "C") and bool_and(json_typeof(e.value) <> 'object')
    into keys, is_plain from json_each(source) e;
    if keys > 100 then
        perform parley.raise_error('PT400', 'The body has too many fields.');
    elsif is_plain then
        return source::jsonb;
    end if;
    -- jsonb keeps the last of two equal keys, so they are looked for before; no body nests deeper than this
    select jsonb_object_agg(left(keys.key, 100), keys.problem) into problems from (
        select key, 'is given twice' from json_each(source) group by key having count(*) > 1
        union all
        select o.key, case when k.keys > 100 then 'has too many keys' else 'has a key twice' end
        from json_each(source) o, lateral (
            select count(*) as keys, count(distinct key) as distinct_keys from json_object_keys(
                case json_typeof(o.value) when 'object' then o.value else '{}' end) key) k
        where k.keys > 100 or k.keys > k.distinct_keys
    ) keys (key, problem);
    perform parley.raise_invalid(coalesce(problems, '{}'));
    return source::jsonb;
exception
    when untranslatable_character then
        perform parley.raise_error('PT400', 'The body has \u0000, which text may not have.');
    when data_exception or program_limit_exceeded then
        perform parley.raise_error('PT400', 'The body is not valid JSON in UTF-8.');
end $$;
comment on function api.parse_json(bytea) is
    'A request''s body as jsonb. Raises PT400 for what is no JSON object, no UTF-8, has a key twice or holds NUL.';

-- With nothing required, at least one field must be there.
create or replace function parley.validate_body(body jsonb, required text[], optional text[] default '{}') returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if jsonb_typeof(body) is distinct from 'object' then
        perform parley.raise_error('PT400', 'The body must be a JSON object.');
    end if;
    perform parley.raise_invalid(parley.field_errors(body, required, optional));
    perform parley.require_one_of(body, required || optional);
end $$;

-- Every problem at once. Nearly always there is none: no query is begun before one is found.
create or replace function parley.field_errors(body jsonb, required text[], optional text[]) returns jsonb
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    fields constant text[] := required || optional;
    problems jsonb := '{}';
    problem text;
    field text;
begin
    foreach field in array fields loop
        problem := case
            when body ? field then parley.field_error(field, body -> field)
            when field = any (required) then 'is required' end;
        if problem is not null then
            problems := problems || jsonb_build_object(field, problem);
        end if;
    end loop;
    if body - fields <> '{}' then
        problems := problems || (
            select jsonb_object_agg(left(key, 100), 'is not a known field') from jsonb_object_keys(body - fields) key);
    end if;
    return problems;
end $$;

create or replace function parley.field_error(field text, value jsonb) returns text
language sql immutable parallel safe as $$
    select case
        when field = 'settings' then case when jsonb_typeof(value) <> 'object' then 'must be an object' end
        when field = 'alwaysShowCode' then case when jsonb_typeof(value) <> 'boolean' then 'must be true or false' end
        when jsonb_typeof(value) <> 'string' then 'must be a string'
        else rules.validation_error(field, value #>> '{}')
    end
$$;

create or replace function parley.require_one_of(body jsonb, fields text[]) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if not body ?| fields then
        perform parley.raise_error('PT400', format('The body must have at least one of: %s.', array_to_string(fields, ', ')));
    end if;
end $$;

-- Not immutable, since format() is not: it would not become a part of what calls it.
create or replace function parley.number_error(field text, value text) returns text
language sql stable parallel safe as $$
    select case when value !~ '^[0-9]{1,18}$'
            or value::bigint not between (parley.number_limits(field))[1] and (parley.number_limits(field))[2]
        then format('must be a whole number from %s to %s', variadic parley.number_limits(field)) end
$$;

create or replace function parley.number_limits(field text) returns bigint[]
language sql immutable parallel safe as $$
    select case field when 'page' then '{1,1000000000}'::bigint[] when 'limit' then '{1,100}'
        when 'events' then '{1,1000}' when 'seq' then '{0,999999999999999999}' end
$$;

create or replace function parley.timestamp_error(value text) returns text
language sql immutable parallel safe as $$
    select case when value is not null and parley.parse_timestamp(value) is null
        then 'must be an ISO date or date-time, like 2026-11-23 or 2026-11-23T10:15:30.123Z' end
$$;

-- Three simple patterns are matched in a third of the time of one that counts.
create or replace function parley.parse_uuid(value text) returns uuid
language sql immutable parallel safe as $$
    select case when value like '________-____-____-____-____________' and value not like '%-%-%-%-%-%'
        and value !~ '[^0-9A-Fa-f-]' then value::uuid end
$$;

-- A date is its first instant, a time without an offset is UTC. Words like now and infinity are not ISO.
create or replace function parley.parse_timestamp(value text) returns timestamptz
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
begin
    if value ~* '^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d([.]\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)?)?$' then
        return regexp_replace(value, '([.]\d{6})\d+', '\1')::timestamptz;  -- cut, for PostgreSQL would round
    end if;
    return null;
exception when data_exception then
    return null;
end $$;

create or replace function parley.parse_end_date(value text) returns timestamptz
language sql immutable parallel safe as $$
    select case when length(value) = 10 then parley.parse_timestamp(value) + interval '24 hours'
        else date_trunc('milliseconds', parley.parse_timestamp(value)) + interval '1 millisecond' end
$$;

create or replace function parley.iso8601(instant timestamptz) returns text
language sql stable parallel safe as $$
    select to_char(instant at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

create or replace function parley.now_ms() returns timestamptz
language sql volatile parallel safe as $$ select date_trunc('milliseconds', clock_timestamp()) $$;

create or replace function parley.now_after(instant timestamptz) returns timestamptz
language sql volatile parallel safe as $$ select greatest(parley.now_ms(), instant + interval '1 millisecond') $$;
