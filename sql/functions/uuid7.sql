-- UUIDv7 (RFC 9562): ids that begin with the time in milliseconds.
--
--   rules.uuid7_timestamp   the time in an id
--   parley.generate_uuid7   a new id for a time and a number
--   parley.min_uuid7        the lowest id of a time
--   parley.parse_uuid       parses a UUID in its canonical form; null for anything else
--
-- To change: created_at of chats and messages stores the results of rules.uuid7_timestamp(), so its results must never change.

-- In PL/pgSQL, since a generated column calls it: PostgreSQL parses and plans an SQL function again at each insert. Seconds and
-- milliseconds are separate, because an interval is multiplied in floating point.
create or replace function rules.uuid7_timestamp(id uuid) returns timestamptz
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    ms constant bigint := ('x' || left(translate(id::text, '-', ''), 12))::bit(48)::bigint;
begin
    return (timestamp 'epoch' + ms / 1000 * interval '1 second' + ms % 1000 * interval '1 millisecond') at time zone 'UTC';
end $$;

-- 48 bits of milliseconds, 26 bits of `number` where UUIDv7 has room for a counter, 48 random bits: if the number rises, so
-- do the ids of one millisecond.
create or replace function parley.generate_uuid7(instant timestamptz, number bigint) returns uuid
language sql volatile parallel safe as $$
    select (lpad(to_hex((extract(epoch from instant) * 1000)::bigint), 12, '0')
        || to_hex(x'7000'::int | (number >> 14 & 4095)::int)
        || to_hex(x'8000'::int | (number & 16383)::int)
        || right(gen_random_uuid()::text, 12))::uuid
$$;

create or replace function parley.min_uuid7(instant timestamptz) returns uuid
language sql immutable parallel safe as $$
    select (lpad(to_hex(greatest(ceil(extract(epoch from instant) * 1000), 0)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- Three simple patterns take a third of the time of one regular expression with counts.
create or replace function parley.parse_uuid(value text) returns uuid
language sql immutable parallel safe as $$
    select case when value like '________-____-____-____-____________' and value not like '%-%-%-%-%-%'
        and value !~ '[^0-9A-Fa-f-]' then value::uuid end
$$;
