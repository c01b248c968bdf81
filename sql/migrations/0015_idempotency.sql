-- depends: 0014_rules_read_once
--
-- What a POST with an Idempotency-Key was answered first.

-- The user is no foreign key: that would have who posts wait for who deletes the account, which waits for the chats.
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

comment on table parley.idempotency_keys is 'What requests with an Idempotency-Key were answered, for 24 hours: a repeat gets it again.';
comment on column parley.idempotency_keys.user_id is 'Who asked.';
comment on column parley.idempotency_keys.key is 'The Idempotency-Key, which is one of this user''s.';
comment on column parley.idempotency_keys.fingerprint is 'SHA-256 of the method, the path and the body: what is to be the same in a repeat.';
comment on column parley.idempotency_keys.response is 'The answer, byte for byte; of a request of Pusher''s clients without the signature.';
comment on column parley.idempotency_keys.created_at is 'When the first one''s transaction began.';
