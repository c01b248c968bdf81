#!/usr/bin/env bash
# Proves that backups can be restored: makes one of each kind, restores it, and compares it with the original database.
#
#   DATABASE_URL=postgresql://postgres@db/parley sql/restore_drill.sh DIRECTORY
#
# dump    pg_dumpall --roles-only and pg_dump -Fc, restored into a new cluster
# backup  pg_basebackup, checked by pg_verifybackup, and recovered up to a named restore point
#
# Prints a line for each check: "identical", or the differences ("<" in the original, ">" in the copy). The exit status is 0
# if there are none, else 1. Clients can work meanwhile: both copies are compared with the same moment, at which writers wait
# some milliseconds. The original is only read, except that the restore point is written to its WAL.
#
# Requirements:
# - A superuser who may also make replication connections. Put the password into PGPASSWORD or ~/.pgpass, because all users
#   of a machine can read the arguments of programs.
# - An empty directory, with room for three times the database. The copies in it are removed at the end.
# - PostgreSQL's programs in the PATH, in the server's version, and Bash 4 or newer.
set -euo pipefail
umask 077
here=$(cd "$(dirname "$0")" && pwd -P)

fail() {
    echo "restore_drill: $1" >&2
    exit 1
}

[[ $# -eq 1 ]] || fail "takes one argument, an empty directory"
[[ -n ${DATABASE_URL:-} ]] || fail "DATABASE_URL is not set"
[[ $(id -u) -ne 0 ]] || fail "can't run as root, for PostgreSQL does not"
{ mkdir -p "$1" && cd "$1" && chmod 700 .; } || fail "$1 is not to be had"
directory=$(pwd -P)
[[ -z $(ls -A) ]] || fail "$directory is not empty"
[[ ${#directory} -le 80 ]] || fail "$directory is too long for the name of a socket"

status=0
trap 'stop backup; stop dump; rm -rf backup dump dump.custom' EXIT
trap 'exit 1' INT TERM HUP PIPE

# Prints the result of one check of a copy: the number of compared lines, or the differences.
report() {
    local difference
    difference=$(head -n 3 <<<"$4" | cut -c 1-200)
    printf '%-6s  %-18s  %s\n' "$1" "$2" "${difference:-identical${3:+, $3}}"
    [[ -z $difference ]] || status=1
}

# Runs a statement in the session that holds the snapshot, and prints the result.
ask() {
    local line
    printf '%s\n\\echo :::\n' "$1" >&3
    while IFS= read -r line <&4; do
        [[ $line != ::: ]] || return 0
        printf '%s\n' "$line"
    done
    fail "the session with the original has ended: $(tail -n 1 session.log)"
}

# Runs a program on a running copy, as the superuser with the name of the original's. No other user can reach its socket.
on_copy() {
    env -u PGPASSWORD PGHOST="$directory" PGPORT=5432 PGUSER="$superuser" PGDATABASE="$database" "$@"
}

start() {
    local settings=(config_file="$directory/empty.conf" hba_file="$directory/hba.conf" port=5432 listen_addresses=
        unix_socket_directories="$directory" fsync=off archive_mode=off ssl=off logging_collector=off
        shared_preload_libraries= synchronous_standby_names= "${@:2}")
    : >empty.conf
    echo 'local all all trust' >hba.conf
    pg_ctl start --silent -t 3600 -D "$1" -l "$1.log" -o "$(printf " -c '%s'" "${settings[@]}")"
}

stop() {
    [[ ! -f $1/postmaster.pid ]] || pg_ctl stop --silent -m immediate -D "$1" >>"$1.log" 2>&1 || true
}

# Removes what differs between two dumps of the same schema: comments, blank lines, \restrict keys and parentheses.
without_noise() {
    grep -vE '^(--.*|\\(un)?restrict .*|)$' | tr -d '()'
}

lines_of() {
    grep "^$1|" "$2.found" || true
}

# Prints the sequences that are behind, or too far ahead. Sequences are not transactional, and PostgreSQL logs 32 values ahead.
wrong_sequences() {
    on_copy psql -XAtq -v then="$sequences" -v now="$sequences_now" <<'SQL'
    select format('%s is %s, not from %s to %s', key, s.last_value, t.value, n.value)
    from json_each_text(:'then') t join json_each_text(:'now') n using (key)
        left join pg_sequences s on format('%I.%I', s.schemaname, s.sequencename) = key
    where coalesce(s.last_value, 0) not between t.value::bigint and n.value::bigint + 32 * s.increment_by
       or s.increment_by is null;
SQL
}

# Prints what row-level security wrongly hides from a member of the largest chat, or wrongly shows to another user.
wrongly_seen() {
    on_copy psql -XAtq -v login="$login" <<'SQL'
    select coalesce(max(c.id::text), '00000000-0000-0000-0000-000000000000') as chat,
        coalesce(max(c.member), '') as member, coalesce(max(c.message_count), 0) as messages, count(*) as chats
    from (
        select c.id, c.message_count, m.user_id as member from parley.chats c join parley.members m on m.chat_id = c.id
        order by c.message_count desc limit 1) c \gset
    set session authorization :"login";
    begin;
    select set_config('parley.user_id', :'member', true) \g /dev/null
    select format('a member sees %s chats with %s messages, not %s with %s', c.n, m.n, :chats, :messages)
    from (select count(*) from parley.chats where id = :'chat') c (n),
        (select count(*) from parley.messages where chat_id = :'chat') m (n)
    where (c.n, m.n) <> (:chats, :messages);
    select set_config('parley.user_id', 'a stranger', true) \g /dev/null
    select format('a stranger sees %s chats with %s messages', c.n, m.n)
    from (select count(*) from parley.chats) c (n), (select count(*) from parley.messages) m (n)
    where (c.n, m.n) <> (0, 0);
SQL
}

# Compares the running copy with the original.
compare() {
    local section
    if ! on_copy psql -XAtq -v ON_ERROR_STOP=1 -v roles="$roles" -f "$here/restore_drill.sql" \
        >"$1.found" 2>"$1.errors" ||
        ! on_copy pg_dump --schema-only 2>"$1.errors" | without_noise >"$1.schema"; then
        report "$1" reading "" "$(tail -n 1 "$1.errors")"
    fi
    report "$1" schema "$(wc -l <original.schema) lines" "$(diff original.schema "$1.schema" | grep '^[<>]')"
    for section in "row-level security" policies roles memberships grants rows; do
        report "$1" "$section" "$(lines_of "$section" original | wc -l)" \
            "$(diff <(lines_of "$section" original) <(lines_of "$section" "$1") | grep '^[<>]')"
    done
    report "$1" sequences "or ahead as they may be" "$(wrong_sequences 2>&1)"
    report "$1" "who sees what" "by a member and a stranger" "$(wrongly_seen 2>&1)"
}

# --- Make the base backup, and read properties of the original.

# The time-outs of the server or the database are meant for requests.
export PGOPTIONS="${PGOPTIONS:-} -c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
original=(psql -XAtq -v ON_ERROR_STOP=1 "$DATABASE_URL")
superuser=$("${original[@]}" -c "select rolname from pg_roles where oid = 10")
database=$("${original[@]}" -c "select current_database()")
login=$("${original[@]}" -c "select coalesce((select min(rolname) from pg_roles
    where rolcanlogin and not rolsuper and pg_has_role(oid, 'parley_api', 'usage') and not pg_has_role(oid, (
        select relowner from pg_class where oid = 'parley.chats'::regclass), 'usage')), 'parley_api')")
tables=$("${original[@]}" -c "select string_agg(c.oid::regclass::text, ', ')
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname !~ '^(pg_|information_schema$)' and c.relkind in ('r', 'p') and not c.relispartition")
limits=$("${original[@]}" -c "select name || '=' || setting from pg_settings where name in ('max_connections',
    'max_worker_processes', 'max_wal_senders', 'max_prepared_transactions', 'max_locks_per_transaction')")
# The roles that own objects or have privileges in this database, and all roles connected to them by memberships.
roles=$("${original[@]}" <<'SQL'
    with recursive needed (id) as (
        select d.refobjid from pg_shdepend d, pg_database b
        where b.datname = current_database() and d.refclassid = 'pg_authid'::regclass
          and (d.dbid = b.oid or d.classid = 'pg_database'::regclass and d.objid = b.oid)
        union
        select also.id from needed n join pg_auth_members a on n.id in (a.roleid, a.member)
        cross join lateral (values (a.roleid), (a.member), (a.grantor)) also (id)
    )
    select array_agg(r.rolname order by r.rolname) from needed n join pg_roles r on r.oid = n.id where r.oid >= 16384
SQL
)

pg_basebackup -d "$DATABASE_URL" -D backup -X stream -c fast -R --no-sync 2>backup.log || fail "$(tail -n 1 backup.log)"
damage=$(pg_verifybackup -q backup 2>&1) && damage=
report backup files "by pg_verifybackup" "$damage"

# --- Create the restore point and the snapshot while all tables are locked against writes, so that both have the same rows.
# Then release the locks and keep the snapshot. Locks that cannot be acquired soon are given up and retried, before
# PostgreSQL would check for a deadlock.

coproc session { exec "${original[@]}" -v ON_ERROR_STOP=0 -v roles="$roles" 2>session.log; }
exec 3>&"${session[1]}" 4<&"${session[0]}"
point=restore_drill_$(date +%s)
ask "select set_config(name, '0', false) from pg_settings where name = 'transaction_timeout' \\g /dev/null"
for tries_left in {50..0}; do
    locked=$(ask "begin isolation level repeatable read; savepoint before; set local lock_timeout = '400ms';
        lock table $tables in share mode; select 'locked';")
    [[ $locked != locked ]] || break
    [[ $tries_left -gt 0 ]] || fail "the tables are never free: $(tail -n 1 session.log)"
    ask "rollback;"
    sleep "0.$RANDOM"
done
ask "\\set ON_ERROR_STOP on"
count_sequences="select json_object_agg(format('%I.%I', schemaname, sequencename), coalesce(last_value, 0)) from pg_sequences;"
ask "select pg_create_restore_point('$point') \\g /dev/null"
sequences=$(ask "$count_sequences")
ask "rollback to savepoint before; release savepoint before;"
snapshot=$(ask "select pg_export_snapshot();")

# --- Recover the base backup up to the restore point, while the original still has the WAL.

# The restore point is sent when it is flushed, at the next commit. An idle server has no next commit, so make one.
"${original[@]}" -c "set synchronous_commit = local; select pg_logical_emit_message(true, 'restore_drill', '')" >>session.log
if [[ -z $damage ]]; then
    mapfile -t limits <<<"$limits"
    start backup hot_standby=on recovery_target_name="$point" recovery_target_action=promote "${limits[@]}" \
        >>backup.log 2>&1 || true
    until [[ $(on_copy psql -XAtc "select pg_is_in_recovery()" 2>>backup.log) == f ]]; do
        pg_ctl status -D backup >/dev/null || break
        sleep 0.2
    done
fi

# --- Make the dump, and read the original's rows in the same snapshot.

pg_dumpall -d "$DATABASE_URL" --roles-only --no-role-passwords >all_roles.sql
pg_dump "$DATABASE_URL" --snapshot="$snapshot" -Fc -f dump.custom
pg_dump "$DATABASE_URL" --snapshot="$snapshot" --schema-only | without_noise >original.schema
ask "\\i '$here/restore_drill.sql'" >original.found
sequences_now=$(ask "$count_sequences")
ask "commit;"

if [[ -z $damage ]]; then
    compare backup
    stop backup
fi

# --- Restore the dump into a new cluster.

"${original[@]}" -v roles="$roles" >needed <<'SQL'
    select format(line, r) from unnest(:'roles'::name[]) r,
        unnest('{"CREATE ROLE %I;","ALTER ROLE %I "," TO %I;"," TO %I "}'::text[]) line
SQL
grep -F -f needed all_roles.sql >roles.sql
restore() {
    initdb -D dump -U "$superuser" -A trust --no-sync &&
        start dump &&
        on_copy psql -XAtq -v ON_ERROR_STOP=1 -d template1 -c "drop database postgres" -f roles.sql &&
        on_copy pg_restore -e -C -d template1 dump.custom
}
if restore >dump.errors 2>&1; then
    compare dump
else
    report dump restore "" "$(tail -n 1 dump.errors)"
fi
exit $status
