-- Idempotency keys: a POST that is repeated with its Idempotency-Key gets the stored response, and has no further effect.
--
--   session.authenticate_idempotent   authenticates, and returns the stored response of an earlier request, or null
--   session.find_response             the stored response for a key, or null for the first request with it
--   session.store_response            stores the response of the first request, in the transaction of its changes
--   parley.lock_idempotency_key       raises "conflict" while the first request is in progress
--   parley.parse_idempotency_key      the key in the header
--   parley.idempotency_key_error      the error of a header, or null
--   parley.idempotency_key_pattern    a valid header as a regular expression, for the OpenAPI document
--   parley.idempotency_key_ttl        how long a response is stored
--   listener.purge_idempotency_keys   removes expired responses
--
-- `header` is the value of Idempotency-Key as sent, or null. Only successful requests are stored: after an error the client
-- may retry with the same key. `fingerprint` identifies the request: SHA-256 of its method, path and body.

create or replace function session.authenticate_idempotent(identity jsonb, request_id text, header text, fingerprint bytea)
returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform session.authenticate(identity, request_id);
    return case when header is not null then session.find_response(header, fingerprint) end;
end $$;

-- The advisory lock is released at the end of the first request's transaction, so a transaction that acquires it sees the
-- response. Sequential scans are disabled because a cached plan may date from when there were few keys.
create or replace function session.find_response(header text, fingerprint bytea) returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    parsed_key constant text := parley.parse_idempotency_key(header);
    stored parley.idempotency_keys;
begin
    perform parley.raise_invalid(jsonb_build_object('Idempotency-Key', parley.idempotency_key_error(header)));
    perform parley.lock_idempotency_key(parsed_key);
    select k.* into stored from parley.idempotency_keys k
    where k.user_id = session.user_id() and k.key = parsed_key and k.created_at > now() - parley.idempotency_key_ttl();
    if stored.fingerprint <> find_response.fingerprint then
        perform parley.raise_error('PT422', 'Another request was sent with this Idempotency-Key.');
    end if;
    return stored.response;
end $$;

-- A conflicting row has expired, so it is overwritten.
create or replace function session.store_response(header text, fingerprint bytea, response json) returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    if header is not null then
        insert into parley.idempotency_keys (user_id, key, fingerprint, response)
        values (session.user_id(), parley.parse_idempotency_key(header), store_response.fingerprint, store_response.response)
        on conflict on constraint idempotency_keys_pkey do update
        set fingerprint = excluded.fingerprint, response = excluded.response, created_at = excluded.created_at;
    end if;
    return response;
end $$;

create or replace function parley.lock_idempotency_key(key text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if not pg_try_advisory_xact_lock(hashtextextended(session.user_id(), hashtextextended('parley.key ' || key, 0))) then
        perform parley.raise_error('PT409', 'The first request with this Idempotency-Key is still under way.',
            '{"retryAfter": 1}');
    end if;
end $$;

create or replace function parley.parse_idempotency_key(header text) returns text
language sql immutable parallel safe as $$ select coalesce(substring(header from '^"(.*)"$'), header) $$;

-- The header is a structured field (RFC 8941) of the type String, which is quoted. Clients also send the bare key. The length is compared separately, because a bound in
-- the regular expression would take longer than everything else that is done for a key.
create or replace function parley.idempotency_key_error(header text) returns text
language sql immutable parallel safe as $$
    select case when length(parley.parse_idempotency_key(header)) > 255 or header !~ '^(?:"[!-~]+"|[!#-~][!-~]*)$'
        then 'must be given once, as 1 to 255 visible ASCII characters, in quotes or without' end
$$;

create or replace function parley.idempotency_key_pattern() returns text
language sql immutable parallel safe as $$ select '^("[!-~]{1,255}"|[!#-~][!-~]{0,254})$' $$;

create or replace function parley.idempotency_key_ttl() returns interval
language sql immutable parallel safe as $$ select interval '24 hours' $$;

create or replace function listener.purge_idempotency_keys(max_keys integer) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    removed integer;
begin
    delete from parley.idempotency_keys k
    where k.created_at <= now() - parley.idempotency_key_ttl() and k.ctid = any (array(
        select o.ctid from parley.idempotency_keys o
        where o.created_at <= now() - parley.idempotency_key_ttl() order by o.created_at limit max_keys));
    get diagnostics removed = row_count;
    return removed;
end $$;
comment on function listener.purge_idempotency_keys(integer) is
    'Removes up to max_keys expired idempotency keys with their responses, the oldest first. Returns how many.';
