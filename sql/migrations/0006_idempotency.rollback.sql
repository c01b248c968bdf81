-- Drops what the migration created, with the functions that depend on it.
-- squawk-ignore-file ban-drop-table

drop table parley.idempotency_keys cascade;
