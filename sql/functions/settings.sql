-- Settings.
--
--   api.get_settings          GET  /api/settings
--   api.update_settings       PUT  /api/settings
--   parley.settings_json      settings as answers have them
--   parley.settings_before_update   trigger: updated_at

-- Volatile, to see the settings of a user whom the same statement has just registered.
create or replace function api.get_settings() returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    settings parley.settings;
begin
    select s.* into settings from parley.settings s where s.user_id = session.user_id();
    perform parley.require_user(settings.user_id);
    if parley.check_preconditions(parley.iso8601(settings.updated_at)) then
        return null;
    end if;
    return parley.settings_json(settings);
end $$;
comment on function api.get_settings() is
    'The user''s settings: {"settings": {"model", "theme", "context", "runtime", "isPremium", "responseStyle", "alwaysShowCode", "updatedAt"}}. Null if If-None-Match names their ETag.';

-- isPremium and updatedAt may be there, so that what was got can be put back, but are not the user's to change.
create or replace function api.update_settings(body jsonb) returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    fields constant text[] := '{model,theme,context,runtime,responseStyle,alwaysShowCode}';
    given jsonb := body -> 'settings';
    settings parley.settings;
begin
    if jsonb_typeof(given) = 'object' then
        given := given - '{isPremium,updatedAt}'::text[];
        perform parley.raise_invalid(
            parley.field_errors(body, required => '{settings}', optional => '{}')
            || parley.field_errors(given, required => '{}', optional => fields));
    else
        perform parley.validate_body(body, required => '{settings}');
    end if;
    perform parley.require_one_of(given, fields);
    update parley.settings s set
        model = coalesce(given ->> 'model', s.model),
        theme = coalesce(given ->> 'theme', s.theme),
        context = coalesce(given ->> 'context', s.context),
        runtime = coalesce(given ->> 'runtime', s.runtime),
        response_style = coalesce(given ->> 'responseStyle', s.response_style),
        always_show_code = coalesce((given ->> 'alwaysShowCode')::boolean, s.always_show_code)
    where s.user_id = session.user_id() and parley.assert_if_match(parley.iso8601(s.updated_at))
    returning * into settings;
    perform parley.require_user(settings.user_id);
    perform parley.set_response_etag(parley.iso8601(settings.updated_at));
    return parley.settings_json(settings);
end $$;
comment on function api.update_settings(jsonb) is
    'Changes settings. Body: {"settings": {"model"?, "theme"?, "context"?, "runtime"?, "responseStyle"?, "alwaysShowCode"?}}, at least one; isPremium and updatedAt are ignored. Answers all settings.';

create or replace function parley.settings_json(settings parley.settings) returns json
language sql stable as $$
    select json_build_object('settings', json_build_object(
        'model', settings.model,
        'theme', settings.theme,
        'context', settings.context,
        'runtime', settings.runtime,
        'isPremium', settings.is_premium,
        'responseStyle', settings.response_style,
        'alwaysShowCode', settings.always_show_code,
        'updatedAt', parley.iso8601(settings.updated_at)))
$$;

create or replace function parley.settings_before_update() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    new.updated_at := parley.now_after(old.updated_at);
    return new;
end $$;
