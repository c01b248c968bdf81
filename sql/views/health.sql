-- How events and search fare, as of now.

-- Counting stops somewhere, since the queue grows while Pusher is away.
create or replace view analytics.event_health with (security_barrier) as
select (select count(*) from (select from parley.outbox_queue limit 100000) q) as waiting_events,
    coalesce(extract(epoch from clock_timestamp() - (
        select o.recorded_at from parley.outbox o where o.id = (select min(q.id) from parley.outbox_queue q))), 0)::numeric(12, 3)
        as lag_seconds,
    a.events as set_aside_events, a.last_at as last_set_aside_at, now() as as_of
from (select count(*) as events, max(o.set_aside_at) as last_at from parley.outbox o where o.set_aside_at is not null) a;

comment on view analytics.event_health is 'Events on their way to Pusher: one row.';
comment on column analytics.event_health.waiting_events is 'How many are not published yet, counted up to 100,000.';
comment on column analytics.event_health.lag_seconds is 'How long the oldest of them has been waiting; 0 without any.';
comment on column analytics.event_health.set_aside_events is 'How many Pusher refused and the listener gave up: those of set_aside_events.';
comment on column analytics.event_health.last_set_aside_at is 'When that was last.';
comment on column analytics.event_health.as_of is 'Now.';

-- What Pusher said has names of channels in it, and so ids.
create or replace view analytics.set_aside_events with (security_barrier) as
select o.id, o.event, o.recorded_at, o.set_aside_at, octet_length(o.payload::text) as bytes,
    substring(o.error from '^HTTP [0-9]{3}') as error
from parley.outbox o
where o.set_aside_at is not null;

comment on view analytics.set_aside_events is 'Events that Pusher refused and the listener gave up.';
comment on column analytics.set_aside_events.id is 'Of the event in parley.outbox: select parley.queue_again(id) has it published again.';
comment on column analytics.set_aside_events.event is 'What happened: message:sent and so on.';
comment on column analytics.set_aside_events.recorded_at is 'When it happened.';
comment on column analytics.set_aside_events.set_aside_at is 'When it was given up.';
comment on column analytics.set_aside_events.bytes is 'The size of its payload.';
comment on column analytics.set_aside_events.error is 'The status that Pusher answered, or null; its words are in parley.outbox.error, for a DBA.';

create or replace view analytics.search_health with (security_barrier) as
select sum(t.n_live_tup)::bigint as messages, sum(t.n_dead_tup)::bigint as dead_rows,
    sum(t.n_ins_since_vacuum)::bigint as unmerged_messages, min(coalesce(t.last_autovacuum, t.last_vacuum)) as vacuumed_at,
    sum(pg_table_size(t.relid))::bigint as words_bytes, sum(pg_relation_size(i.indexrelid))::bigint as index_bytes,
    sum(i.idx_scan)::bigint as index_scans, now() as as_of
from pg_partition_tree('parley.message_words') p
    join pg_stat_all_tables t on t.relid = p.relid
    join pg_index x on x.indrelid = p.relid and not x.indisunique
    join pg_stat_all_indexes i on i.indexrelid = x.indexrelid
where p.isleaf;

comment on view analytics.search_health is 'The words that search looks in, and their index, by PostgreSQL''s statistics: one row.';
comment on column analytics.search_health.messages is 'How many messages can be found, about.';
comment on column analytics.search_health.dead_rows is 'Rows that were changed or deleted and are still in the way; autovacuum removes them.';
comment on column analytics.search_health.unmerged_messages is 'How many came since the last vacuum, about: those may be in the list that each search reads through.';
comment on column analytics.search_health.vacuumed_at is 'Since then at the latest, every partition was vacuumed; null when one never was.';
comment on column analytics.search_health.words_bytes is 'The size of the words.';
comment on column analytics.search_health.index_bytes is 'The size of their index.';
comment on column analytics.search_health.index_scans is 'How often the index was asked, since the statistics were reset.';
comment on column analytics.search_health.as_of is 'Now.';
