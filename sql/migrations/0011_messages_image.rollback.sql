drop index concurrently if exists parley.messages_image;
