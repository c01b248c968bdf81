-- Drops what the migration created, with the functions, policies and triggers that depend on it.
-- squawk-ignore-file ban-drop-table, ban-drop-type

drop type parley.highlight, parley.search_query cascade;

drop table parley.letter_variants cascade;

drop table parley.message_words cascade;

drop text search configuration rules.stems;

drop text search dictionary rules.english;
