-- depends: 0009_existing_members
--
-- Images for messages. The content is in storage; a message uses an image if its content is the image's URL.

-- No foreign key to the chat: a row remains until its image is removed from storage, also after its chat was deleted.
create table parley.chat_images (
    name text,
    chat_id uuid,
    user_id text not null,
    created_at timestamptz not null default now(),
    primary key (name, chat_id)
);

alter table parley.chat_images enable row level security;

comment on table parley.chat_images is 'The images that were uploaded for messages. A row is deleted when the removal of its image from storage begins.';
comment on column parley.chat_images.name is 'The name in storage: 64 random hexadecimal digits, and .gif, .jpg or .png.';
comment on column parley.chat_images.chat_id is 'The chat whose messages can use the image.';
comment on column parley.chat_images.user_id is 'The user who uploaded the image.';
comment on column parley.chat_images.created_at is 'When the transaction of the upload began.';

comment on table parley.image_cleanup is 'Images that may be unused. One that no user and no message has when its row is due is removed from storage.';
comment on column parley.image_cleanup.name is 'The name in storage: 64 hexadecimal digits, and .gif, .jpg or .png.';
comment on column parley.image_cleanup.due is 'When to check the image: a day after an upload begins, in case it fails or is not used; at once after a user has replaced it, or a message that had it was edited or deleted; and again after a failed removal.';
