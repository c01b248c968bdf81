-- Who comes and who stays. A cohort is those who sent their first message in one week, from Monday, in UTC.

create or replace view analytics.growth_by_week with (security_barrier) as
select (p.starts at time zone 'UTC')::date as week, coalesce(r.users, 0) as new_users,
    p.active_users - coalesce(r.users, 0) as returning_users, p.active_users,
    sum(coalesce(r.users, 0)) over (order by p.starts)::bigint as users_so_far, p.active_chats, p.messages,
    (select s.as_of from parley.rollup_state s) as as_of
from parley.rollup_periods p
    left join parley.rollup_retention r on r.first_week = (p.starts at time zone 'UTC')::date and r.week = r.first_week
where p.grain = 'week';

comment on view analytics.growth_by_week is 'Users by the week. Weeks without a message have no row.';
comment on column analytics.growth_by_week.week is 'The week''s Monday, in UTC.';
comment on column analytics.growth_by_week.new_users is 'Users who sent their first message.';
comment on column analytics.growth_by_week.returning_users is 'Users who sent any, and had before that week.';
comment on column analytics.growth_by_week.active_users is 'Both.';
comment on column analytics.growth_by_week.users_so_far is 'Everybody who has sent a message by then, with those who were deleted since.';
comment on column analytics.growth_by_week.active_chats is 'Chats that got a message.';
comment on column analytics.growth_by_week.messages is 'Messages sent, with those that were deleted since.';
comment on column analytics.growth_by_week.as_of is 'What was sent before this is counted; the last week may not be over.';

create or replace view analytics.retention_by_cohort with (security_barrier) as
select c.first_week as cohort, w.week::date as week, (w.week::date - c.first_week) / 7 as weeks_later, c.users as cohort_users,
    coalesce(r.users, 0) as active_users, round(coalesce(r.users, 0)::numeric / c.users, 4) as retained,
    (select s.as_of from parley.rollup_state s) as as_of
from parley.rollup_retention c
    cross join lateral generate_series(
        c.first_week::timestamp, (select s.as_of - interval '1 microsecond' from parley.rollup_state s) at time zone 'UTC',
        interval '7 days') w (week)
    left join parley.rollup_retention r on r.first_week = c.first_week and r.week = w.week::date
where c.week = c.first_week;

comment on view analytics.retention_by_cohort is 'How many of each cohort sent a message in each week since.';
comment on column analytics.retention_by_cohort.cohort is 'The Monday, in UTC, of the week in which they sent their first message.';
comment on column analytics.retention_by_cohort.week is 'The Monday of the week that is looked at.';
comment on column analytics.retention_by_cohort.weeks_later is 'How many weeks later that is; 0 is the first week itself.';
comment on column analytics.retention_by_cohort.cohort_users is 'How many users the cohort has, with those who were deleted since.';
comment on column analytics.retention_by_cohort.active_users is 'How many of them sent a message in that week.';
comment on column analytics.retention_by_cohort.retained is 'Their share, 0 to 1.';
comment on column analytics.retention_by_cohort.as_of is 'What was sent before this is counted; the last week may not be over.';

create or replace view analytics.users with (security_barrier) as
select u.key as user_key, u.first_week as cohort, u.last_day, u.messages,
    (select s.as_of from parley.rollup_state s) as as_of
from parley.rollup_users u;

comment on view analytics.users is 'Everybody who has sent a message, with those who were deleted since.';
comment on column analytics.users.user_key is 'A pseudonym: the same user has the same one everywhere, and a DBA alone can tell whose it is.';
comment on column analytics.users.cohort is 'The Monday, in UTC, of the week in which they sent their first message.';
comment on column analytics.users.last_day is 'The day, in UTC, on which they sent their last.';
comment on column analytics.users.messages is 'How many they sent, with those that were deleted since.';
comment on column analytics.users.as_of is 'What was sent before this is counted.';
