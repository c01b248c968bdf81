-- Health: how far events and search are behind, as of now.
--
--   analytics.event_health         the outbox: waiting events, their lag, and dead letters
--   analytics.dead_letter_events   the dead letters
--   analytics.search_health        the search index: size, pending messages and vacuums

-- The count is limited, because the queue grows while Pusher is unavailable.
create or replace view analytics.event_health with (security_barrier) as
select (select count(*) from (select from parley.outbox_queue limit 100000) q) as waiting_events,
    greatest(extract(epoch from clock_timestamp() - (
        select o.recorded_at from parley.outbox o where o.id = (select min(q.id) from parley.outbox_queue q))), 0)::numeric(12, 3)
        as lag_seconds,
    d.events as dead_letter_events, d.last_at as last_dead_lettered_at, now() as as_of
from (
    select count(*) as events, max(o.dead_lettered_at) as last_at from parley.outbox o where o.dead_lettered_at is not null) d;

comment on view analytics.event_health is 'The outbox, the events on their way to Pusher, as of now. A single row.';
comment on column analytics.event_health.waiting_events is 'Events that are not published yet; 100,000 stands for that or more.';
comment on column analytics.event_health.lag_seconds is 'The age in seconds of the oldest of them; 0 if there are none, or if the clock was set back since. The metric parley_outbox_lag_seconds does not depend on the clock.';
comment on column analytics.event_health.dead_letter_events is 'Dead letters: events that could not be published. dead_letter_events lists them.';
comment on column analytics.event_health.last_dead_lettered_at is 'When the last of these was dead-lettered; null if there are none.';
comment on column analytics.event_health.as_of is 'Now.';

-- The view has only the status of Pusher's response, because the body names channels, and thereby IDs of users and chats.
create or replace view analytics.dead_letter_events with (security_barrier) as
select o.id, o.event, o.recorded_at, o.dead_lettered_at, octet_length(o.payload::text) as bytes,
    substring(o.error from '^HTTP [0-9]{3}') as error
from parley.outbox o
where o.dead_lettered_at is not null;

comment on view analytics.dead_letter_events is 'Dead letters: events that Pusher rejected, or failed to accept while it accepted others.';
comment on column analytics.dead_letter_events.id is 'The ID of the event in parley.outbox. select parley.requeue_events(id) publishes it again.';
comment on column analytics.dead_letter_events.event is 'The name of the event, such as message:sent.';
comment on column analytics.dead_letter_events.recorded_at is 'When the event was recorded.';
comment on column analytics.dead_letter_events.dead_lettered_at is 'When the listener gave up publishing it.';
comment on column analytics.dead_letter_events.bytes is 'The size of its payload in bytes.';
comment on column analytics.dead_letter_events.error is 'The HTTP status of Pusher''s response, as in HTTP 413, or null. For a DBA, parley.outbox.error has the response.';

create or replace view analytics.search_health with (security_barrier) as
select sum(t.n_live_tup)::bigint as messages, sum(t.n_dead_tup)::bigint as dead_rows,
    sum(t.n_ins_since_vacuum)::bigint as pending_messages, min(coalesce(t.last_autovacuum, t.last_vacuum)) as oldest_vacuum_at,
    sum(pg_table_size(t.relid))::bigint as table_bytes, sum(pg_relation_size(i.indexrelid))::bigint as index_bytes,
    sum(i.idx_scan)::bigint as index_scans, now() as as_of
from pg_partition_tree('parley.message_words') p
    join pg_stat_all_tables t on t.relid = p.relid
    join pg_index x on x.indrelid = p.relid and not x.indisunique
    join pg_stat_all_indexes i on i.indexrelid = x.indexrelid
where p.isleaf;

comment on view analytics.search_health is 'The words of messages that searches read, and their GIN index, by PostgreSQL''s statistics. A single row.';
comment on column analytics.search_health.messages is 'Messages that searches can find: an estimate.';
comment on column analytics.search_health.dead_rows is 'Rows of changed and deleted messages that autovacuum has not removed yet: an estimate.';
comment on column analytics.search_health.pending_messages is 'Messages sent since the last vacuum: an estimate. They may be in the pending list of the index, which each search reads.';
comment on column analytics.search_health.oldest_vacuum_at is 'The oldest of the partitions'' last vacuums. Partitions that were never vacuumed are ignored; null if none was.';
comment on column analytics.search_health.table_bytes is 'The size of the words in bytes.';
comment on column analytics.search_health.index_bytes is 'The size of the index in bytes.';
comment on column analytics.search_health.index_scans is 'Scans of the index since the statistics were reset.';
comment on column analytics.search_health.as_of is 'Now.';
