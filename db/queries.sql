-- Every statement of the SQLite store, loaded by name (src/store/sqlite.c). Parameters are named after the
-- fields of a measurement.

---- a connection ------------------------------------------------------------------------------------

-- name: configure_common
PRAGMA trusted_schema = OFF;
PRAGMA cell_size_check = ON;
PRAGMA mmap_size = 0;
PRAGMA temp_store = MEMORY;

-- name: configure_write
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;

-- name: configure_read
PRAGMA query_only = ON;

-- name: journal_wal
PRAGMA journal_mode = WAL;

-- WAL needs memory shared between all who open the file: not so over a network.
-- name: journal_delete
PRAGMA journal_mode = DELETE;

-- A file that is in WAL mode already is read without that memory while nobody else may open it.
-- name: lock_exclusive
PRAGMA locking_mode = EXCLUSIVE;

-- name: lock_normal
PRAGMA locking_mode = NORMAL;

-- name: application_id
PRAGMA application_id;

-- name: schema_version
PRAGMA user_version;

-- Schema 3 and later.
-- name: oldest_reader
SELECT oldest_reader FROM schema_version;

-- Tables, views and triggers; indexes may be added by anyone.
-- name: schema_objects
SELECT type, name, sql FROM sqlite_schema
WHERE type <> 'index' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'
ORDER BY type, name, sql;

-- name: begin
BEGIN IMMEDIATE;

-- name: commit
COMMIT;

-- name: rollback
ROLLBACK;

-- name: integrity
PRAGMA integrity_check(1);

-- name: dangling
PRAGMA foreign_key_check;

---- adding ------------------------------------------------------------------------------------------

-- name: has_measurement
SELECT 1 FROM measurement WHERE id = :id;

-- name: add_problem
INSERT INTO problem (key) VALUES (:problem) ON CONFLICT DO NOTHING;

-- name: add_device
INSERT INTO device (key) VALUES (:device) ON CONFLICT DO NOTHING;

-- name: add_candidate
INSERT INTO candidate (source_hash, config, kernel) VALUES (:source_hash, :config, :kernel)
ON CONFLICT DO NOTHING;

-- name: add_origin
INSERT INTO origin (host, device_name, compiler, version) VALUES (:host, :device_name, :compiler, :version)
ON CONFLICT DO NOTHING;

-- name: add_source
INSERT INTO source (tier, name) VALUES (:tier, :name) ON CONFLICT DO NOTHING;

-- What is here already keeps the better of its origins.
-- name: add_arrival
INSERT INTO arrival (row, source)
SELECT m.row, s.id FROM measurement m, source s WHERE m.id = :id AND s.tier = :tier AND s.name = :name
ON CONFLICT (row) DO UPDATE SET source = excluded.source
WHERE (SELECT tier FROM source WHERE id = excluded.source) < (SELECT tier FROM source WHERE id = arrival.source);

-- Once, for a file of before there were origins: what names this machine, in its own file, was measured here.
-- name: adopt
INSERT INTO arrival (row, source)
SELECT m.row, s.id FROM measurement m JOIN origin o ON o.id = m.origin, source s
WHERE o.host = :host AND s.tier = 0 ON CONFLICT DO NOTHING;

-- For a file that has no origins and is only read: as if nobody had noted any.
-- name: no_arrivals
PRAGMA query_only = OFF;
CREATE TEMP TABLE source (id INTEGER PRIMARY KEY, tier INTEGER);
CREATE TEMP TABLE arrival (row INTEGER PRIMARY KEY, source INTEGER);
PRAGMA query_only = ON;

-- name: add_measurement
INSERT INTO measurement (id, problem, device, candidate, origin, stage, outcome, reason, median_ns, low_ns,
                         high_ns, min_ns, samples, cold_l2, row_error, row_error_limit, registers, spill_bytes,
                         smem_bytes, seed, measured_at_ms, circumstances)
SELECT :id, p.id, d.id, c.id, o.id, :stage, :outcome, :reason, :median_ns, :low_ns, :high_ns, :min_ns,
       :samples, :cold_l2, :row_error, :row_error_limit, :registers, :spill_bytes, :smem_bytes, :seed,
       :measured_at_ms, :circumstances
