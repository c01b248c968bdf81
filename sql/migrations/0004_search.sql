-- depends: 0003_chats
--
-- Full-text search: the words of each message, beside the messages.
--
-- parley.messages_after_write_words(), a trigger function, fills message_words from rules.search_document(). The words are
-- apart from the messages, so that a search reads little. The table is partitioned by chat, so that the rows of a large chat
-- are close to each other: counting a common word then takes two fifths of the time.

-- English stems without stop words: every word can be found.
create text search dictionary rules.english (template = pg_catalog.snowball, language = english);
create text search configuration rules.stems (copy = pg_catalog.simple);
alter text search configuration rules.stems alter mapping for asciiword with rules.english;

create table parley.message_words (
    chat_id uuid,
    id uuid,
    type text not null,
    tsv tsvector not null,
    words text,
    primary key (chat_id, id)
) partition by hash (chat_id);

-- Long values are stored out of line and uncompressed: compressing them takes longer than writing them, and each search that
-- reads them would decompress them again.
alter table parley.message_words alter column tsv set storage external, alter column words set storage external;

-- Each search reads the whole pending list, so it is kept short. In kB.
create index message_words_search on parley.message_words using gin (chat_id, tsv) with (gin_pending_list_limit = 256);

alter table parley.message_words enable row level security;

do $$
declare
    part text;
begin
    for i in 0..15 loop
        part := format('message_words_%s', i);
        execute format('create table parley.%I partition of parley.message_words for values with (modulus 16, remainder %s)', part, i);
        execute format('alter table parley.%I enable row level security', part);
    end loop;
end $$;

-- sql/functions/search_folding.sql fills it.
create table parley.letter_variants (
    letter text primary key,
    variants text not null
);

alter table parley.letter_variants enable row level security;

create type parley.search_query as (
    tsv_query tsquery,
    index_query tsquery,
    phrase_query tsquery,
    sufficient_query tsquery,
    necessary_query tsquery,
    phrases text[],
    rank_query tsquery,
    verbatim_query tsquery,
    verbatim_phrase text
);

create type parley.highlight as (hit_pattern text, exact_pattern text, mark_pattern text, stems text[]);

comment on text search dictionary rules.english is 'Stems of English words, stop words included.';
comment on text search configuration rules.stems is 'Stems of words in Latin script; other words unchanged.';

comment on table parley.message_words is 'The words of messages, for search. Partitioned by chat.';
comment on column parley.message_words.chat_id is 'The chat.';
comment on column parley.message_words.id is 'The message.';
comment on column parley.message_words.type is 'The type of the message, since searches filter by it.';
comment on column parley.message_words.tsv is 'The tsv of rules.search_document() of the message''s content.';
comment on column parley.message_words.words is 'The words of a message whose positions do not all fit into tsv, for phrases; null for all others.';

comment on table parley.letter_variants is 'The characters that rules.fold() maps to one letter, so that hits can be marked.';
comment on column parley.letter_variants.letter is 'The folded letter in lower case, or the two letters of a ligature.';
comment on column parley.letter_variants.variants is 'The characters, the letter itself included.';

comment on type parley.search_query is 'A parsed search, from parley.parse_search(). tsv_query, for message_words.tsv, has phrases as sequences of words; index_query, for the index, has them as conjunctions of words; phrase_query, for message_words.words, has a numbered lexeme in place of each. Among the messages that index_query finds, phrases alone decide about those that match sufficient_query or do not match necessary_query. rank_query, for ts_rank(), matches any of the words. verbatim_query and verbatim_phrase are the whole search as one phrase.';
comment on type parley.highlight is 'The regular expressions of a search, from parley.parse_highlight(): hit_pattern finds the first hit, mark_pattern the words to mark in a snippet, and exact_pattern those of them that need no stem.';
