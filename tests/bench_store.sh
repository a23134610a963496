#!/bin/sh
# How fast lookups and syncs are in large databases (docs/fleet.md has results). Not part of CI.
#
#   sh tests/bench_store.sh BIN_DIR [SERVER_ROWS [FILE_ROWS]]     (default 10000000 1000000)
#
# Makes a server of its own, fills it with measurements that only look like ones (their ids are of nothing), and
# prints medians. Needs about 1.2 GB of disk in /tmp for each million rows.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ "${INSIDE:-}" != yes ]; then
    INSIDE=yes exec sh "$here/support/postgres.sh" sh "$here/bench_store.sh" "$@"
fi
bin=$(cd "$1" && pwd)
server_rows=${2:-10000000}
file_rows=${3:-1000000}
home=$(mktemp -d /tmp/triage-bench-XXXXXX)
trap 'rm -rf "$home"' EXIT
export HOME="$home"
createdb bench
server=$(echo "$TRIAGE_TEST_SERVER" | sed 's|/postgres?|/bench?|')
"$bin/triage_db" setup --server "$server" >/dev/null
"$bin/bench_store" seed "$server" "$home/small.db" >/dev/null # one real row on both sides

# 100 candidates a problem, two rows each; the winner's key is that of the seed row's problem with another n.
psql -d bench -XAtq -v rows="$server_rows" <<'SQL'
SET search_path = triage; SET synchronous_commit = off;
INSERT INTO problem (key)
SELECT regexp_replace(p.key, ' n=\d+ ', ' n=' || i + 1000 || ' ') FROM problem p,
       generate_series(1, :rows / 200) i ORDER BY i LIMIT :rows / 200;
INSERT INTO candidate (source_hash, config, kernel)
SELECT md5('c' || i), 'wgmma bench=' || i, 'wgmma' FROM generate_series(0, 99) i;
INSERT INTO measurement (id, problem, device, candidate, origin, stage, outcome, reason, median_ns, low_ns, high_ns,
    min_ns, samples, cold_l2, row_error, row_error_limit, registers, spill_bytes, smem_bytes, seed,
    measured_at_ms, circumstances)
SELECT md5(i::text), p.id, m.device, c.id, m.origin, 'search', 'right', '', t, t * 0.999, t * 1.001, t * 0.99, 30,
       true, 1e-4, 6e-4, 168, 0, 196608, 1, m.measured_at_ms + i % 2, m.circumstances
FROM (SELECT i, 1000 + (hashint8(i) & 65535)::float8 AS t FROM generate_series(0, :rows - 1) i) g
JOIN (SELECT id, row_number() OVER (ORDER BY id) - 2 AS place FROM problem) p ON p.place = i / 200
JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM candidate WHERE config LIKE 'wgmma bench=%') c
     ON c.place = (i / 2) % 100
CROSS JOIN (SELECT * FROM measurement LIMIT 1) m;
ANALYZE; CHECKPOINT;
SELECT 'server: ' || count(*) || ' rows, ' || pg_size_pretty(pg_database_size(current_database())) FROM measurement;
SQL
"$bin/bench_store" lookups "$server" "server"

"$bin/bench_store" fill "$home/local.db" "$file_rows"
echo "file: $(du -k "$home/local.db" | cut -f1) KiB"
"$bin/bench_store" lookups "$home/local.db" "file"
last=$(psql -d bench -XAtq -c 'SELECT max(seq) FROM triage.measurement')
"$bin/bench_store" sync "$home/small.db" "$server" "$last" 10000
