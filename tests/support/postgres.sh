#!/bin/sh
# Runs a command beside a PostgreSQL server of its own: in a temporary folder, on a Unix socket and a free
# loopback port, as a user without rights, gone afterwards.
#
#   sh tests/support/postgres.sh COMMAND...
#
# The command finds TRIAGE_TEST_SERVER (postgresql://...), PGHOST, PGPORT, PGUSER, and TRIAGE_TEST_PG (this
# script), which restarts the server: sh "$TRIAGE_TEST_PG" --restart. Exit code 77: no server can be started.
# TRIAGE_TEST_LISTEN: addresses besides the socket (default 127.0.0.1).
set -eu

as_server() {
    if [ "$(id -u)" -eq 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi
}
control() { as_server "$bin/pg_ctl" -D "$TRIAGE_TEST_PG_DATA" -s "$@"; }

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$bin" ] || bin=$(dirname "$(command -v pg_ctl 2>/dev/null || echo /nowhere/pg_ctl)")
if [ ! -x "$bin/pg_ctl" ]; then
    echo "skipped: no PostgreSQL server (Debian package postgresql)"
    exit 77
fi
if [ "${1:-}" = --restart ]; then
    # The server keeps what it inherits: a caller that reads our output would wait for its end.
    control restart -m "${2:-fast}" -w -t 300 -l "$TRIAGE_TEST_PG_DATA/server.log" >/dev/null 2>&1
    exit 0
fi
if [ "$(id -u)" -eq 0 ] && ! id postgres >/dev/null 2>&1; then
    echo "skipped: no user postgres to run the server as"
    exit 77
fi

folder=$(mktemp -d /tmp/triage-pg-XXXXXX)
TRIAGE_TEST_PG_DATA=$folder/data
TRIAGE_TEST_PG=$(cd "$(dirname "$0")" && pwd)/postgres.sh
export TRIAGE_TEST_PG_DATA TRIAGE_TEST_PG
[ "$(id -u)" -ne 0 ] || chown postgres: "$folder"
chmod 711 "$folder"
stop() {
    control stop -m immediate -w -t 20 >/dev/null 2>&1 || true
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT TERM

if ! as_server "$bin/initdb" -D "$TRIAGE_TEST_PG_DATA" -U triage_test -A trust -E UTF8 --locale=C.UTF-8 -N \
    >"$folder/initdb.log" 2>&1; then
    cat "$folder/initdb.log"
    echo "skipped: initdb failed"
    exit 77
fi
as_server sh -c 'cat >>"$1"' sh "$TRIAGE_TEST_PG_DATA/postgresql.conf" <<CONF
unix_socket_directories = '$folder'
listen_addresses = '${TRIAGE_TEST_LISTEN:-127.0.0.1}'
max_connections = 200
shared_buffers = 256MB
log_min_messages = log
log_line_prefix = '%m [%p] %u@%d '
CONF
[ -z "${TRIAGE_TEST_LISTEN:-}" ] || echo "host all all 10.99.0.0/16 trust" |
    as_server sh -c 'cat >>"$1"' sh "$TRIAGE_TEST_PG_DATA/pg_hba.conf"
started=no
for try in 1 2 3 4 5; do
    PGPORT=$((20000 + ($$ + try * 7919) % 20000))
    echo "port = $PGPORT" | as_server sh -c 'cat >>"$1"' sh "$TRIAGE_TEST_PG_DATA/postgresql.conf"
    if as_server "$bin/pg_ctl" -D "$TRIAGE_TEST_PG_DATA" -s -w -t 300 -l "$TRIAGE_TEST_PG_DATA/server.log" start; then
        started=yes
        break
    fi
done
if [ "$started" = no ]; then
    tail -n 20 "$TRIAGE_TEST_PG_DATA/server.log" || true
    echo "skipped: the PostgreSQL server does not start"
    exit 77
fi
export PGPORT PGHOST="$folder" PGUSER=triage_test PATH="$PATH:$bin"
TRIAGE_TEST_SERVER="postgresql://triage_test@/postgres?host=$folder&port=$PGPORT"
export TRIAGE_TEST_SERVER
code=0
"$@" || code=$?
exit "$code"
