-- depends: 0005_events
--
-- The responses to requests with an Idempotency-Key.

-- No foreign key to the user: inserting a row would wait for a concurrent deletion of the account.
create table parley.idempotency_keys (
    user_id text,
    key text,
    fingerprint bytea not null,
    response json not null,
    created_at timestamptz not null default now(),
    primary key (user_id, key)
);

create index idempotency_keys_time on parley.idempotency_keys (created_at);

alter table parley.idempotency_keys enable row level security;

comment on table parley.idempotency_keys is 'The responses to requests with an Idempotency-Key, kept for 24 hours: a retry gets the same one.';
comment on column parley.idempotency_keys.user_id is 'The user who sent the request.';
comment on column parley.idempotency_keys.key is 'The Idempotency-Key, unique for the user.';
comment on column parley.idempotency_keys.fingerprint is 'SHA-256 of the method, the path and the body, which must be the same in a retry.';
comment on column parley.idempotency_keys.response is 'The response, byte for byte; for Pusher''s authorization without the signature.';
comment on column parley.idempotency_keys.created_at is 'When the transaction of the first request began.';
