-- depends: 0023_recipients_of_renames
--
-- Limits that the DBA of a database may change.

create table parley.limits (
    id boolean primary key default true constraint limits_is_one check (id),
    members_per_chat bigint not null default 5000
        constraint limits_members_per_chat_positive check (members_per_chat > 0)
);

alter table parley.limits enable row level security;

insert into parley.limits default values;

comment on table parley.limits is 'Limits that a DBA may change. A single row; changes apply from the next statement.';
comment on column parley.limits.members_per_chat is 'How many members a chat may have, the owner included. A chat that has more keeps them, but accepts no further ones.';
