-- squawk-ignore ban-drop-column
alter table parley.rollup_settings drop column id;
