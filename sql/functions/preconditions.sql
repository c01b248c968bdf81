-- Never overwrite: which version an answer is, and what a request wants it to be.
--
--   parley.is_known          tells the answer's ETag, and whether it is one that the caller has: then there is no answer
--   parley.require_match     raises "precondition failed" unless the caller knows what is about to be changed
--   parley.tell_etag         tells the ETag of a version
--   parley.etag              that ETag: another for each user, and for each form that answers have had
--   parley.is_listed         whether a header names an ETag
--
-- If-Match compares strongly: one that is marked as weak is none of ours.

create or replace function parley.is_known(version text) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform parley.tell_etag(version);
    return parley.is_listed(parley.etag(version), replace(current_setting('parley.if_none_match', true), 'W/"', '"'));
end $$;

-- Called under a lock, just before the change. Without a version there is nothing but * that a caller could know.
create or replace function parley.require_match(version text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if current_setting('parley.if_match', true) <> ''
        and not parley.is_listed(parley.etag(version), current_setting('parley.if_match', true))
    then
        perform parley.fail('PT412', 'It is not what If-Match says it is.');
    end if;
end $$;

create or replace function parley.tell_etag(version text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('parley.etag', parley.etag(version), true);
end $$;

-- Raise the first number when an answer gets another form: whoever has the old one is then given the new.
create or replace function parley.etag(version text) returns text
language sql stable parallel safe as $$ select '"' || left(md5('1 ' || session.user_id() || ' ' || version), 22) || '"' $$;

create or replace function parley.is_listed(etag text, header text) returns boolean
language sql immutable parallel safe as $$
    select coalesce(header = '*' or etag = any (regexp_split_to_array(header, '\s*,\s*')), false)
$$;
