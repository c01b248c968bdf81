-- Limits of the fields of bodies and queries, in JSON Schema: the source of those in the OpenAPI document.
--
--   api.get_field_schemas      the schemas of all fields
--   parley.not_blank_pattern   a regular expression for text that is not blank
--   parley.text_schema         the schema of a text field
--   parley.number_schema       the schema of an integer

create or replace function api.get_field_schemas() returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    defaults constant parley.page_request := parley.parse_page(null, null, null, null);
    not_blank constant text := parley.not_blank_pattern();
begin
    return (
        select jsonb_object_agg(t.field, parley.text_schema(t.field, not_blank))
        from unnest('{title,name,email,content,nonce,search,context,userId,model,runtime,type,theme,responseStyle,sort}'::text[])
            t (field)
    ) || jsonb_build_object(
        'notBlank', jsonb_build_object('minLength', 1, 'pattern', not_blank),
        'socket_id', jsonb_build_object('pattern', parley.socket_id_pattern()),
        'channel_name', jsonb_build_object('pattern', '^[^\u0000]+$'),
        'channel_name[]', jsonb_build_object('minItems', 1, 'maxItems', 100,
            'items', jsonb_build_object('type', 'string', 'pattern', '^[^\u0000]+$')),
        'Idempotency-Key', jsonb_build_object('pattern', parley.idempotency_key_pattern()),
        'seq', parley.number_schema('seq', null),
        'sync_limit', parley.number_schema('event_limit', null),
        'event_limit', parley.number_schema('event_limit', parley.parse_event_limit(null)),
        'member_limit', parley.number_schema('member_limit', (parley.parse_member_page(null, null, null, null)).size),
        'page', parley.number_schema('page', defaults.number),
        'limit', parley.number_schema('limit', defaults.size));
end $$;
comment on function api.get_field_schemas() is
    'Returns the JSON Schema of each field of a body or a query: {"title": {"minLength": 1, "maxLength": 200, "pattern"}, "limit": {"minimum", "maximum", "default"}, "theme": {"enum"}, …}.';

-- Derived from rules.is_blank(), character by character, as ranges. Text can't contain NUL either.
create or replace function parley.not_blank_pattern() returns text
language sql stable as $$
    select format('^[^\u0000]*[^\u0000%s][^\u0000]*$', string_agg(
        case when first < last then first_escape || '-' || last_escape else first_escape end, '' order by first))
    from (
        select min(c) as first, max(c) as last from (
            select c, c - row_number() over (order by c) as run
            from generate_series(1, 65535) c where c not between 55296 and 57343 and rules.is_blank(chr(c))) b
        group by run
    ) runs cross join lateral (
        select '\u' || lpad(to_hex(first), 4, '0') as first_escape, '\u' || lpad(to_hex(last), 4, '0') as last_escape) escapes
$$;

create or replace function parley.text_schema(field text, not_blank text) returns jsonb
language sql immutable parallel safe as $$
    select jsonb_strip_nulls(
        case when rules.allowed_values(field) is not null then jsonb_build_object('enum', rules.allowed_values(field))
        else jsonb_build_object(
            'minLength', lower(rules.length_limits(field)),
            'maxLength', upper(rules.length_limits(field)) - 1,
            'format', case field when 'email' then 'idn-email' end,
            'pattern', case when field = 'email' then null when rules.can_be_blank(field) then '^[^\u0000]*$' else not_blank end)
        end)
$$;

create or replace function parley.number_schema(kind text, default_value bigint) returns jsonb
language sql immutable parallel safe as $$
    select jsonb_strip_nulls(jsonb_build_object(
        'minimum', (parley.number_limits(kind))[1], 'maximum', (parley.number_limits(kind))[2], 'default', default_value))
$$;
