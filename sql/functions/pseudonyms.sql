-- Pseudonyms: the keys that identify users and chats in the views for analysts.
--
--   parley.pseudonym   the pseudonym of a user or a chat

-- HMAC-SHA-256 of the ID, cut to 128 bits. The inner and the outer key are independent, where RFC 2104 derives both from one.
-- `kind` is user or chat.
create or replace function parley.pseudonym(kind text, subject text) returns uuid
language sql stable as $$
    select encode(
        substr(sha256(k.outer_key || sha256(k.inner_key || convert_to(kind || ':' || subject, 'UTF8'))), 1, 16), 'hex')::uuid
    from parley.pseudonym_key k
$$;
