-- Settings of users: the API's functions, and the trigger of parley.settings.
--
--   api.get_settings                GET  /api/settings
--   api.update_settings             PUT  /api/settings
--   parley.find_settings            the user's settings
--   parley.settings_json            formats settings
--   parley.settings_before_update   trigger: sets updated_at

-- Volatile, so that it sees the settings of a user whom session.authenticate() has registered in the same statement.
create or replace function api.get_settings() returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    settings constant parley.settings := parley.find_settings();
begin
    perform parley.assert_authenticated(settings.user_id);
    if parley.check_preconditions(parley.iso8601(settings.updated_at)) then
        return null;
    end if;
    return json_build_object('settings', parley.settings_json(settings));
end $$;
comment on function api.get_settings() is
    'Returns the user''s settings: {"settings": {"model", "theme", "context", "runtime", "isPremium", "responseStyle", "alwaysShowCode", "updatedAt"}}, or null if If-None-Match lists their entity tag.';

-- isPremium and updatedAt are ignored, so that a client can send the settings back as it got them.
create or replace function api.update_settings(body jsonb) returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    fields constant text[] := '{model,theme,context,runtime,responseStyle,alwaysShowCode}';
    changes jsonb := body -> 'settings';
    settings parley.settings;
begin
    if jsonb_typeof(changes) = 'object' then
        changes := changes - '{isPremium,updatedAt}'::text[];
        perform parley.raise_invalid(
            parley.field_errors(body, required => '{settings}', optional => '{}')
            || parley.field_errors(changes, required => '{}', optional => fields));
    else
        perform parley.validate_body(body, required => '{settings}');
    end if;
    perform parley.assert_has_any(changes, fields);
    update parley.settings s set
        model = coalesce(changes ->> 'model', s.model),
        theme = coalesce(changes ->> 'theme', s.theme),
        context = coalesce(changes ->> 'context', s.context),
        runtime = coalesce(changes ->> 'runtime', s.runtime),
        response_style = coalesce(changes ->> 'responseStyle', s.response_style),
        always_show_code = coalesce((changes ->> 'alwaysShowCode')::boolean, s.always_show_code)
    where s.user_id = session.user_id() and parley.assert_preconditions(parley.iso8601(s.updated_at))
    returning * into settings;
    perform parley.assert_authenticated(settings.user_id);
    perform parley.set_response_etag(parley.iso8601(settings.updated_at));
    return json_build_object('settings', parley.settings_json(settings));
end $$;
comment on function api.update_settings(jsonb) is
    'Changes settings. Body: {"settings": {"model"?, "theme"?, "context"?, "runtime"?, "responseStyle"?, "alwaysShowCode"?}}, at least one; isPremium and updatedAt are ignored. Returns all settings. Raises PT412 if If-Match does not list their entity tag.';

-- Volatile, as api.get_settings() is.
create or replace function parley.find_settings() returns parley.settings
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    settings parley.settings;
begin
    select s.* into settings from parley.settings s where s.user_id = session.user_id();
    return settings;
end $$;

create or replace function parley.settings_json(settings parley.settings) returns json
language sql stable as $$
    select json_build_object(
        'model', settings.model,
        'theme', settings.theme,
        'context', settings.context,
        'runtime', settings.runtime,
        'isPremium', settings.is_premium,
        'responseStyle', settings.response_style,
        'alwaysShowCode', settings.always_show_code,
        'updatedAt', parley.iso8601(settings.updated_at))
$$;

create or replace function parley.settings_before_update() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    new.updated_at := parley.next_updated_at(old.updated_at);
    return new;
end $$;
