-- Times: parsing, formatting, and the clock, to the millisecond.
--
--   parley.parse_timestamp   parses an ISO 8601 date or time; null for anything else
--   parley.parse_end_date    the first instant after an inclusive end date
--   parley.iso8601           formats an instant for responses
--   parley.now_ms            the current time
--   parley.next_updated_at   the current time, but later than the previous updatedAt

-- A date means midnight UTC, and a time without an offset is UTC. PostgreSQL's other inputs, such as now and infinity, are
-- rejected.
create or replace function parley.parse_timestamp(value text) returns timestamptz
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
begin
    if value ~* '^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d([.]\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)?)?$' then
        return regexp_replace(value, '([.]\d{6})\d+', '\1')::timestamptz;  -- truncates; PostgreSQL would round
    end if;
    return null;
exception when data_exception then
    return null;
end $$;

-- A date includes all of its day, and a time all of its millisecond.
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

-- Guarantees that updatedAt, and with it the entity tag, differs after each change.
create or replace function parley.next_updated_at(previous timestamptz) returns timestamptz
language sql volatile parallel safe as $$ select greatest(parley.now_ms(), previous + interval '1 millisecond') $$;
