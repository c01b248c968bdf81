-- Validation of query parameters that are numbers or times.
--
--   parley.number_error      the error of an integer, or null
--   parley.number_limits     the least and the greatest value of an integer
--   parley.timestamp_error   the error of an ISO 8601 date or time, or null

-- Declared stable because format() is: PostgreSQL does not inline a function that claims to be less volatile than its body.
create or replace function parley.number_error(kind text, value text) returns text
language sql stable parallel safe as $$
    select case when value !~ '^[0-9]{1,18}$'
            or value::bigint not between (parley.number_limits(kind))[1] and (parley.number_limits(kind))[2]
        then format('must be a whole number from %s to %s', variadic parley.number_limits(kind)) end
$$;

create or replace function parley.number_limits(kind text) returns bigint[]
language sql immutable parallel safe as $$
    select case kind when 'page' then '{1,1000000000}'::bigint[] when 'limit' then '{1,100}'
        when 'event_limit' then '{1,1000}' when 'member_limit' then '{1,1000}' when 'seq' then '{0,999999999999999999}' end
$$;

create or replace function parley.timestamp_error(value text) returns text
language sql immutable parallel safe as $$
    select case when value is not null and parley.parse_timestamp(value) is null
        then 'must be an ISO date or date-time, like 2026-11-23 or 2026-11-23T10:15:30.123Z' end
$$;
