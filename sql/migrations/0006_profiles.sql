-- depends: 0005_reloaded_parts
--
-- Profiles and their images: when a user last changed, what an e-mail address may be, which images may go.

-- What constraints and functions call must be executable as soon as they call it, not when grants.sql is loaded.
alter default privileges in schema rules grant execute on functions to parley_api;

-- The default is one value for all rows, so no row is written.
-- squawk-ignore adding-field-with-default
alter table next_auth.users add column updated_at timestamptz not null default date_trunc('milliseconds', now());

-- The expression is that of parley.image_name(), written out, because who inserts must be allowed to execute it.
-- Writes waited while it was made; later ones are made concurrently.
-- squawk-ignore require-concurrent-index-creation
create index users_stored_image on next_auth.users (substring(right(image, 80) from '/images/([0-9a-f]{64}[.](?:gif|jpg|png))$'))
    where substring(right(image, 80) from '/images/([0-9a-f]{64}[.](?:gif|jpg|png))$') is not null;

create table parley.image_cleanup (
    id bigint primary key generated always as identity,
    name text not null,
    due timestamptz not null default now(),
    is_being_removed boolean not null default false
);

create index image_cleanup_due on parley.image_cleanup (due);
create unique index image_cleanup_being_removed on parley.image_cleanup (name) where is_being_removed;

alter table parley.image_cleanup enable row level security;

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

-- An address in the form that people have: words with dots, @, a domain with a dot, in any script; nothing quoted and
-- nothing unseen. Classes of characters are spelled out, so that the answer is the same in every locale.
--
-- This and is_blank are in PL/pgSQL, since PostgreSQL would read the lists of an SQL function again for each plan that
-- calls it, and makes such a plan for the constraints at each insert.
create function rules.is_email(value text) returns boolean
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

-- The list is Unicode's White_Space and what else shows nothing, so that the answer is the same in every locale. The first
-- character decides nearly always.
create or replace function rules.is_blank(value text) returns boolean
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    unseen constant text := E' \t\n\r\f\v\u0085\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180e\u2000\u2001\u2002'
        '\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a'
        '\u202b\u202c\u202d\u202e\u202f\u205f\u2060\u2061\u2062\u2063\u2064\u2800\u3000\u3164\ufeff\uffa0';
begin
    return btrim(left(value, 1), unseen) = '' and btrim(value, unseen) = '';
end $$;

create or replace function rules.validation_error(field text, value text) returns text
language sql immutable parallel safe
return case
    when rules.allowed_values(field) is not null then
        case when value <> all (rules.allowed_values(field))
            then 'must be one of: ' || array_to_string(rules.allowed_values(field), ', ') end
    when not rules.length_limits(field) @> char_length(value) then
        format('must be %s to %s characters', lower(rules.length_limits(field)), upper(rules.length_limits(field)) - 1)
    when not rules.can_be_blank(field) and rules.is_blank(value) then 'must not be blank'
    when field = 'email' and not rules.is_email(value) then 'must be an e-mail address, like ada@example.org'
end;

comment on column next_auth.users.image is 'Where the user''s image is: a URL, of the web app''s or of Parley''s storage.';
comment on column next_auth.users.updated_at is 'When name, email or image last changed; for who was there before this was recorded, when that began.';
comment on index next_auth.users_stored_image is 'Who uses an image in Parley''s storage.';
comment on table parley.image_cleanup is 'Images to look at: one that nobody uses when its row is due goes from storage.';
comment on column parley.image_cleanup.name is 'The name in storage: SHA-256 of the content, and .gif, .jpg or .png.';
comment on column parley.image_cleanup.due is 'An image about to be stored has some minutes, in case that comes to nothing; one that was left is due at once; one whose removal failed is tried again.';
comment on column parley.image_cleanup.is_being_removed is 'A removal may be under way: nobody may store that image until this row is gone. When it is due, the removal is tried again.';
comment on table parley.settings is 'What users chose. A row is made with the columns'' defaults at the user''s first request.';
