-- Which values are valid: table constraints and the API's validation call the same functions.
--
--   rules.validation_error   the error of a field's value, or null
--   rules.length_limits      how many characters a field may have
--   rules.allowed_values     the values of a field that has a fixed set of them
--   rules.can_be_blank       whether a field may be empty or white space only
--   rules.is_blank           whether a text is empty or white space only
--   rules.is_email           whether a text is an e-mail address
--   rules.lower_email        an e-mail address in lower case
--   rules.is_image_url       whether a text is the URL of an image
--
-- Functions that constraints call are in PL/pgSQL: PostgreSQL parses and plans an SQL function again at each insert.
--
-- To change: PostgreSQL does not check existing rows again when a function changes. To allow more, edit the function. To
-- allow less, also correct the rows that would be invalid, in a migration of the same release, which runs first: otherwise
-- each update of such a row fails, and so does restoring a dump.

create or replace function rules.validation_error(field text, value text) returns text
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    choices constant text[] := rules.allowed_values(field);
    limits int4range;
begin
    if choices is not null then
        return case when value <> all (choices) then 'must be one of: ' || array_to_string(choices, ', ') end;
    end if;
    limits := rules.length_limits(field);
    return case
        when not limits @> char_length(value) then
            format('must be %s to %s characters', lower(limits), upper(limits) - 1)
        when not rules.can_be_blank(field) and rules.is_blank(value) then 'must not be blank'
        when field = 'email' and not rules.is_email(value) then 'must be an e-mail address, like ada@example.org'
    end;
end $$;

create or replace function rules.length_limits(field text) returns int4range
language sql immutable parallel safe
return case field
    when 'title' then int4range(1, 200, '[]')
    when 'name' then int4range(1, 100, '[]')
    when 'email' then int4range(3, 254, '[]')
    when 'content' then int4range(1, 32768, '[]')
    when 'search' then int4range(0, 1000, '[]')
    when 'context' then int4range(0, 10000, '[]')
    when 'userId' then int4range(1, 255, '[]')
    else int4range(1, 100, '[]')
end;

create or replace function rules.allowed_values(field text) returns text[]
language sql immutable parallel safe
return case field
    when 'type' then array['text', 'code', 'image']
    when 'theme' then array['light', 'dark', 'system']
    when 'responseStyle' then array['concise', 'detailed']
    when 'role' then array['owner']
    when 'sort' then array['newest', 'relevance']
end;

create or replace function rules.can_be_blank(field text) returns boolean
language sql immutable parallel safe
return field in ('context', 'search');

-- The list is Unicode's White_Space and other invisible characters, spelled out so that the result is the same in every
-- locale. The first character decides nearly always.
create or replace function rules.is_blank(value text) returns boolean
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    unseen constant text := E' \t\n\r\f\v\u0085\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180e\u2000\u2001\u2002'
        '\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a'
        '\u202b\u202c\u202d\u202e\u202f\u205f\u2060\u2061\u2062\u2063\u2064\u2800\u3000\u3164\ufeff\uffa0';
begin
    return btrim(left(value, 1), unseen) = '' and btrim(value, unseen) = '';
end $$;

-- The common form of an address: words with dots, @, and a domain with a dot, in any script; without quoted parts and
-- invisible characters. Character classes are spelled out, so that the result is the same in every locale.
create or replace function rules.is_email(value text) returns boolean
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    unseen constant text := '\u0001-\u0020\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f'
        '\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uff20\uffa0\ufff0-\uffff'
        '\U000e0000-\U000e0fff';
    atom constant text := '[^"(),.:;<>@[\\\]' || unseen || ']';
    letter constant text := '[^\u0021-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u007e\u3002\uff0e\uff61' || unseen || ']';
begin
    return value ~ ('^(?=[^@]{1,64}@)' || atom || '+([.]' || atom || '+)*@'
        || '((?=[^.]{1,63}([.]|$))' || letter || '+(-+' || letter || '+)*([.](?=.)|$)){2,}$') and value !~ '[.][0-9]+$';
end $$;

-- Lowers like JavaScript's toLowerCase(), in every locale, except that U+212A, the Kelvin sign, stays: no non-ASCII address
-- becomes an ASCII one. Sigma has another lower case at the end of a word.
create or replace function rules.lower_email(value text) returns text
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    value := lower(value collate "C");
    if octet_length(value) = char_length(value) then
        return value;
    end if;
    value := regexp_replace(value, '(?<=[[:alpha:]][.''’]*)Σ(?![.''’]*[[:alpha:]])', 'ς', 'g');
    return replace(lower(replace(replace(value, U&'\0130', U&'i\0307'), U&'\212A', U&'\0001')), U&'\0001', U&'\212A');
end $$;

-- An http or https URL of at most 2,000 characters, without invisible ones and those that RFC 3987 does not allow.
create or replace function rules.is_image_url(value text) returns boolean
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    forbidden constant text := '\u0001-\u0020"<>\\^`{|}\u007f-\u00a0\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff';
begin
    return char_length(value) <= 2000
        and value ~* ('^https?://[^/?#' || forbidden || ']+([/?#][^' || forbidden || ']*)?$');
end $$;
