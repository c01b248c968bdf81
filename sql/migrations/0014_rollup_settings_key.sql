-- depends: 0013_daily_rollups
--
-- A primary key for parley.rollup_settings, whose value can be null. Logical replication requires one for deletions.

-- The table has a few dozen rows, and only the listener writes to it, each hour.
-- squawk-ignore adding-field-with-default, adding-serial-primary-key-field
alter table parley.rollup_settings add column id bigint generated always as identity primary key;

comment on column parley.rollup_settings.id is 'A number without a meaning. (setting, value) is unique too.';
