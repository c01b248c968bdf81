-- Say it once: a request that is repeated with its Idempotency-Key gets its first answer again, and changes nothing.
--
--   session.begin_once         as session.begin, and what the request was answered before, or null
--   session.recall             that answer, or null for a request that is the first with its key
--   session.remember           keeps the answer of such a one, in the transaction of what it changed
--   listener.remove_answers    removes those that are too old to be repeated
--   parley.lock_key            keeps repeats out until the first one's transaction is over
--   parley.key_of              the key in the header
--   parley.key_problem         what is wrong with the header, or null
--   parley.key_pattern         … as a regular expression
--   parley.key_life            for how long an answer is repeated
--
-- `header` is Idempotency-Key as it was sent, or null. Only what was done is remembered: a request that was refused may
-- be tried again with its key.

create or replace function session.begin_once(identity jsonb, request_id text, header text, fingerprint bytea)
returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform session.begin(identity, request_id);
    return case when header is not null then session.recall(header, fingerprint) end;
end $$;

-- Who gets the lock when the first one's transaction is over sees its answer. A plan that was made when there were few
-- would be kept.
create or replace function session.recall(header text, fingerprint bytea) returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    given constant text := parley.key_of(header);
    first parley.first_answers;
begin
    perform parley.reject(jsonb_build_object('Idempotency-Key', parley.key_problem(header)));
    perform parley.lock_key(given);
    select f.* into first from parley.first_answers f
    where f.user_id = session.user_id() and f.key = given and f.answered_at > now() - parley.key_life();
    if first.fingerprint <> recall.fingerprint then
        perform parley.fail('PT422', 'Another request was sent with this Idempotency-Key.');
    end if;
    return first.answer;
end $$;

-- What is there already is too old to be repeated.
create or replace function session.remember(header text, fingerprint bytea, answer json) returns json
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    if header is not null then
        insert into parley.first_answers (user_id, key, fingerprint, answer)
        values (session.user_id(), parley.key_of(header), remember.fingerprint, remember.answer)
        on conflict on constraint first_answers_pkey do update
        set fingerprint = excluded.fingerprint, answer = excluded.answer, answered_at = excluded.answered_at;
    end if;
    return answer;
end $$;

create or replace function listener.remove_answers(max_answers integer) returns integer
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    removed integer;
begin
    delete from parley.first_answers f
    where f.answered_at <= now() - parley.key_life() and f.ctid = any (array(
        select o.ctid from parley.first_answers o
        where o.answered_at <= now() - parley.key_life() order by o.answered_at limit max_answers));
    get diagnostics removed = row_count;
    return removed;
end $$;
comment on function listener.remove_answers(integer) is
    'Removes up to so many answers that are too old to be repeated, the oldest first; answers how many.';

create or replace function parley.lock_key(key text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if not pg_try_advisory_xact_lock(hashtextextended(session.user_id(), hashtextextended('parley.key ' || key, 0))) then
        perform parley.fail('PT409', 'The first request with this Idempotency-Key is still under way.',
            '{"retryAfter": 1}');
    end if;
end $$;

create or replace function parley.key_of(header text) returns text
language sql immutable parallel safe as $$ select coalesce(substring(header from '^"(.*)"$'), header) $$;

-- A structured field has its text in quotes, so what begins with one must end with one. A bound in a regular expression
-- would take longer than all else that is done for a key.
create or replace function parley.key_problem(header text) returns text
language sql immutable parallel safe as $$
    select case when length(parley.key_of(header)) > 255 or header !~ '^(?:"[!-~]+"|[!#-~][!-~]*)$'
        then 'must be given once, as 1 to 255 visible ASCII characters, in quotes or without' end
$$;

create or replace function parley.key_pattern() returns text
language sql immutable parallel safe as $$ select '^("[!-~]{1,255}"|[!#-~][!-~]{0,254})$' $$;

create or replace function parley.key_life() returns interval
language sql immutable parallel safe as $$ select interval '24 hours' $$;
