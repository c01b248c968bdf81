-- Chats and settings: which chats there are, and which settings users have.
--
--   analytics.chats                   a row for each chat, under a pseudonym
--   analytics.chats_by_size_and_age   the numbers of chats by age and size
--   analytics.settings_in_use         the numbers of users by setting
--
-- The views read the rollups: see functions/rollups.sql.

-- The order of the rows in the table, and the pages that a query for one key reads, would reveal which rows have just changed.
-- So each query reads all rows, in the order of the pseudonyms.
create or replace view analytics.chats with (security_barrier) as
select c.key as chat_key, c.created_on, d.last_message_on, case when d.messages >= 5 then d.messages end as messages, s.as_of
from parley.rollup_chats c cross join (select max(r.as_of) as as_of from parley.rollup_state r) s cross join lateral (
    select c.last_message_on, c.messages where c.last_message_on < (s.as_of at time zone 'UTC')::date
    union all
    select c.previous_message_on, c.messages - c.last_day_messages
    where c.last_message_on >= (s.as_of at time zone 'UTC')::date
      and c.previous_message_on < (s.as_of at time zone 'UTC')::date) d
order by c.key offset 0;

comment on view analytics.chats is 'Chats in which a message was sent, including chats deleted since. Rows change once a day: the messages of the day of as_of appear when it is over, so that nobody can recognize a chat by messages that they see arrive.';
comment on column analytics.chats.chat_key is 'The pseudonym of the chat: the same in all rows. Only a DBA can determine which chat it is.';
comment on column analytics.chats.created_on is 'The day, in UTC, on which the chat was created.';
comment on column analytics.chats.last_message_on is 'The day, in UTC, of the last message before the day of as_of.';
comment on column analytics.chats.messages is 'Messages sent in the chat before the day of as_of, including those deleted since. Null stands for 1 to 4.';
comment on column analytics.chats.as_of is 'All messages sent before the day, in UTC, of this time are counted.';

create or replace view analytics.chats_by_size_and_age with (security_barrier) as
select c.min_age_days, c.min_messages, c.chats, c.inactive_chats, c.messages, c.inactive_messages, c.members,
    (select s.chats_and_settings_as_of from parley.rollup_state s) as as_of
from parley.rollup_chat_sizes c;

comment on view analytics.chats_by_size_and_age is 'Existing chats by age and by number of messages.';
comment on column analytics.chats_by_size_and_age.min_age_days is 'The lower bound of the age in days: 0, 1, 7, 30, 90, 180 or 365. The next of these is the upper bound, excluded.';
comment on column analytics.chats_by_size_and_age.min_messages is 'The lower bound of the number of messages: 0, 1, 10, 100, 1,000, 10,000 or 100,000. The next of these is the upper bound, excluded.';
comment on column analytics.chats_by_size_and_age.chats is 'Chats of that age and size.';
comment on column analytics.chats_by_size_and_age.inactive_chats is 'Those of them without a message in the last 30 days.';
comment on column analytics.chats_by_size_and_age.messages is 'Messages in the chats.';
comment on column analytics.chats_by_size_and_age.inactive_messages is 'Those of them that are in inactive chats.';
comment on column analytics.chats_by_size_and_age.members is 'Members of the chats. A user counts once in each chat.';
comment on column analytics.chats_by_size_and_age.as_of is 'When the rows were counted: at most about an hour ago while the listener runs.';

create or replace view analytics.settings_in_use with (security_barrier) as
select r.setting, r.value, r.users, round(r.users / sum(r.users) over (partition by r.setting), 4) as share,
    (select s.chats_and_settings_as_of from parley.rollup_state s) as as_of
from parley.rollup_settings r;

comment on view analytics.settings_in_use is 'Users by the values of their settings: model, theme, runtime, responseStyle, alwaysShowCode and isPremium.';
comment on column analytics.settings_in_use.setting is 'The name of the setting in the API.';
comment on column analytics.settings_in_use.value is 'The value. Null stands for all values that fewer than five users have, or that are not 1 to 64 letters, digits, spaces and ._:/+-.';
comment on column analytics.settings_in_use.users is 'Users who have the value.';
comment on column analytics.settings_in_use.share is 'The share of all users, from 0 to 1.';
comment on column analytics.settings_in_use.as_of is 'When the rows were counted: at most about an hour ago while the listener runs.';
