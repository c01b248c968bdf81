-- Preconditions by RFC 9110: conditional requests (If-None-Match on GET) and optimistic locking (If-Match on changes).
--
--   parley.check_preconditions    for a GET: sets the ETag, checks If-Match, returns whether the response is 304 Not Modified
--   parley.assert_preconditions   for a change: returns true, or raises "precondition failed"
--   parley.assert_if_match        raises "precondition failed" unless If-Match allows an entity tag
--   parley.set_response_etag      sets the response header ETag
--   parley.etag                   the entity tag of a version
--   parley.is_etag_listed         whether a header lists an entity tag
--
-- A version is a text without spaces that changes with the representation. Entity tags are strong, so If-Match matches no
-- weak tag. The headers are settings of the transaction: session.authenticate() sets request.if_match and
-- request.if_none_match, and the API sends what is in response.etag.

create or replace function parley.check_preconditions(version text) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    etag constant text := set_config('response.etag', parley.etag(version), true);
begin
    perform parley.assert_if_match(etag);
    return parley.is_etag_listed(etag, current_setting('request.if_none_match', true));
end $$;

-- Use it in the WHERE clause of the change: PostgreSQL evaluates it again for a row that a concurrent transaction has changed.
-- A resource without an entity tag has the version '': only `If-Match: *` allows changing it.
create or replace function parley.assert_preconditions(version text) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    etag constant text := parley.etag(version);
begin
    perform parley.assert_if_match(etag);
    if parley.is_etag_listed(etag, current_setting('request.if_none_match', true)) then
        perform parley.raise_error('PT412', 'It is what If-None-Match says it is not.');
    end if;
    return true;
end $$;

create or replace function parley.assert_if_match(etag text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    if_match constant text := current_setting('request.if_match', true);
begin
    if if_match <> '' and not parley.is_etag_listed(etag, replace(if_match, 'W/' || etag, 'W/""')) then
        perform parley.raise_error('PT412', 'It is not what If-Match says it is.');
    end if;
end $$;

create or replace function parley.set_response_etag(version text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('response.etag', parley.etag(version), true);
end $$;

-- Entity tags are specific to a user. Increment the number at the front when responses change their format or searches their
-- results: cached responses are then no longer current.
create or replace function parley.etag(version text) returns text
language sql stable parallel safe as $$
    select '"' || encode(substr(sha256(convert_to('3 ' || version || ' ' || session.user_id(), 'UTF8')), 1, 15), 'base64') || '"'
$$;

-- `header` is `*` or a list of entity tags; a malformed list matches nothing. The regular expression matches a list with a comma
-- appended. In a list a comma separates elements and our tags contain none, so that the tag in its quotes can only be an
-- element. strpos() is first because most headers do not contain the tag.
create or replace function parley.is_etag_listed(etag text, header text) returns boolean
language sql immutable parallel safe as $$
    select header = '*' or strpos(header, etag) > 0
        and header || ',' ~ '^(?:[ \t]*(?:(?:W/)?"[^\u0001- "\u007f]*")?[ \t]*,)*$'
$$;