FROM problem p, device d, candidate c, origin o
WHERE p.key = :problem AND d.key = :device
  AND c.source_hash = :source_hash AND c.config = :config AND c.kernel = :kernel
  AND o.host = :host AND o.device_name = :device_name AND o.compiler = :compiler AND o.version = :version;

---- reading -----------------------------------------------------------------------------------------

-- The verified candidates of one problem on one device, the winner first and its tie set after it: the numbers of
-- their rows only, so that a lookup reads one wide row and not all.
--
-- Trust. Rows have tiers (db/migrations/0004_trust.sql). Of each candidate only the rows of its best tier speak: what
-- was measured here, right or wrong, is not touched by what others say of it. Claims, of which nobody trusted knows
-- anything, come last, so one can win only where there is nothing else, and nothing else is compared with them. What
-- was measured here is ordered by arrival, whatever the clock said; what others tell, by their clocks, so that the same
-- rows give the same ranking in any order; what they date after today does not count.
--
-- A candidate speaks by its newest race (interleaved with the other finalists), else by its newest search,
-- of what was measured since it last failed when run. Cold and warm times do not compare: cold ones count if
-- there are any. Nor do races and searches, in between which the device may have warmed up: who has raced comes before
-- who has not, however fast its search was. Where a newer search speaks against a race (below), its time is charged the
-- factor by which the best of the race was slower there than in its own search.
--
-- Busy. What was timed while other programs were on the device (more than one process in the row's circumstances) tells
-- little: a candidate speaks by its quiet races, else by its busy ones, and by searches (quiet ones first) only if it
-- never raced; who has only busy rows comes after all who have quiet ones, among those who have raced and among those
-- who have not.
--
-- Drift. A row disagrees with an older one of its candidate when it is slower beyond noise: their intervals lie
-- apart, and its median is more than 2 % above (two runs on one machine differ by less). A newer search that
-- disagrees with the newest race speaks in its place: what is slower now counts, what is faster has to win a
-- race. Rivals keep the times that they have, old as they may be, until they are measured again; so the second
-- and third column name what moved: the older row, and its score, of a speaker that disagrees with the row
-- before it (its newest race, when a search speaks in its place, else the one before of the same stage), if with
-- that older time it would win.
--
-- Every order ends in columns that differ, so that equal evidence gives an equal ranking everywhere. Who changes
-- this empties the table standing, in a migration, and changes db/postgres alike (where all rows are of one tier).
-- name: ranking
WITH told AS (
    SELECT m.row, m.id, m.candidate, m.outcome, m.stage, m.cold_l2, m.median_ns, m.low_ns, m.high_ns,
           coalesce(s.tier, 2) AS tier, iif(s.tier = 0, m.row, m.measured_at_ms) AS at,
           m.row IN (SELECT row FROM measurement -- by the index measurement_busy
                     WHERE problem = (SELECT id FROM problem WHERE key = :problem)
                       AND device = (SELECT id FROM device WHERE key = :device)
                       AND (circumstances GLOB '*processes":[2-9]*'
                            OR circumstances GLOB '*processes":[1-9][0-9]*')) AS is_busy,
           min(coalesce(s.tier, 2)) OVER (PARTITION BY m.candidate) AS best_tier
    FROM measurement m LEFT JOIN arrival a ON a.row = m.row LEFT JOIN source s ON s.id = a.source
    WHERE m.problem = (SELECT id FROM problem WHERE key = :problem)
      AND m.device = (SELECT id FROM device WHERE key = :device)
      AND m.outcome IN ('right', 'slow', 'wrong', 'crashed', 'timed_out', 'launch_failed')
      -- a day for clocks that differ; a clock of before this was written is wrong, and judges nobody
      AND (s.tier = 0 OR m.measured_at_ms < (max(unixepoch(), 1796083200) + 86400) * 1000)
), failed AS (
    SELECT candidate, max(at) AS at FROM told
    WHERE tier = best_tier AND outcome NOT IN ('right', 'slow') GROUP BY candidate
), verified AS (
    SELECT row, id, candidate, outcome = 'right' AS is_right, stage = 'race' AS is_race, cold_l2, tier = 2 AS is_claim,
           told.at, is_busy,
           median_ns, low_ns, high_ns
    FROM told LEFT JOIN failed USING (candidate)
    WHERE tier = best_tier AND outcome IN ('right', 'slow') AND told.at > coalesce(failed.at, -1)
), warmth AS (
    SELECT is_claim, coalesce(max(iif(is_right, cold_l2, NULL)), max(cold_l2)) AS cold_l2 FROM verified GROUP BY is_claim
), ordered AS (
    SELECT *, row_number() OVER candidates AS turn,
           lag(is_race) OVER candidates AS lag_is_race,
           lead(row) OVER candidates AS lead_row, lead(is_race) OVER candidates AS lead_is_race,
           lead(is_busy) OVER candidates AS lead_is_busy,
           lead(is_right) OVER candidates AS lead_is_right, lead(median_ns) OVER candidates AS lead_median_ns,
           lead(high_ns) OVER candidates AS lead_high_ns,
           first_value(row) OVER candidates AS first_row, first_value(is_right) OVER candidates AS first_is_right,
           first_value(is_race) OVER candidates AS is_raced, first_value(is_busy) OVER candidates AS first_is_busy,
           first_value(at) OVER candidates AS first_at,
           first_value(median_ns) OVER candidates AS first_median_ns,
           first_value(high_ns) OVER candidates AS first_high_ns
    FROM verified JOIN warmth USING (is_claim, cold_l2)
    WINDOW candidates AS (PARTITION BY candidate
                          ORDER BY is_race DESC, is_busy, at DESC, median_ns, high_ns, low_ns, id)
), charge AS (
    SELECT race.is_claim, max(1.0, race.median_ns / search.median_ns) AS factor,
           row_number() OVER (PARTITION BY race.is_claim ORDER BY race.median_ns, search.turn, search.median_ns) AS place
    FROM ordered race JOIN ordered search USING (candidate)
    WHERE race.turn = 1 AND race.is_race AND race.is_right AND NOT search.is_race AND search.is_right
), doubt AS (
    SELECT candidate, turn FROM ordered
    WHERE NOT is_race AND lag_is_race AND at > first_at AND is_busy <= first_is_busy
      AND low_ns > first_high_ns AND median_ns > 1.02 * first_median_ns
), scored AS (
    SELECT o.*, doubt.turn IS NOT NULL AS is_doubt,
           o.median_ns * iif(o.is_race, 1.0, coalesce((SELECT factor FROM charge c WHERE c.is_claim = o.is_claim AND c.place = 1),
                                                      1.0)) AS score
    FROM ordered o LEFT JOIN doubt USING (candidate) WHERE o.turn = coalesce(doubt.turn, 1)
), best AS (
    SELECT is_claim, is_raced, is_busy, low_ns, high_ns, score FROM scored WHERE is_right
    ORDER BY is_claim, is_raced DESC, is_busy, score, median_ns, high_ns, low_ns LIMIT 1
), compared AS (
    SELECT *, iif(is_doubt, first_row, lead_row) AS older_row,
           iif(is_doubt, first_median_ns, lead_median_ns * score / median_ns) AS older_score,
           iif(is_doubt, first_is_right, lead_is_right AND lead_is_race = is_race AND lead_is_busy = is_busy
                         AND low_ns > lead_high_ns AND median_ns > 1.02 * lead_median_ns) AS is_slower
    FROM scored
)
SELECT s.row, iif(s.is_slower AND (s.is_claim, NOT s.is_raced, s.is_busy)
                                  <= (coalesce(best.is_claim, 1), NOT coalesce(best.is_raced, 0), coalesce(best.is_busy, 1))
                  AND s.older_score <= coalesce(best.score, s.older_score), s.older_row, NULL),
       s.older_score
FROM compared s JOIN candidate c ON c.id = s.candidate LEFT JOIN best
ORDER BY s.is_right DESC, s.is_claim, s.is_raced DESC, s.is_busy,
         (s.is_claim, s.is_raced, s.is_busy) = (best.is_claim, best.is_raced, best.is_busy)
         AND s.low_ns <= best.high_ns AND best.low_ns <= s.high_ns DESC, s.score, c.config, c.source_hash, c.kernel
LIMIT coalesce(:limit, -1);

-- Whether there is a row of the pair at all: cheaper to ask than the ranking of none.
-- name: is_measured
SELECT 1 FROM measurement
WHERE problem = (SELECT id FROM problem WHERE key = :problem) AND device = (SELECT id FROM device WHERE key = :device)
LIMIT 1;

-- No row where the standing is not known.
-- name: standing
SELECT j.value FROM standing s CROSS JOIN json_each(s.ranking) j
WHERE s.problem = (SELECT id FROM problem WHERE key = :problem)
  AND s.device = (SELECT id FROM device WHERE key = :device)
ORDER BY j.key LIMIT :limit;

-- name: standing_unknown
SELECT p.key, d.key FROM standing s JOIN problem p ON p.id = s.problem JOIN device d ON d.id = s.device
WHERE s.ranking IS NULL LIMIT :limit;

-- name: set_standing
UPDATE standing SET ranking = :ranking, drifted = :drifted, drifted_from = :drifted_from,
       (winner, winner_candidate, winner_ns) =
           (SELECT row, candidate, median_ns FROM measurement
            WHERE row = json_extract(:ranking, '$[0]') AND outcome = 'right')
WHERE problem = (SELECT id FROM problem WHERE key = :problem)
  AND device = (SELECT id FROM device WHERE key = :device);

-- Problems of a family in a box around another, the nearest first: their keys, and of each the winner's
-- configuration, source and median (NULL: none, or not known: then the fifth column is 0). The last column is no more
-- than the square of how many octaves the sizes are apart, times ln(2)^2: 1 - a/b is below ln(b/a). Octaves beyond
-- 2048 count a quarter, as in tri_problem_distance: what is below 2048 and what is above are added up.
-- There are few different m and k (layers), and many n (batches): the index is stepped through from one m to the
-- next, and from one k to the next, and only the n in between are read; the wide rows only of those that are chosen.
-- name: near
WITH RECURSIVE here (device) AS MATERIALIZED (
    SELECT id FROM device WHERE key = :device
), rows_of (m) AS (
    SELECT (SELECT min(s.m) FROM standing s WHERE s.device = here.device AND s.family = :family AND s.tuned
                                              AND s.m >= :m_low) FROM here
    UNION ALL
    SELECT (SELECT min(s.m) FROM standing s WHERE s.device = here.device AND s.family = :family AND s.tuned
                                              AND s.m > rows_of.m) FROM here, rows_of WHERE rows_of.m <= :m_high
), layer (m, k) AS (
    SELECT rows_of.m, (SELECT min(s.k) FROM standing s WHERE s.device = here.device AND s.family = :family AND s.tuned
                                                         AND s.m = rows_of.m AND s.k >= :k_low)
    FROM here, rows_of WHERE rows_of.m <= :m_high
    UNION ALL
    SELECT layer.m, (SELECT min(s.k) FROM standing s WHERE s.device = here.device AND s.family = :family AND s.tuned
                                                       AND s.m = layer.m AND s.k > layer.k)
    FROM here, layer WHERE layer.k <= :k_high
), found AS (
    SELECT problem, device, m * m + n * n + k * k AS apart FROM (
        SELECT s.problem, s.device,
               (1 - min(s.m, :m, 2048) * 1.0 / min(max(s.m, :m), 2048)) + 0.25 * (1 - max(min(s.m, :m), 2048) * 1.0 / max(s.m, :m, 2048)) AS m,
               (1 - min(s.n, :n, 2048) * 1.0 / min(max(s.n, :n), 2048)) + 0.25 * (1 - max(min(s.n, :n), 2048) * 1.0 / max(s.n, :n, 2048)) AS n,
               (1 - min(s.k, :k, 2048) * 1.0 / min(max(s.k, :k), 2048)) + 0.25 * (1 - max(min(s.k, :k), 2048) * 1.0 / max(s.k, :k, 2048)) AS k
        FROM here CROSS JOIN layer CROSS JOIN standing s
        WHERE s.device = here.device AND s.family = :family AND s.tuned AND s.m = layer.m AND s.k = layer.k
          AND layer.k <= :k_high AND s.n BETWEEN :n_low AND :n_high)
    ORDER BY apart LIMIT :limit
)
SELECT p.key, c.config, c.source_hash, s.winner_ns, s.ranking IS NOT NULL, f.apart
FROM found f CROSS JOIN problem p ON p.id = f.problem
CROSS JOIN standing s ON s.problem = f.problem AND s.device = f.device
LEFT JOIN candidate c ON c.id = s.winner_candidate
ORDER BY f.apart;

-- Of each [problem, configuration] of a JSON array: its place in it, and the medians of the problem's winner and
-- of that configuration there (NULL: not timed). Left out: whose standing is not known.
-- name: times
SELECT asked.key, s.winner_ns,
       (SELECT m.median_ns FROM candidate c
        CROSS JOIN measurement m ON m.candidate = c.id AND m.problem = s.problem AND m.device = s.device
        JOIN json_each(s.ranking) place ON place.value = m.row
        WHERE c.config = json_extract(asked.value, '$[1]') ORDER BY place.key LIMIT 1)
FROM json_each(:asked) asked
CROSS JOIN problem p ON p.key = json_extract(asked.value, '$[0]')
CROSS JOIN standing s ON s.problem = p.id AND s.device = (SELECT id FROM device WHERE key = :device)
WHERE s.winner IS NOT NULL;

-- The rows of what has drifted: the newer one, the older one, and the winner (itself, if it still wins).
-- name: drifted
SELECT p.key, d.key, newer.id, older.id, w.id
FROM standing s JOIN problem p ON p.id = s.problem JOIN device d ON d.id = s.device
JOIN measurement newer ON newer.row = s.drifted JOIN measurement older ON older.row = s.drifted_from
LEFT JOIN measurement w ON w.row = s.winner
WHERE s.drifted IS NOT NULL ORDER BY p.key, d.key;

-- Winners that were timed while other programs were on their device.
-- name: busy
SELECT w.id FROM measurement w JOIN standing s ON s.problem = w.problem AND s.device = w.device AND s.winner = w.row
JOIN problem p ON p.id = w.problem JOIN device d ON d.id = w.device
WHERE w.circumstances GLOB '*processes":[2-9]*' OR w.circumstances GLOB '*processes":[1-9][0-9]*'
ORDER BY p.key, d.key;

-- name: measurement
SELECT e.* FROM evidence e WHERE e.id = :id;

-- Problems with evidence on a device, those whose key is in [first, last): the ranking of each has the winner.
-- name: tuned
SELECT p.key, d.key FROM standing s JOIN problem p ON p.id = s.problem JOIN device d ON d.id = s.device
WHERE s.tuned AND p.key >= :first AND p.key < :last AND (:device IS NULL OR d.key = :device)
ORDER BY p.key, d.key;

-- As "tuned", in files of before there were standings.
-- name: tuned_by_rows
SELECT p.key, d.key FROM problem p CROSS JOIN device d
WHERE p.key >= :first AND p.key < :last AND (:device IS NULL OR d.key = :device)
  AND EXISTS (SELECT 1 FROM measurement m WHERE m.problem = p.id AND m.device = d.id AND m.outcome = 'right')
ORDER BY p.key, d.key;

-- The newest name: the one that its driver gives today.
-- name: devices
SELECT d.key, (SELECT o.device_name FROM measurement m JOIN origin o ON o.id = m.origin
               WHERE m.device = d.id ORDER BY m.row DESC LIMIT 1)
FROM device d ORDER BY d.key;

-- Of the best tier, as in "ranking": a time of after the last failure, the newest that was taken while the device was
-- quiet, else the newest; else that failure.
-- name: known
WITH told AS (
    SELECT m.id, m.stage, m.outcome IN ('right', 'slow') AS is_timed, coalesce(s.tier, 2) AS tier,
           iif(s.tier = 0, m.row, m.measured_at_ms) AS at,
           m.circumstances GLOB '*processes":[2-9]*' OR m.circumstances GLOB '*processes":[1-9][0-9]*' AS is_busy
    FROM candidate c JOIN measurement m ON m.candidate = c.id JOIN origin o ON o.id = m.origin
    LEFT JOIN arrival a ON a.row = m.row LEFT JOIN source s ON s.id = a.source
    WHERE c.source_hash = :source_hash
      AND m.problem = (SELECT id FROM problem WHERE key = :problem)
      AND m.device = (SELECT id FROM device WHERE key = :device)
      AND (:compiler IS NULL OR o.compiler = :compiler
           OR substr(:compiler, 1, length(o.compiler) + 1) = o.compiler || ' ') -- as it was written before it had a hash
), failed AS (
    SELECT tier, max(at) AS at FROM told WHERE NOT is_timed GROUP BY tier
)
SELECT e.*, told.tier FROM told CROSS JOIN evidence e ON e.id = told.id LEFT JOIN failed ON failed.tier = told.tier
ORDER BY told.tier, told.is_timed AND told.at > coalesce(failed.at, -1) DESC, told.is_timed AND told.is_busy,
         told.at DESC, told.is_timed, told.stage, told.id
LIMIT 1;

-- name: origin_of
SELECT coalesce(s.tier, 2), coalesce(s.name, '') FROM measurement m
LEFT JOIN arrival a ON a.row = m.row LEFT JOIN source s ON s.id = a.source
WHERE m.id = :id;

-- name: evidence_of_problem
SELECT e.* FROM evidence e
WHERE e.problem = :problem AND (:device IS NULL OR e.device = :device)
ORDER BY e.device, e.measured_at_ms DESC, e.id;

-- name: find
SELECT e.* FROM evidence e WHERE e.id >= :first AND e.id < :last ORDER BY e.id LIMIT 2;

-- name: each
SELECT e.* FROM evidence e ORDER BY e.id;

-- name: ids
SELECT id FROM measurement ORDER BY id;

---- a file from elsewhere: nothing in it is believed, neither its views nor that its rows refer to others ---

-- Five, when all are tables and found by number, not by reading the whole of them for each row.
-- name: foreign_tables
SELECT count(*) FROM sqlite_schema s JOIN pragma_table_info(s.name) c
WHERE s.type = 'table' AND s.rootpage > 0 AND s.sql LIKE 'CREATE TABLE %' AND c.pk = 1 AND upper(c.type) = 'INTEGER'
  AND ((s.name IN ('problem', 'device', 'candidate', 'origin') AND c.name = 'id')
       OR (s.name = 'measurement' AND c.name = 'row'));

-- name: foreign_rows
SELECT row FROM measurement ORDER BY row;

-- name: foreign_row
SELECT m.id, p.key AS problem, d.key AS device, o.device_name, c.kernel, c.config, c.source_hash, o.compiler,
       m.stage, m.outcome, m.reason, m.median_ns, m.low_ns, m.high_ns, m.min_ns, m.samples, m.cold_l2,
       m.row_error, m.row_error_limit, m.registers, m.spill_bytes, m.smem_bytes, m.seed, m.measured_at_ms,
       o.host, o.version, m.circumstances
FROM measurement m
LEFT JOIN problem p ON p.id = m.problem
LEFT JOIN device d ON d.id = m.device
LEFT JOIN candidate c ON c.id = m.candidate
LEFT JOIN origin o ON o.id = m.origin
WHERE m.row = :row;

---- a server: what it has of us, and we of it -------------------------------------------------------------

-- In the order of arrival, for those who have all up to :after. The number is the last column.
-- name: rows_after
SELECT e.*, m.row FROM measurement m JOIN evidence e ON e.id = m.id
WHERE m.row > :after ORDER BY m.row LIMIT :limit;

-- name: last_row
SELECT coalesce(max(row), 0) FROM measurement;

-- name: sync_state
SELECT pulled, pushed FROM server WHERE id = :server;

-- Never backwards: another process may have come further meanwhile.
-- name: set_pulled
INSERT INTO server (id, pulled, pushed) VALUES (:server, :number, 0)
ON CONFLICT (id) DO UPDATE SET pulled = max(pulled, excluded.pulled);

-- name: set_pushed
INSERT INTO server (id, pulled, pushed) VALUES (:server, 0, :number)
ON CONFLICT (id) DO UPDATE SET pushed = max(pushed, excluded.pushed);

-- name: forget_server
DELETE FROM server WHERE id = :server;

-- name: evidence_counts
SELECT (SELECT count(*) FROM measurement), (SELECT count(*) FROM problem), (SELECT count(*) FROM device),
       (SELECT page_count FROM pragma_page_count()) * (SELECT page_size FROM pragma_page_size());
