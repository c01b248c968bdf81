drop function if exists parley.chats_gone, parley.members_gone, parley.users_leave cascade;

drop schema listener cascade;

drop table parley.outbox_queue cascade;

drop table parley.outbox cascade;
