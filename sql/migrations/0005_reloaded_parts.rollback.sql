drop table parley.reloaded_parts;
