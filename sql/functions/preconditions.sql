-- Never overwrite: which version an answer is, and which one a request is about.
--
--   parley.check_preconditions          of what is asked for: tells its ETag, and whether the caller has that; then nothing is answered
--   parley.assert_if_match     of what is to change: true, or "precondition failed" is raised since it is not what is meant
--   parley.set_response_etag         tells the ETag of what it is now
--   parley.etag              the ETag of a version: another for each user, and for each form that answers have had
--   parley.is_etag_listed         whether a header, `*` or a list of entity tags by RFC 9110, has an ETag; a malformed one has none
--
-- A version is what changes with the answer to a GET, a text without spaces. ETags are strong, so If-Match takes none that
-- is marked as weak.

create or replace function parley.check_preconditions(version text) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    etag constant text := set_config('response.etag', parley.etag(version), true);
    wanted constant text := current_setting('request.if_match', true);
begin
    if wanted <> '' and not parley.is_etag_listed(etag, replace(wanted, 'W/' || etag, 'W/""')) then
        perform parley.raise_error('PT412', 'It is not what If-Match says it is.');
    end if;
    return parley.is_etag_listed(etag, current_setting('request.if_none_match', true));
end $$;

-- A change has this in its WHERE: there it is asked of the row that is changed, and who waited for another change of that is
-- asked again. '' is the version of what has none: nobody is told of it, so that no If-Match is right but *.
create or replace function parley.assert_if_match(version text) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if parley.check_preconditions(version) then
        perform parley.raise_error('PT412', 'It is what If-None-Match says it is not.');
    end if;
    return true;
end $$;

create or replace function parley.set_response_etag(version text) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('response.etag', parley.etag(version), true);
end $$;

-- Raise the number when answers get another form, or searches find something else: who has the old ones is then given the new.
create or replace function parley.etag(version text) returns text
language sql stable parallel safe as $$
    select '"' || encode(substr(sha256(convert_to('2 ' || version || ' ' || session.user_id(), 'UTF8')), 1, 15), 'base64') || '"'
$$;

-- The regular expression matches a list with a comma behind it. In a list a comma is between two elements, and an ETag has
-- none, so that the ETag with its quotes can only be an element. Most headers do not have it, and are not matched.
create or replace function parley.is_etag_listed(etag text, header text) returns boolean
language sql immutable parallel safe as $$
    select header = '*' or strpos(header, etag) > 0
        and header || ',' ~ '^(?:[ \t]*(?:(?:W/)?"[^\u0001- "\u007f]*")?[ \t]*,)*$'
$$;
