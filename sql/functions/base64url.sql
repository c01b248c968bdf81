-- Base64url without padding (RFC 4648): the characters that are valid in Pusher's names and in URLs.
--
--   parley.encode_base64url   encodes bytes
--   parley.decode_base64url   decodes text

create or replace function parley.encode_base64url(value bytea) returns text
language sql immutable parallel safe as $$ select rtrim(translate(encode(value, 'base64'), E'+/\n', '-_'), '=') $$;

create or replace function parley.decode_base64url(value text) returns bytea
language sql immutable parallel safe as $$
    select decode(translate(value, '-_', '+/') || repeat('=', -length(value) & 3), 'base64')
$$;
