#!/usr/bin/env bash
# Proves that backups restore: makes one of each kind, restores it beside the original, and compares the two.
#
#   DATABASE_URL=postgresql://postgres@db/parley sql/restore_drill.sh DIRECTORY
#
# dump    pg_dumpall --roles-only and pg_dump -Fc, restored into a fresh cluster
# backup  pg_basebackup, looked at by pg_verifybackup, and started as a copy that ends at a named restore point
#
# A line for each check says "identical", or what differs ("<" the original, ">" the copy); the status is 0 if nothing does,
# else 1. Others may work meanwhile: both copies are compared with one moment, for which writers wait some milliseconds.
# The original is read, and gets that restore point in its log. This takes a superuser who may connect for replication too. A password
# is best in PGPASSWORD or ~/.pgpass: everybody on a machine sees what programs are called with. The directory is to be
# empty, with room for three times the database; what holds data there is removed in the end. The PATH has PostgreSQL's
# programs, of the server's version. Bash is to be 4 or newer.
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

# One check of a copy: how much was compared, and what differs.
report() {
    local difference
    difference=$(head -n 3 <<<"$4" | cut -c 1-200)
    printf '%-6s  %-18s  %s\n' "$1" "$2" "${difference:-identical${3:+, $3}}"
    [[ -z $difference ]] || status=1
}

# Asks in the session that keeps the moment; prints the answer.
ask() {
    local line
    printf '%s\n\\echo :::\n' "$1" >&3
    while IFS= read -r line <&4; do
        [[ $line != ::: ]] || return 0
        printf '%s\n' "$line"
    done
    fail "the session with the original has ended: $(tail -n 1 session.log)"
}

# With a running copy, as the superuser who is called like the original's. Nobody else reaches its socket.
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

# Of a schema as pg_dump writes it, what neither differs from run to run nor is written otherwise once it was read.
without_noise() {
    grep -vE '^(--.*|\\(un)?restrict .*|)$' | tr -d '()'
}

lines_of() {
    grep "^$1|" "$2.found" || true
}

# Sequences that are behind, or more ahead than they may be: they know no moment, and PostgreSQL logs 32 values ahead.
wrong_sequences() {
    on_copy psql -XAtq -v then="$sequences" -v now="$sequences_now" <<'SQL'
    select format('%s is %s, not from %s to %s', key, s.last_value, t.value, n.value)
    from json_each_text(:'then') t join json_each_text(:'now') n using (key)
        left join pg_sequences s on format('%I.%I', s.schemaname, s.sequencename) = key
    where coalesce(s.last_value, 0) not between t.value::bigint and n.value::bigint + 32 * s.increment_by
       or s.increment_by is null;
SQL
}

# What a member of the largest chat does not see, and a stranger does, by a login of the API's.
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

# --- The backup, and what has to be known of the original.

# What the server or the database has is meant for requests.
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
# Who owns something here or has a right here, and all who are their members or whose members they are.
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

# --- The moment: nobody has the tables, so its restore point and its snapshot have the same rows. The locks go, the snapshot
# stays. Locks that are not to be had soon are given up and tried again, before PostgreSQL would look for a deadlock.

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

# --- The copy of the backup goes on to that moment, while the original still has the log.

# What is written last is sent when it is flushed: at the next commit, which an idle server has not got.
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

# --- The dump, and what the original has at that moment.

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

# --- The dump, into a fresh cluster.

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
