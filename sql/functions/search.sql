-- Search in the entered chat.
--
--   parley.search_messages    the ids of one page of hits, newest first, and how many hits there are
--   parley.search_query       what people type into a search box, as a tsquery
--
-- Under row-level security `tsv @@ query` can't use the index, since that operator is not leakproof. So the ids are
-- found here, where membership is checked once and the index is used; the messages themselves are then read by these
-- ids under row-level security.

-- The other filters come after the index on (chat_id, tsv): the planner can't know how few messages a word leaves in a
-- large chat, and would rather walk the primary key.
create or replace function parley.search_messages(
    search text, wanted_type text, first_id uuid, last_id uuid, page_size bigint, skip bigint,
    out ids uuid[], out total bigint)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
    chat constant uuid := session.chat_id();
    query constant tsquery := parley.search_query(search);
begin
    with found as materialized (
        select m.id, m.type from parley.messages m where m.chat_id = chat and m.tsv @@ query
    ), hits as materialized (
        select f.id from found f
        where f.id >= first_id and f.id < last_id and (wanted_type is null or f.type = wanted_type)
    )
    select array(select h.id from hits h order by h.id desc limit page_size offset skip), (select count(*) from hits)
    into ids, total;
end $$;

-- A dash negates only what follows at once; runs of dashes, which PostgreSQL would take for so many negations, are space.
create or replace function parley.search_query(search text) returns tsquery
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    return websearch_to_tsquery('simple',
        regexp_replace(rules.searchable(search), '-{2,}|-(?![^\s[:punct:]]|")', ' ', 'g'));
end $$;
