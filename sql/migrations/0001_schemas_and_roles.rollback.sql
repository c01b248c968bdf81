-- Drops everything but the roles, which other databases of the cluster may use.
-- squawk-ignore-file ban-drop-schema

drop schema analytics cascade;

drop schema listener cascade;

drop schema api cascade;

drop schema session cascade;

drop schema parley cascade;

drop schema rules cascade;

drop schema next_auth cascade;

alter default privileges grant usage on types to public;

alter default privileges grant execute on functions to public;
