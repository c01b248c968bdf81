drop index concurrently if exists parley.message_lengths_longest;
