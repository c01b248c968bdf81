-- squawk-ignore-file ban-drop-column

alter table parley.chats drop column gap, drop column lineage;
