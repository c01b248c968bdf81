-- What the migration made goes.
-- squawk-ignore-file ban-drop-function, ban-drop-table

drop function if exists session.authenticate_idempotent, session.find_response, session.store_response, listener.purge_idempotency_keys,
    parley.users_after_delete_keys cascade;

drop table parley.idempotency_keys;
