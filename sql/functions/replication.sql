-- Replication: the server's identity and its position in the write-ahead log, for reads from a replica and for event cursors.
--
--   api.get_wal_position       the position, which the API compares between the primary and a replica
--   parley.system_identifier   identifies the cluster; may be null
--   parley.timeline            changes with a promotion or a restore; may be null
--   parley.epoch               identifies the database; changed by parley.start_new_epoch()
--
-- A managed service may revoke the functions that system_identifier and timeline call; both are null then. The epoch still
-- distinguishes databases, but a promotion or a restore is detected only after parley.start_new_epoch().

-- `lsn` is the insert position, not the flushed one: with synchronous_commit = off a change is acknowledged before it is
-- flushed. A position right after a page's header has no record on that page yet; a replica reports the end of the page before.
create or replace function api.get_wal_position() returns json
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    long_page_header constant integer := 40;  -- bytes, at the beginning of a WAL segment
    page_header constant integer := 24;  -- bytes, at the beginning of any other page
    is_replica constant boolean := pg_is_in_recovery();
    lsn constant bigint := pg_wal_lsn_diff(
        case when is_replica then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end, '0/0');
begin
    return json_build_object(
        'backend', pg_backend_pid(),
        'started', pg_postmaster_start_time(),
        'is_replica', is_replica,
        'system', parley.system_identifier(),
        'timeline', parley.timeline(),
        'database', (select oid::bigint from pg_database where datname = current_database()),
        'epoch', parley.epoch(),
        'lsn', lsn - case when lsn % pg_size_bytes(current_setting('wal_segment_size')) = long_page_header
                then long_page_header
            when lsn % current_setting('wal_block_size')::integer = page_header then page_header
            else 0 end);
end $$;
comment on function api.get_wal_position() is
    'Returns the server''s identity and position in the write-ahead log: {"backend", "started", "is_replica", "system", "timeline", "database", "epoch", "lsn"}. system and timeline are null where the owner may not read them; lsn is the insert position or, on a replica, the replay position.';

create or replace function parley.system_identifier() returns bigint
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    if has_function_privilege('pg_control_system()', 'execute') then
        return (select s.system_identifier from pg_control_system() s);
    end if;
    return null;
end $$;

-- The control file has a new timeline only after the next checkpoint or, on a replica, the next restartpoint.
create or replace function parley.timeline() returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    if not pg_is_in_recovery() and has_function_privilege('pg_walfile_name(pg_lsn)', 'execute') then
        return left(pg_walfile_name(pg_current_wal_insert_lsn()), 8);
    elsif has_function_privilege('pg_control_checkpoint()', 'execute') then
        return lpad(upper(to_hex((select c.timeline_id from pg_control_checkpoint() c))), 8, '0');
    end if;
    return null;
end $$;

create or replace function parley.epoch() returns uuid
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select s.epoch from parley.outbox_state s
$$;
