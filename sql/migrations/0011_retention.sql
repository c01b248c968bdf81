-- depends: 0010_search_of_older_messages
--
-- Chats that nobody uses any more are removed in small pieces: until its last message is gone, such a chat is marked.

alter table parley.chats add column is_being_removed boolean not null default false;

comment on column parley.chats.is_being_removed is 'Whether the chat is deleted for everybody, and its messages are on their way out: it has no owner and no members then, and takes none.';
