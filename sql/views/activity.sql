-- How much is said, and how fast it is answered. Every view is of rollups: see functions/rollups.sql.

create or replace view analytics.activity_by_hour with (security_barrier) as
select p.starts as hour, p.messages, p.text_messages, p.code_messages, p.image_messages, p.active_users, p.active_chats,
    (select s.as_of from parley.rollup_state s) as as_of
from parley.rollup_periods p
where p.grain = 'hour';

comment on view analytics.activity_by_hour is 'Messages by the hour in which they were sent. Hours without any have no row.';
comment on column analytics.activity_by_hour.hour is 'When the hour begins.';
comment on column analytics.activity_by_hour.messages is 'Messages sent, with those that were deleted since.';
comment on column analytics.activity_by_hour.text_messages is '… those of type text; of a message whose type was changed since, the type that it was sent with.';
comment on column analytics.activity_by_hour.code_messages is '… those of type code.';
comment on column analytics.activity_by_hour.image_messages is '… those of type image.';
comment on column analytics.activity_by_hour.active_users is 'Users who sent any of them, each once.';
comment on column analytics.activity_by_hour.active_chats is 'Chats that got any of them, each once.';
comment on column analytics.activity_by_hour.as_of is 'What was sent before this is counted.';

create or replace view analytics.activity_by_day with (security_barrier) as
select (p.starts at time zone 'UTC')::date as day, p.messages, p.text_messages, p.code_messages, p.image_messages,
    p.active_users, p.active_chats,
    (select s.as_of from parley.rollup_state s) as as_of
from parley.rollup_periods p
where p.grain = 'day';

comment on view analytics.activity_by_day is 'Messages by the day, in UTC, on which they were sent. Days without any have no row.';
comment on column analytics.activity_by_day.day is 'The day.';
comment on column analytics.activity_by_day.messages is 'Messages sent, with those that were deleted since.';
comment on column analytics.activity_by_day.text_messages is '… those of type text; of a message whose type was changed since, the type that it was sent with.';
comment on column analytics.activity_by_day.code_messages is '… those of type code.';
comment on column analytics.activity_by_day.image_messages is '… those of type image.';
comment on column analytics.activity_by_day.active_users is 'Users who sent any of them, each once.';
comment on column analytics.activity_by_day.active_chats is 'Chats that got any of them, each once.';
comment on column analytics.activity_by_day.as_of is 'What was sent before this is counted.';

create or replace view analytics.response_times with (security_barrier) as
select r.day, power(2.0::float, r.step / 8.0::float)::numeric(10, 1) as up_to_seconds, r.responses,
    (select s.as_of from parley.rollup_state s) as as_of
from parley.rollup_responses r;

comment on view analytics.response_times is 'How long responses took: a histogram for each day. A response is a message after somebody else''s in the same chat, within 7 days; it is measured from the message before it that was still there when it was counted.';
comment on column analytics.response_times.day is 'The day of the response, in UTC.';
comment on column analytics.response_times.up_to_seconds is 'They took up to so long, and longer than 0.917 of it; the least is 1.';
comment on column analytics.response_times.responses is 'How many did.';
comment on column analytics.response_times.as_of is 'What was sent before this is counted.';

create or replace view analytics.response_times_by_day with (security_barrier) as
select t.day, max(t.up_to)::bigint as responses,
    min(t.up_to_seconds) filter (where t.up_to >= 0.5 * t.of_day) as median_seconds,
    min(t.up_to_seconds) filter (where t.up_to >= 0.9 * t.of_day) as p90_seconds, t.as_of
from (
    select r.day, r.up_to_seconds, r.as_of, sum(r.responses) over (partition by r.day order by r.up_to_seconds) as up_to,
        sum(r.responses) over (partition by r.day) as of_day
    from analytics.response_times r) t
group by t.day, t.as_of;

comment on view analytics.response_times_by_day is 'Times of responses by day. A response is as in response_times.';
comment on column analytics.response_times_by_day.day is 'The day of the responses, in UTC.';
comment on column analytics.response_times_by_day.responses is 'How many there were.';
comment on column analytics.response_times_by_day.median_seconds is 'Half of them took no longer; up to 9 % too much.';
comment on column analytics.response_times_by_day.p90_seconds is 'Nine in ten took no longer; up to 9 % too much.';
comment on column analytics.response_times_by_day.as_of is 'What was sent before this is counted.';
