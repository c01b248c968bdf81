-- Activity: how many messages users send, and how long responses take.
--
--   analytics.activity_by_hour        messages, users and chats by hour
--   analytics.activity_by_day         the same by day
--   analytics.response_times          a histogram of response times for each day
--   analytics.response_times_by_day   the median and the 90th percentile of each day
--
-- The views read the rollups: see functions/rollups.sql. Days are in UTC.

create or replace view analytics.activity_by_hour with (security_barrier) as
select p.starts_at as hour, p.messages, p.text_messages, p.code_messages, p.image_messages, p.active_users, p.active_chats,
    (select s.as_of from parley.rollup_state s) as as_of
from parley.rollup_periods p
where p.grain = 'hour';

comment on view analytics.activity_by_hour is 'Messages by the hour in which they were sent. Hours without messages have no row.';
comment on column analytics.activity_by_hour.hour is 'When the hour starts.';
comment on column analytics.activity_by_hour.messages is 'Messages sent in the hour, including those deleted since.';
comment on column analytics.activity_by_hour.text_messages is 'Messages of type text. A message counts as the type with which it was sent.';
comment on column analytics.activity_by_hour.code_messages is 'Messages of type code.';
comment on column analytics.activity_by_hour.image_messages is 'Messages of type image.';
comment on column analytics.activity_by_hour.active_users is 'Distinct users who sent a message.';
comment on column analytics.activity_by_hour.active_chats is 'Distinct chats in which a message was sent.';
comment on column analytics.activity_by_hour.as_of is 'All messages sent before this time are counted.';

create or replace view analytics.activity_by_day with (security_barrier) as
select (p.starts_at at time zone 'UTC')::date as day, p.messages, p.text_messages, p.code_messages, p.image_messages,
    p.active_users, p.active_chats,
    (select s.as_of from parley.rollup_state s) as as_of
from parley.rollup_periods p
where p.grain = 'day';

comment on view analytics.activity_by_day is 'Messages by the day, in UTC, on which they were sent. Days without messages have no row.';
comment on column analytics.activity_by_day.day is 'The day, in UTC.';
comment on column analytics.activity_by_day.messages is 'Messages sent on the day, including those deleted since.';
comment on column analytics.activity_by_day.text_messages is 'Messages of type text. A message counts as the type with which it was sent.';
comment on column analytics.activity_by_day.code_messages is 'Messages of type code.';
comment on column analytics.activity_by_day.image_messages is 'Messages of type image.';
comment on column analytics.activity_by_day.active_users is 'Distinct users who sent a message.';
comment on column analytics.activity_by_day.active_chats is 'Distinct chats in which a message was sent.';
comment on column analytics.activity_by_day.as_of is 'All messages sent before this time are counted.';

create or replace view analytics.response_times with (security_barrier) as
select r.day, power(2.0::float, r.bucket / 8.0::float)::numeric(10, 1) as max_seconds, r.responses,
    (select s.as_of from parley.rollup_state s) as as_of
from parley.rollup_responses r;

comment on view analytics.response_times is 'A histogram of response times for each day. A response is a message that follows another user''s in the same chat within 7 days. Its response time is the time between the two. Messages that were deleted before they were counted are ignored.';
comment on column analytics.response_times.day is 'The day of the responses, in UTC.';
comment on column analytics.response_times.max_seconds is 'The upper bound of the bucket in seconds, included: at least 1. The lower bound is 0.917 of it.';
comment on column analytics.response_times.responses is 'Responses in the bucket.';
comment on column analytics.response_times.as_of is 'All messages sent before this time are counted.';

create or replace view analytics.response_times_by_day with (security_barrier) as
select t.day, max(t.cumulative)::bigint as responses,
    min(t.max_seconds) filter (where t.cumulative >= 0.5 * t.of_day) as median_seconds,
    min(t.max_seconds) filter (where t.cumulative >= 0.9 * t.of_day) as p90_seconds, t.as_of
from (
    select r.day, r.max_seconds, r.as_of, sum(r.responses) over (partition by r.day order by r.max_seconds) as cumulative,
        sum(r.responses) over (partition by r.day) as of_day
    from analytics.response_times r) t
group by t.day, t.as_of;

comment on view analytics.response_times_by_day is 'The median and the 90th percentile of response times for each day. A response is as in response_times.';
comment on column analytics.response_times_by_day.day is 'The day of the responses, in UTC.';
comment on column analytics.response_times_by_day.responses is 'Responses on the day.';
comment on column analytics.response_times_by_day.median_seconds is 'The median response time in seconds, rounded up by at most 9 %.';
comment on column analytics.response_times_by_day.p90_seconds is 'The 90th percentile of response times in seconds, rounded up by at most 9 %.';
comment on column analytics.response_times_by_day.as_of is 'All messages sent before this time are counted.';
