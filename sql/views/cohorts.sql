-- Growth and retention: how many users come, and how many stay. A cohort has the users who sent their first message in the same
-- week. Weeks start on Monday, in UTC.
--
--   analytics.growth_by_week        new, returning and active users by week
--   analytics.retention_by_cohort   the active users of each cohort by week
--   analytics.users                 a row for each user, under a pseudonym
--
-- The views read the rollups: see functions/rollups.sql.

create or replace view analytics.growth_by_week with (security_barrier) as
select (p.starts_at at time zone 'UTC')::date as week, coalesce(r.users, 0) as new_users,
    p.active_users - coalesce(r.users, 0) as returning_users, p.active_users,
    sum(coalesce(r.users, 0)) over (order by p.starts_at)::bigint as cumulative_users, p.active_chats, p.messages,
    (select s.as_of from parley.rollup_state s) as as_of
from parley.rollup_periods p
    left join parley.rollup_retention r on r.cohort = (p.starts_at at time zone 'UTC')::date and r.week = r.cohort
where p.grain = 'week';

comment on view analytics.growth_by_week is 'New, returning and active users by week. Weeks without messages have no row.';
comment on column analytics.growth_by_week.week is 'The Monday of the week, in UTC.';
comment on column analytics.growth_by_week.new_users is 'Users who sent their first message in the week.';
comment on column analytics.growth_by_week.returning_users is 'Users who sent a message in the week and had sent one before it.';
comment on column analytics.growth_by_week.active_users is 'Users who sent a message in the week: the sum of new and returning users.';
comment on column analytics.growth_by_week.cumulative_users is 'Users who have sent a message by the end of the week, including those deleted since.';
comment on column analytics.growth_by_week.active_chats is 'Distinct chats in which a message was sent.';
comment on column analytics.growth_by_week.messages is 'Messages sent in the week, including those deleted since.';
comment on column analytics.growth_by_week.as_of is 'All messages sent before this time are counted. The last week may still be in progress.';

create or replace view analytics.retention_by_cohort with (security_barrier) as
select c.cohort, w.week::date as week, (w.week::date - c.cohort) / 7 as weeks_later, c.users as cohort_users,
    coalesce(r.users, 0) as active_users, round(coalesce(r.users, 0)::numeric / c.users, 4) as retention_rate,
    (select s.as_of from parley.rollup_state s) as as_of
from parley.rollup_retention c
    cross join lateral generate_series(
        c.cohort::timestamp, (select s.as_of - interval '1 microsecond' from parley.rollup_state s) at time zone 'UTC',
        interval '7 days') w (week)
    left join parley.rollup_retention r on r.cohort = c.cohort and r.week = w.week::date
where c.week = c.cohort;

comment on view analytics.retention_by_cohort is 'The share of each cohort that was active in each week. A cohort has the users who sent their first message in the same week.';
comment on column analytics.retention_by_cohort.cohort is 'The Monday, in UTC, of the week of the first message.';
comment on column analytics.retention_by_cohort.week is 'The Monday, in UTC, of the week of activity: that of the first message or a later one.';
comment on column analytics.retention_by_cohort.weeks_later is 'The number of weeks between the two: 0 in the week of the first message.';
comment on column analytics.retention_by_cohort.cohort_users is 'Users in the cohort, including those deleted since.';
comment on column analytics.retention_by_cohort.active_users is 'Users of the cohort who sent a message in the week.';
comment on column analytics.retention_by_cohort.retention_rate is 'The share of the cohort that these are, from 0 to 1.';
comment on column analytics.retention_by_cohort.as_of is 'All messages sent before this time are counted. The last week may still be in progress.';

-- The order of the rows in the table, and the pages that a query for one key reads, would reveal which rows have just changed.
-- So each query reads all rows, in the order of the pseudonyms.
create or replace view analytics.users with (security_barrier) as
select u.key as user_key, u.cohort, d.last_message_on, case when d.messages >= 5 then d.messages end as messages, s.as_of
from parley.rollup_users u cross join (select max(r.as_of) as as_of from parley.rollup_state r) s cross join lateral (
    select u.last_message_on, u.messages where u.last_message_on < (s.as_of at time zone 'UTC')::date
    union all
    select u.previous_message_on, u.messages - u.last_day_messages
    where u.last_message_on >= (s.as_of at time zone 'UTC')::date
      and u.previous_message_on < (s.as_of at time zone 'UTC')::date) d
order by u.key offset 0;

comment on view analytics.users is 'Users who have sent a message, including users deleted since. Rows change once a day: the messages of the day of as_of appear when it is over, so that nobody can recognize a user by messages that they see arrive.';
comment on column analytics.users.user_key is 'The pseudonym of the user: the same in all rows. Only a DBA can determine which user it is.';
comment on column analytics.users.cohort is 'The Monday, in UTC, of the week of the first message.';
comment on column analytics.users.last_message_on is 'The day, in UTC, of the last message before the day of as_of.';
comment on column analytics.users.messages is 'Messages that the user sent before the day of as_of, including those deleted since. Null stands for 1 to 4.';
comment on column analytics.users.as_of is 'All messages sent before the day, in UTC, of this time are counted.';
