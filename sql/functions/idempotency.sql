-- Say it once: a request that is repeated with its Idempotency-Key gets its first answer again, and changes nothing.
--
--   session.begin_once       as session.begin, and what the request was answered before, if it was
--   session.recall           that answer, or null for a request that is the first with its key
--   session.remember         keeps the answer of such a one, in the transaction of what it changed
--   parley.lock_key          keeps repeats out until the first one's transaction is over
--   parley.key_problem       what is wrong with a key, or null
--   parley.key_pattern       what it must match
--
-- Only what was done is remembered: a request that was refused may be tried again with its key.

create or replace function session.begin_once(
    identity jsonb, request_id text, key text, fingerprint bytea, out answer json, out is_repeated boolean)
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform session.begin(identity, request_id), set_config('parley.idempotency_key', '', true);
    if key is not null then
        answer := session.recall(key, fingerprint);
    end if;
    is_repeated := answer is not null;
end $$;

-- A structured field has its text in quotes. Who gets the lock when the first one's transaction is over sees its answer.
create or replace function session.recall(key text, fingerprint bytea) returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    given constant text := coalesce(substring(key from '^"(.*)"$'), key);
    first parley.first_answers;
begin
    perform parley.reject(jsonb_build_object('Idempotency-Key', parley.key_problem(given)));
    perform parley.lock_key(given);
    select f.* into first from parley.first_answers f
    where f.user_id = session.user_id() and f.key = given and f.answered_at > now() - interval '24 hours';
    if not found then
        perform set_config('parley.idempotency_key', given, true),
            set_config('parley.fingerprint', encode(fingerprint, 'hex'), true);
    elsif first.fingerprint <> fingerprint then
        perform parley.fail('PT422', 'Another request was sent with this Idempotency-Key.',
            '{"fields": {"Idempotency-Key": "is of another request"}}');
    end if;
    return first.answer;
end $$;

create or replace function session.remember(answer json) returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    if current_setting('parley.idempotency_key') <> '' then
        insert into parley.first_answers as f (user_id, key, fingerprint, answer)
        values (session.user_id(), current_setting('parley.idempotency_key'),
            decode(current_setting('parley.fingerprint'), 'hex'), answer)
        on conflict (user_id, key) do update
        set fingerprint = excluded.fingerprint, answer = excluded.answer, answered_at = excluded.answered_at;
    end if;
    return answer;
end $$;

create or replace function parley.lock_key(key text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if not pg_try_advisory_xact_lock(hashtextextended(session.user_id(), hashtextextended('parley.key ' || key, 0))) then
        perform parley.fail('PT409', 'The first request with this Idempotency-Key is still under way.',
            '{"fields": {"Idempotency-Key": "is of a request under way"}}');
    end if;
end $$;

create or replace function parley.key_problem(key text) returns text
language sql immutable parallel safe as $$
    select case when key !~ parley.key_pattern() then 'must be 1 to 255 visible ASCII characters' end
$$;

create or replace function parley.key_pattern() returns text
language sql immutable parallel safe as $$ select '^[\x21-\x7e]{1,255}$' $$;
