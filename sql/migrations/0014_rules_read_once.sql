-- depends: 0013_analytics
--
-- Two rules in PL/pgSQL, with the results that they had: PostgreSQL reads an SQL function anew for each plan that calls it,
-- and makes such a plan for constraints and generated columns at each insert. That was a fifth of what a message costs.

create or replace function rules.validation_error(field text, value text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    choices constant text[] := rules.allowed_values(field);
    limits int4range;
begin
    if choices is not null then
        return case when value <> all (choices) then 'must be one of: ' || array_to_string(choices, ', ') end;
    end if;
    limits := rules.length_limits(field);
    return case
        when not limits @> char_length(value) then
            format('must be %s to %s characters', lower(limits), upper(limits) - 1)
        when not rules.can_be_blank(field) and rules.is_blank(value) then 'must not be blank'
        when field = 'email' and not rules.is_email(value) then 'must be an e-mail address, like ada@example.org'
    end;
end $$;

-- Seconds and milliseconds apart, since an interval is multiplied in floating point.
create or replace function rules.uuid7_timestamp(id uuid) returns timestamptz
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    ms constant bigint := ('x' || left(translate(id::text, '-', ''), 12))::bit(48)::bigint;
begin
    return (timestamp 'epoch' + ms / 1000 * interval '1 second' + ms % 1000 * interval '1 millisecond') at time zone 'UTC';
end $$;
