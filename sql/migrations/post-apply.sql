-- Takes back the mark of reload.py, so that every `yoyo apply` runs it again.
delete from _yoyo_migration where migration_id = 'reload';
