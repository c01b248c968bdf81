-- depends: 0010_chat_images
-- transactional: false
--
-- The index that finds the messages with an image, for parley.is_image_used().

drop index concurrently if exists parley.messages_image;

-- The expression is that of parley.image_name(), which is inlined.
-- squawk-ignore prefer-robust-stmts
create index concurrently messages_image on parley.messages
    (chat_id, substring(right(content, 80) from '/images/([0-9a-f]{64}[.](?:gif|jpg|png))$'))
    where type = 'image' and substring(right(content, 80) from '/images/([0-9a-f]{64}[.](?:gif|jpg|png))$') is not null;

comment on index parley.messages_image is 'The messages with an image in Parley''s storage.';
