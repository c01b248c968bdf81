-- Which chats there are, and what people set.

create or replace view analytics.chats with (security_barrier) as
select c.key as chat_key, c.created_on, c.last_day, c.messages,
    (select s.as_of from parley.rollup_state s) as as_of
from parley.rollup_chats c;

comment on view analytics.chats is 'Every chat that has got a message, with those that were deleted since.';
comment on column analytics.chats.chat_key is 'A pseudonym: the same chat has the same one everywhere, and a DBA alone can tell which it is.';
comment on column analytics.chats.created_on is 'The day, in UTC, on which it was made.';
comment on column analytics.chats.last_day is 'The day, in UTC, of its last message.';
comment on column analytics.chats.messages is 'How many it got, with those that were deleted since.';
comment on column analytics.chats.as_of is 'What was sent before this is counted.';

create or replace view analytics.chats_by_size_and_age with (security_barrier) as
select c.days_from, c.messages_from, c.chats, c.silent_chats, c.messages, c.silent_messages, c.members,
    (select s.chats_and_settings_as_of from parley.rollup_state s) as as_of
from parley.rollup_chat_sizes c;

comment on view analytics.chats_by_size_and_age is 'The chats that there are, by age and by number of messages.';
comment on column analytics.chats_by_size_and_age.days_from is 'Made so many days ago, or more: 0, 1, 7, 30, 90, 180, 365; the next of these is where the next row begins.';
comment on column analytics.chats_by_size_and_age.messages_from is 'So many messages, or more: 0, 1, 10, 100, 1,000, 10,000, 100,000.';
comment on column analytics.chats_by_size_and_age.chats is 'How many chats are so old and so large.';
comment on column analytics.chats_by_size_and_age.silent_chats is '… of which so many had no message for 30 days.';
comment on column analytics.chats_by_size_and_age.messages is 'How many messages there are in all of them.';
comment on column analytics.chats_by_size_and_age.silent_messages is '… of which so many are in silent chats.';
comment on column analytics.chats_by_size_and_age.members is 'How many members they have; a user is counted in each of their chats.';
comment on column analytics.chats_by_size_and_age.as_of is 'When they were counted; it is done each hour.';

create or replace view analytics.settings_in_use with (security_barrier) as
select r.setting, r.value, r.users, round(r.users / sum(r.users) over (partition by r.setting), 4) as share,
    (select s.chats_and_settings_as_of from parley.rollup_state s) as as_of
from parley.rollup_settings r;

comment on view analytics.settings_in_use is 'What users have set: model, theme, runtime, responseStyle, alwaysShowCode, and isPremium.';
comment on column analytics.settings_in_use.setting is 'Which setting, by its name in the API.';
comment on column analytics.settings_in_use.value is 'What it is set to; null for all values together that fewer than five users have, or that are not up to 64 letters, digits, spaces and ._:/+-.';
comment on column analytics.settings_in_use.users is 'How many users have it so.';
comment on column analytics.settings_in_use.share is 'Their share of all users, 0 to 1.';
comment on column analytics.settings_in_use.as_of is 'When they were counted; it is done each hour.';
