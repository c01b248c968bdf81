-- Say it once: a request that is repeated with its Idempotency-Key gets its first answer again, and changes nothing.
--
--   session.authenticate_idempotent         as session.authenticate, and what the request was answered before, or null
--   session.find_response             that answer, or null for a request that is the first with its key
--   session.store_response           keeps the answer of such a one, in the transaction of what it changed
--   listener.purge_idempotency_keys    removes those that are too old to be repeated
--   parley.lock_idempotency_key            keeps repeats out until the first one's transaction is over
--   parley.parse_idempotency_key              the key in the header
--   parley.idempotency_key_error         what is wrong with the header, or null
--   parley.idempotency_key_pattern         … as a regular expression
--   parley.idempotency_key_ttl            for how long an answer is repeated
--
-- `header` is Idempotency-Key as it was sent, or null. Only what was done is remembered: a request that was refused may
-- be tried again with its key.

create or replace function session.authenticate_idempotent(identity jsonb, request_id text, header text, fingerprint bytea)
returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform session.authenticate(identity, request_id);
    return case when header is not null then session.find_response(header, fingerprint) end;
end $$;

-- Who gets the lock when the first one's transaction is over sees its answer. A plan that was made when there were few
-- would be kept.
create or replace function session.find_response(header text, fingerprint bytea) returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    given constant text := parley.parse_idempotency_key(header);
    first parley.idempotency_keys;
begin
    perform parley.raise_invalid(jsonb_build_object('Idempotency-Key', parley.idempotency_key_error(header)));
    perform parley.lock_idempotency_key(given);
    select f.* into first from parley.idempotency_keys f
    where f.user_id = session.user_id() and f.key = given and f.created_at > now() - parley.idempotency_key_ttl();
    if first.fingerprint <> find_response.fingerprint then
        perform parley.raise_error('PT422', 'Another request was sent with this Idempotency-Key.');
    end if;
    return first.response;
end $$;

-- What is there already is too old to be repeated.
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

create or replace function listener.purge_idempotency_keys(max_answers integer) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    removed integer;
begin
    delete from parley.idempotency_keys f
    where f.created_at <= now() - parley.idempotency_key_ttl() and f.ctid = any (array(
        select o.ctid from parley.idempotency_keys o
        where o.created_at <= now() - parley.idempotency_key_ttl() order by o.created_at limit max_answers));
    get diagnostics removed = row_count;
    return removed;
end $$;
comment on function listener.purge_idempotency_keys(integer) is
    'Removes up to so many answers that are too old to be repeated, the oldest first; answers how many.';

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

-- A structured field has its text in quotes, so what begins with one must end with one. A bound in a regular expression
-- would take longer than all else that is done for a key.
create or replace function parley.idempotency_key_error(header text) returns text
language sql immutable parallel safe as $$
    select case when length(parley.parse_idempotency_key(header)) > 255 or header !~ '^(?:"[!-~]+"|[!#-~][!-~]*)$'
        then 'must be given once, as 1 to 255 visible ASCII characters, in quotes or without' end
$$;

create or replace function parley.idempotency_key_pattern() returns text
language sql immutable parallel safe as $$ select '^("[!-~]{1,255}"|[!#-~][!-~]{0,254})$' $$;

create or replace function parley.idempotency_key_ttl() returns interval
language sql immutable parallel safe as $$ select interval '24 hours' $$;
