#!/bin/sh
# How fast lookups and syncs are in large databases (docs/fleet.md has results). Not part of CI.
#
#   sh tests/bench_store.sh BIN_DIR [SERVER_ROWS [FILE_ROWS [RESULT.json]]]     (default 10000000 1000000)
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
result=${4:-}
home=$(mktemp -d /tmp/triage-bench-XXXXXX)
trap 'rm -rf "$home"' EXIT
export HOME="$home"
lines=$home/lines.json
say() { tee -a "$lines"; }
createdb bench
server=$(echo "$TRIAGE_TEST_SERVER" | sed 's|/postgres?|/bench?|')
"$bin/triage_db" setup --server "$server" >/dev/null
"$bin/bench_store" seed "$server" "$home/small.db" >/dev/null # one real row on both sides

# 100 candidates a problem, two rows each; candidate 0 is that of the seed row, and the winner. The problems are
# those of bench_store.c (problem_at). In portions: a statement's new rows are kept until its end.
psql -d bench -XAtq -v ON_ERROR_STOP=1 -v rows="$server_rows" >/dev/null <<'SQL'
SET search_path = triage; SET synchronous_commit = off;
CREATE TEMP TABLE size AS SELECT * FROM unnest(ARRAY[1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576])
                          WITH ORDINALITY AS t (size, place);
INSERT INTO problem (key)
SELECT format('bsr_gemm f16 f16 row row none nobias m=%s n=%s k=%s block=64x64 density=1000 imbalance=10 overlap=1',
              m.size, 16 + 64 * (i / 100), k.size)
FROM generate_series(0, :rows / 200 - 1) i JOIN size m ON m.place = i % 10 + 1 JOIN size k ON k.place = i / 10 % 10 + 1
ORDER BY i ON CONFLICT DO NOTHING;
CREATE TEMP TABLE lattice AS
SELECT substring(key FROM ' n=(\d+)')::bigint / 64 * 100 + (k.place - 1) * 10 + m.place - 1 AS i, id
FROM problem JOIN size m ON m.size = substring(key FROM ' m=(\d+)')::int
             JOIN size k ON k.size = substring(key FROM ' k=(\d+)')::int;
ALTER TABLE lattice ADD PRIMARY KEY (i);
INSERT INTO candidate (source_hash, config, kernel)
SELECT md5('c' || i), 'wgmma bench=' || i, 'wgmma' FROM generate_series(1, 99) i;
CREATE TEMP TABLE contender AS
SELECT coalesce(substring(config FROM 'bench=(\d+)')::bigint, 0) AS i, id FROM candidate;
ANALYZE lattice, contender, problem, candidate;
SELECT format('INSERT INTO measurement (id, problem, device, candidate, origin, stage, outcome, reason, median_ns,
    low_ns, high_ns, min_ns, samples, cold_l2, row_error, row_error_limit, registers, spill_bytes, smem_bytes, seed,
    measured_at_ms, circumstances)
SELECT md5(g.i::text), p.id, m.device, c.id, m.origin, ''search'', ''right'', '''', t, t * 0.999, t * 1.001, t * 0.99,
       30, true, 1e-4, 6e-4, 168, 0, 196608, 1, m.measured_at_ms + g.i %% 2, m.circumstances
FROM (SELECT i, CASE WHEN i / 2 %% 100 = 0 THEN 900 ELSE 1000 + (hashint8(i) & 65535) END::float8 AS t
      FROM generate_series(%s::bigint, %s::bigint) i) g
JOIN lattice p ON p.i = g.i / 200 JOIN contender c ON c.i = g.i / 2 %% 100
CROSS JOIN (SELECT * FROM measurement ORDER BY seq LIMIT 1) m', first, least(first + 499999, :rows - 1))
FROM generate_series(0, :rows - 1, 500000) first \gexec
ANALYZE;
SELECT 'SELECT refresh_standings(1000)' FROM generate_series(1, :rows / 200000 + 1) \gexec
VACUUM ANALYZE standing; CHECKPOINT;
SQL
psql -d bench -XAtq <<'SQL' | say
SET search_path = triage;
SELECT format('{"what": "server database", "rows": %s, "problems": %s, "bytes": %s, "standing_bytes": %s, "unknown": %s}',
    (SELECT count(*) FROM measurement), (SELECT count(*) FROM problem), pg_database_size(current_database()),
    pg_total_relation_size('standing'), (SELECT count(*) FROM standing WHERE ranking IS NULL));
SQL
"$bin/bench_store" lookups "$server" "$server_rows" | say

"$bin/bench_store" fill "$home/local.db" "$file_rows" | say
echo "{\"what\": \"file database\", \"rows\": $file_rows, \"bytes\": $(stat -c %s "$home/local.db")}" | say
"$bin/bench_store" lookups "$home/local.db" "$file_rows" | say
last=$(psql -d bench -XAtq -c 'SELECT max(seq) FROM triage.measurement')
"$bin/bench_store" sync "$home/small.db" "$server" "$last" 10000 | say
[ -z "$result" ] || python3 - "$lines" "$result" "$(cd "$here" && git rev-parse --short HEAD)" <<'PY'
import json, os, platform, sqlite3, subprocess, sys, time
lines, result, commit = sys.argv[1:]
cpu = next(l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name"))
json.dump({"what": "lookups and syncs in large tuning databases (tests/bench_store.sh)",
           "machine": f"{os.cpu_count()} cores of {cpu}, shared with other work (load {os.getloadavg()[0]:.1f})",
           "date": time.strftime("%Y-%m-%d"), "commit": commit,
           "versions": {"postgresql": subprocess.check_output(["psql", "-d", "bench", "-XAtc", "SHOW server_version"], text=True).strip(),
                        "sqlite": sqlite3.sqlite_version, "kernel": platform.release()},
           "results": [json.loads(line) for line in open(lines)]}, open(result, "w"), indent=1)
PY
