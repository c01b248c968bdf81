-- depends: 0019_words_of_older_messages
--
-- Store e-mail addresses in lower case, as Auth.js looks them up, and validate the image URLs in tokens.

-- Lowers like JavaScript's toLowerCase(), in every locale, except that U+212A, the Kelvin sign, stays: no non-ASCII address
-- becomes an ASCII one. Sigma has another lower case at the end of a word.
create function rules.lower_email(value text) returns text
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    value := lower(value collate "C");
    if octet_length(value) = char_length(value) then
        return value;
    end if;
    value := regexp_replace(value, '(?<=[[:alpha:]][.''’]*)Σ(?![.''’]*[[:alpha:]])', 'ς', 'g');
    return replace(lower(replace(replace(value, U&'\0130', U&'i\0307'), U&'\212A', U&'\0001')), U&'\0001', U&'\212A');
end $$;

create function parley.users_before_email_write() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    new.email := rules.lower_email(new.email);
    return new;
end $$;

create trigger users_before_email_write before insert or update of email on next_auth.users
    for each row execute function parley.users_before_email_write();

-- An http or https URL of at most 2,000 characters, without invisible ones and those that RFC 3987 does not allow.
create function rules.is_image_url(value text) returns boolean
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    forbidden constant text := '\u0001-\u0020"<>\\^`{|}\u007f-\u00a0\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff';
begin
    return char_length(value) <= 2000
        and value ~* ('^https?://[^/?#' || forbidden || ']+([/?#][^' || forbidden || ']*)?$');
end $$;
