-- How events fare on their way to Pusher.

create or replace view analytics.set_aside_events as
select o.id, o.event, o.recorded_at, o.set_aside_at, octet_length(o.payload::text) as bytes, o.error
from parley.outbox o
where o.set_aside_at is not null;

comment on view analytics.set_aside_events is 'Events that Pusher refused and the listener gave up.';
comment on column analytics.set_aside_events.id is 'Of the event in parley.outbox: select parley.queue_again(id) has it published again.';
comment on column analytics.set_aside_events.event is 'What happened: message:sent and so on.';
comment on column analytics.set_aside_events.recorded_at is 'When it happened.';
comment on column analytics.set_aside_events.set_aside_at is 'When it was given up.';
comment on column analytics.set_aside_events.bytes is 'The size of its payload.';
comment on column analytics.set_aside_events.error is 'What Pusher said.';
