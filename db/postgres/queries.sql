-- Every statement of the PostgreSQL store, loaded by name (src/store/postgres.c): the same names, parameters and
-- columns as in db/queries.sql.

---- a connection ------------------------------------------------------------------------------------

-- A client that is gone holds nothing for long: every wait has an end.
-- name: configure
SET search_path = triage; SET statement_timeout = '20s'; SET lock_timeout = '15s';
SET idle_in_transaction_session_timeout = '15s'; SET client_min_messages = warning;

-- name: installed
SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = 'triage' AND tablename = 'schema_version';

-- name: schema_version
SELECT version, oldest_reader FROM triage.schema_version ORDER BY version DESC LIMIT 1;

-- name: begin_migration
BEGIN; SELECT pg_advisory_xact_lock(1414678849, 0);

-- name: commit
COMMIT;

-- name: rollback
ROLLBACK;

-- name: server_id
SELECT id FROM server;

-- name: last_row
SELECT coalesce(max(seq), 0) FROM measurement;

-- name: may_add
SELECT has_function_privilege('triage.add_evidence(jsonb)', 'EXECUTE')::int;

---- adding ------------------------------------------------------------------------------------------

-- name: add
SELECT triage.add_evidence(:lines::jsonb);

---- reading -----------------------------------------------------------------------------------------

-- db/queries.sql says what this means. Whole rows: one journey instead of one for each. The same text is in
-- ranking_of (migration 5), which fills in standings; here it serves what has none, and servers that are older.
-- name: ranking
WITH failed AS (
    SELECT candidate, max(measured_at_ms) AS last_ms FROM measurement
    WHERE problem = (SELECT id FROM problem WHERE key = :problem)
      AND device = (SELECT id FROM device WHERE key = :device)
      AND outcome IN ('wrong', 'crashed', 'timed_out', 'launch_failed')
    GROUP BY candidate
), verified AS (
    SELECT seq, id, candidate, outcome = 'right' AS is_right, stage = 'race' AS is_race, cold_l2, measured_at_ms,
           seq IN (SELECT seq FROM measurement WHERE problem = (SELECT id FROM problem WHERE key = :problem)
                     AND device = (SELECT id FROM device WHERE key = :device)
                   AND circumstances ~ 'processes":([2-9]|[1-9][0-9])') AS is_busy,
           median_ns, low_ns, high_ns
    FROM measurement LEFT JOIN failed USING (candidate)
    WHERE problem = (SELECT id FROM problem WHERE key = :problem)
      AND device = (SELECT id FROM device WHERE key = :device)
      AND outcome IN ('right', 'slow') AND measured_at_ms > coalesce(failed.last_ms, -1)
), ordered AS (
    SELECT *, row_number() OVER candidates AS turn,
           lag(is_race) OVER candidates AS lag_is_race,
           lead(seq) OVER candidates AS lead_seq, lead(is_race) OVER candidates AS lead_is_race,
           lead(is_busy) OVER candidates AS lead_is_busy,
           lead(is_right) OVER candidates AS lead_is_right, lead(median_ns) OVER candidates AS lead_median_ns,
           lead(high_ns) OVER candidates AS lead_high_ns,
           first_value(seq) OVER candidates AS first_seq, first_value(is_right) OVER candidates AS first_is_right,
           first_value(is_race) OVER candidates AS is_raced, first_value(is_busy) OVER candidates AS first_is_busy,
           first_value(measured_at_ms) OVER candidates AS first_at,
           first_value(median_ns) OVER candidates AS first_median_ns,
           first_value(high_ns) OVER candidates AS first_high_ns
    FROM verified WHERE cold_l2 = (SELECT cold_l2 FROM verified ORDER BY is_right DESC, cold_l2 DESC LIMIT 1)
    WINDOW candidates AS (PARTITION BY candidate ORDER BY is_race DESC, is_busy, measured_at_ms DESC, median_ns, high_ns,
                          low_ns, id)
), charge AS (
    SELECT greatest(1.0::float8, race.median_ns / search.median_ns) AS factor
    FROM ordered race JOIN ordered search USING (candidate)
    WHERE race.turn = 1 AND race.is_race AND race.is_right AND NOT search.is_race AND search.is_right
    ORDER BY race.median_ns, search.turn, search.median_ns LIMIT 1
), doubt AS (
    SELECT candidate, turn FROM ordered
    WHERE NOT is_race AND lag_is_race AND measured_at_ms > first_at AND is_busy <= first_is_busy
      AND low_ns > first_high_ns AND median_ns > 1.02::float8 * first_median_ns
), scored AS (
    SELECT o.*, doubt.turn IS NOT NULL AS is_doubt,
           o.median_ns * CASE WHEN o.is_race THEN 1.0::float8
                              ELSE coalesce((SELECT factor FROM charge), 1.0::float8) END AS score
    FROM ordered o LEFT JOIN doubt USING (candidate) WHERE o.turn = coalesce(doubt.turn, 1)
), best AS (
    SELECT is_raced, is_busy, low_ns, high_ns, score FROM scored WHERE is_right
    ORDER BY is_raced DESC, is_busy, score, median_ns, high_ns, low_ns LIMIT 1
), compared AS (
    SELECT *, CASE WHEN is_doubt THEN first_seq ELSE lead_seq END AS older_seq,
           CASE WHEN is_doubt THEN first_median_ns ELSE lead_median_ns * score / median_ns END AS older_score,
           CASE WHEN is_doubt THEN first_is_right
                ELSE lead_is_right AND lead_is_race = is_race AND lead_is_busy = is_busy AND low_ns > lead_high_ns
                     AND median_ns > 1.02::float8 * lead_median_ns END AS is_slower
    FROM scored
), ranked AS (
    SELECT s.seq,
           CASE WHEN s.is_slower AND (NOT s.is_raced, s.is_busy)
                                     <= (NOT coalesce(best.is_raced, false), coalesce(best.is_busy, true))
                     AND s.older_score <= coalesce(best.score, s.older_score)
                THEN s.older_seq END AS older,
           s.older_score, row_number() OVER (
        ORDER BY s.is_right DESC, s.is_raced DESC, s.is_busy,
                 (s.is_raced, s.is_busy) = (best.is_raced, best.is_busy) AND s.low_ns <= best.high_ns AND best.low_ns <= s.high_ns DESC, s.score,
                 c.config, c.source_hash, c.kernel) AS place
    FROM compared s JOIN candidate c ON c.id = s.candidate LEFT JOIN best ON true
)
SELECT e.*, r.older, r.older_score FROM (SELECT * FROM ranked ORDER BY place LIMIT :limit::bigint) r
CROSS JOIN LATERAL (SELECT * FROM evidence WHERE seq = r.seq) e ORDER BY r.place;

-- No row where the standing is not known.
-- Whether there is a row of the pair at all: cheaper to ask than the ranking of none.
-- name: is_measured
SELECT 1 FROM measurement
WHERE problem = (SELECT id FROM problem WHERE key = :problem) AND device = (SELECT id FROM device WHERE key = :device)
LIMIT 1;

-- name: standing
SELECT e.* FROM standing s
CROSS JOIN LATERAL unnest(s.ranking[1 : least(:limit::bigint, 2147483647)::integer]) WITH ORDINALITY AS r (seq, place)
CROSS JOIN LATERAL (SELECT * FROM evidence WHERE seq = r.seq) e
WHERE s.problem = (SELECT id FROM problem WHERE key = :problem)
  AND s.device = (SELECT id FROM device WHERE key = :device)
ORDER BY r.place;

-- name: refresh
SELECT triage.refresh_standings(:limit::integer);

-- LATERAL, OFFSET and LIMIT: the few are looked up one by one, where a join might read all.
-- name: near
WITH RECURSIVE here AS MATERIALIZED (
    SELECT id AS device FROM device WHERE key = :device
), rows_of AS (
    SELECT (SELECT min(s.m) FROM standing s WHERE s.device = here.device AND s.family = :family AND s.tuned
                                              AND s.m >= :m_low::bigint) AS m FROM here
    UNION ALL
    SELECT (SELECT min(s.m) FROM standing s WHERE s.device = here.device AND s.family = :family AND s.tuned
                                              AND s.m > rows_of.m) FROM here, rows_of WHERE rows_of.m <= :m_high::bigint
), layer AS (
    SELECT rows_of.m, (SELECT min(s.k) FROM standing s WHERE s.device = here.device AND s.family = :family AND s.tuned
                                                         AND s.m = rows_of.m AND s.k >= :k_low::bigint) AS k
    FROM here, rows_of WHERE rows_of.m <= :m_high::bigint
    UNION ALL
    SELECT layer.m, (SELECT min(s.k) FROM standing s WHERE s.device = here.device AND s.family = :family AND s.tuned
                                                       AND s.m = layer.m AND s.k > layer.k)
    FROM here, layer WHERE layer.k <= :k_high::bigint
), found AS (
    SELECT s.problem, here.device,
           ((1 - least(s.m, :m::bigint, 2048) / least(greatest(s.m, :m::bigint), 2048)::float8)
            + 0.25 * (1 - greatest(least(s.m, :m::bigint), 2048) / greatest(s.m, :m::bigint, 2048)::float8)) ^ 2
           + ((1 - least(s.n, :n::bigint, 2048) / least(greatest(s.n, :n::bigint), 2048)::float8)
            + 0.25 * (1 - greatest(least(s.n, :n::bigint), 2048) / greatest(s.n, :n::bigint, 2048)::float8)) ^ 2
           + ((1 - least(s.k, :k::bigint, 2048) / least(greatest(s.k, :k::bigint), 2048)::float8)
            + 0.25 * (1 - greatest(least(s.k, :k::bigint), 2048) / greatest(s.k, :k::bigint, 2048)::float8)) ^ 2 AS apart
    FROM here, layer CROSS JOIN LATERAL (
        SELECT problem, m, n, k FROM standing
        WHERE device = here.device AND family = :family AND tuned AND m = layer.m AND k = layer.k
          AND n BETWEEN :n_low::bigint AND :n_high::bigint OFFSET 0) s
    WHERE layer.k <= :k_high::bigint
    ORDER BY apart LIMIT :limit::bigint
)
SELECT p.key, c.config, c.source_hash, s.winner_ns, s.known::int, f.apart
FROM found f
CROSS JOIN LATERAL (SELECT key FROM problem WHERE id = f.problem LIMIT 1) p
CROSS JOIN LATERAL (SELECT winner_candidate, winner_ns, ranking IS NOT NULL AS known FROM standing
                    WHERE problem = f.problem AND device = f.device LIMIT 1) s
LEFT JOIN LATERAL (SELECT config, source_hash FROM candidate WHERE id = s.winner_candidate LIMIT 1) c ON true
ORDER BY f.apart;

-- name: times
SELECT asked.number - 1, s.winner_ns, found.median_ns
FROM jsonb_array_elements(:asked::jsonb) WITH ORDINALITY AS asked (pair, number)
CROSS JOIN LATERAL (SELECT id FROM problem WHERE key = asked.pair ->> 0 LIMIT 1) p
CROSS JOIN LATERAL (SELECT * FROM standing WHERE problem = p.id AND device = (SELECT id FROM device WHERE key = :device)
                    AND winner IS NOT NULL LIMIT 1) s
LEFT JOIN LATERAL (
    SELECT m.median_ns FROM candidate c
    JOIN measurement m ON m.candidate = c.id AND m.problem = s.problem AND m.device = s.device
    WHERE c.config = asked.pair ->> 1 AND m.seq = ANY (s.ranking)
    ORDER BY array_position(s.ranking, m.seq) LIMIT 1) found ON true;

-- name: drifted
SELECT p.key, d.key, newer.id, older.id, w.id
FROM standing s JOIN problem p ON p.id = s.problem JOIN device d ON d.id = s.device
JOIN measurement newer ON newer.seq = s.drifted JOIN measurement older ON older.seq = s.drifted_from
LEFT JOIN measurement w ON w.seq = s.winner
WHERE s.drifted IS NOT NULL ORDER BY p.key, d.key;

-- name: standings_unknown
SELECT count(*) FROM standing WHERE ranking IS NULL;

-- name: busy
SELECT w.id FROM measurement w JOIN standing s ON s.problem = w.problem AND s.device = w.device AND s.winner = w.seq
JOIN problem p ON p.id = w.problem JOIN device d ON d.id = w.device
WHERE w.circumstances ~ 'processes":([2-9]|[1-9][0-9])'
ORDER BY p.key, d.key;

-- name: measurement
SELECT e.* FROM evidence e WHERE e.id = :id;

-- name: tuned
SELECT p.key, d.key FROM standing s JOIN problem p ON p.id = s.problem JOIN device d ON d.id = s.device
WHERE s.tuned AND p.key >= :first AND p.key < :last AND (:device::text IS NULL OR d.key = :device)
ORDER BY p.key, d.key;

-- As "tuned", on servers of before there were standings. LIMIT 1: one look into the index for each problem, where
-- EXISTS may become a join with all measurements.
-- name: tuned_by_rows
SELECT p.key, d.key FROM problem p CROSS JOIN device d
CROSS JOIN LATERAL (SELECT FROM measurement m
                    WHERE m.problem = p.id AND m.device = d.id AND m.outcome = 'right' LIMIT 1) one
WHERE p.key >= :first AND p.key < :last AND (:device::text IS NULL OR d.key = :device)
ORDER BY p.key, d.key;

-- The newest name: the one that its driver gives today.
-- name: devices
SELECT d.key, (SELECT o.device_name FROM measurement m JOIN origin o ON o.id = m.origin
               WHERE m.device = d.id ORDER BY m.seq DESC LIMIT 1)
FROM device d ORDER BY d.key;

-- name: known
WITH told AS (
    SELECT m.seq, m.id, m.stage, m.outcome IN ('right', 'slow') AS is_timed, m.measured_at_ms AS at,
           m.circumstances ~ 'processes":([2-9]|[1-9][0-9])' AS is_busy
    FROM candidate c JOIN measurement m ON m.candidate = c.id JOIN origin o ON o.id = m.origin
    WHERE c.source_hash = :source_hash
      AND m.problem = (SELECT id FROM problem WHERE key = :problem)
      AND m.device = (SELECT id FROM device WHERE key = :device)
      AND (:compiler::text IS NULL OR o.compiler = :compiler
           OR left(:compiler, length(o.compiler) + 1) = o.compiler || ' ')
)
SELECT e.* FROM told JOIN evidence e ON e.seq = told.seq
ORDER BY told.is_timed AND told.at > coalesce((SELECT max(at) FROM told WHERE NOT is_timed), -1) DESC,
         told.is_timed AND told.is_busy, told.at DESC, told.is_timed, told.stage, told.id
LIMIT 1;

-- name: evidence_of_problem
SELECT e.* FROM evidence e
WHERE e.problem = :problem AND (:device::text IS NULL OR e.device = :device)
ORDER BY e.device, e.measured_at_ms DESC, e.id;

-- name: find
SELECT e.* FROM evidence e WHERE e.id >= :first AND e.id < :last ORDER BY e.id LIMIT 2;

-- What can be long comes in pages: :page is the first column of the last row, "" before the first.
-- name: each
SELECT e.* FROM evidence e WHERE e.id > :page ORDER BY e.id LIMIT 1000;

-- name: ids
SELECT id FROM measurement WHERE id > :page ORDER BY id LIMIT 1000;

-- In the order of arrival, for those who have all up to :after.
-- name: rows_after
SELECT e.* FROM evidence e WHERE e.seq > :after::bigint ORDER BY e.seq LIMIT :limit::bigint;

---- jobs ------------------------------------------------------------------------------------------------

-- In one order, or two who queue the same would wait for each other.
-- name: enqueue
INSERT INTO job (spec, device_class)
SELECT DISTINCT value, :device_class FROM jsonb_array_elements_text(:specs::jsonb) ORDER BY value
ON CONFLICT (spec, device_class) WHERE state IN ('queued', 'running') DO NOTHING
RETURNING id;

-- The newest failure of each problem, unless the same waits again already. attempt goes on counting: it tells a
-- worker of old that the job is not its own any more.
-- name: retry_jobs
UPDATE job SET state = 'queued', ends = 0, forgiven = attempt, worker = '', note = '', started_at = NULL,
               lease_until = NULL, ended_at = NULL, tried = 0, candidates = 0
WHERE id IN (SELECT max(f.id) FROM job f
             WHERE f.state = 'failed' AND strpos(lower(f.device_class), lower(:device_class)) > 0
               AND NOT EXISTS (SELECT FROM job o WHERE o.spec = f.spec AND o.device_class = f.device_class
                                                   AND o.state IN ('queued', 'running'))
             GROUP BY f.spec, f.device_class)
RETURNING id;

-- A job that killed so many workers kills the next one, too.
-- name: give_up_jobs
UPDATE job SET state = 'failed', ends = ends + 1, ended_at = now(),
               note = 'given up: ' || attempt - forgiven || ' workers took it and were not heard of again'
WHERE id IN (SELECT id FROM job
             WHERE state = 'running' AND lease_until < now() AND attempt - forgiven >= :most::integer
             FOR NO KEY UPDATE SKIP LOCKED);

-- NO KEY: a compilation that is being claimed refers to its job, and must not hide it.
-- name: claim_job
UPDATE job SET state = 'running', attempt = attempt + 1, worker = :worker, started_at = now(),
               lease_until = now() + :lease_ms::bigint * interval '1 millisecond', tried = 0, candidates = 0
WHERE id = (SELECT id FROM job
            WHERE (state = 'queued' OR (state = 'running' AND lease_until < now()))
              AND strpos(lower(:device), lower(device_class)) > 0
            ORDER BY id FOR NO KEY UPDATE SKIP LOCKED LIMIT 1)
RETURNING id, attempt, spec, device_class;

-- name: renew_job
UPDATE job SET lease_until = now() + :lease_ms::bigint * interval '1 millisecond', tried = :tried::bigint,
               candidates = :candidates::bigint
WHERE id = :id::bigint AND attempt = :attempt::bigint AND state = 'running' RETURNING id;

-- Given back, for others: the worker was told to stop.
-- name: release_job
UPDATE job SET state = 'queued', lease_until = NULL, worker = ''
WHERE id = :id::bigint AND attempt = :attempt::bigint AND state = 'running' RETURNING id;

-- name: finish_job
UPDATE job SET state = :state, ends = ends + 1, ended_at = now(), note = :note, tried = :tried::bigint,
               candidates = :candidates::bigint
WHERE id = :id::bigint AND attempt = :attempt::bigint AND state = 'running' RETURNING id;

-- The answer to the finish may have been lost: it was ours if it ended in our attempt.
-- name: job_ended
SELECT (state = :state)::int FROM job WHERE id = :id::bigint AND attempt = :attempt::bigint;

---- compiling ahead ------------------------------------------------------------------------------------

-- name: know_device
INSERT INTO known_device (key, name) VALUES (:key, :name) ON CONFLICT DO NOTHING;

-- A row of each device has its name. Problem by problem: one look into the index for each, whatever the size of
-- the evidence.
-- name: know_devices_of_evidence
INSERT INTO known_device (key, name)
SELECT d.key, o.device_name FROM device d
CROSS JOIN LATERAL (SELECT one.origin FROM problem p
                    CROSS JOIN LATERAL (SELECT m.origin FROM measurement m
                                        WHERE m.problem = p.id AND m.device = d.id LIMIT 1) one
                    LIMIT 1) row
JOIN origin o ON o.id = row.origin
WHERE split_part(d.key, ' ', 2) = :target
  AND NOT EXISTS (SELECT FROM known_device k WHERE k.key = d.key)
ON CONFLICT DO NOTHING;

-- name: known_devices
SELECT count(*) FROM known_device WHERE split_part(key, ' ', 2) = :target;

-- name: claim_compilation
SELECT job_id, claim, job_spec, device_key, device_name
FROM claim_compilation(:worker, :target, :lease_ms::bigint * interval '1 millisecond', :most::integer);

-- No row, too, when somebody has begun to time the job: then there is nothing ahead any more.
-- name: renew_compilation
UPDATE compilation SET lease_until = now() + :lease_ms::bigint * interval '1 millisecond', tried = :tried::bigint,
                       candidates = :candidates::bigint
WHERE job = :id::bigint AND device = :device AND attempt = :attempt::bigint AND state = 'running'
  AND EXISTS (SELECT FROM job WHERE id = :id::bigint AND state = 'queued') RETURNING job;

-- name: release_compilation
UPDATE compilation SET state = 'queued'
WHERE job = :id::bigint AND device = :device AND attempt = :attempt::bigint AND state = 'running' RETURNING job;

-- name: finish_compilation
UPDATE compilation SET state = :state, ended_at = now(), note = :note, tried = :tried::bigint,
                       candidates = :candidates::bigint
WHERE job = :id::bigint AND device = :device AND attempt = :attempt::bigint AND state = 'running' RETURNING job;

-- name: compilation_ended
SELECT (state = :state)::int FROM compilation
WHERE job = :id::bigint AND device = :device AND attempt = :attempt::bigint;

---- who works on what ----------------------------------------------------------------------------------

-- With the compilation that is at work on a job, or else the last one that was. :all 0: only what is in hand, and
-- what failed.
-- name: jobs
SELECT j.id, j.state, j.attempt - j.forgiven, j.worker, j.note, j.spec, j.device_class,
       (extract(epoch FROM coalesce(j.ended_at, now()) - j.started_at) * 1000)::bigint,
       (j.state = 'running' AND j.lease_until < now())::int, j.tried, j.candidates,
       CASE WHEN c.state = 'running' AND c.lease_until < now() THEN 'lost' ELSE c.state END, c.worker, c.note,
       c.tried, c.candidates
FROM job j
LEFT JOIN LATERAL (SELECT * FROM compilation c WHERE c.job = j.id
                   ORDER BY c.state = 'running' DESC, c.started_at DESC LIMIT 1) c ON true
WHERE :all::integer = 1 OR j.state IN ('running', 'failed')
   OR (j.state = 'queued' AND c.state = 'running' AND c.lease_until >= now())
ORDER BY CASE j.state WHEN 'running' THEN 0 WHEN 'queued' THEN 1 WHEN 'failed' THEN 2 ELSE 3 END, j.id
LIMIT :limit::bigint;

-- The estimate: what is left, at the pace of the last hour's ended jobs (since the first of them was started).
-- name: job_counts
SELECT count(*) FILTER (WHERE state = 'queued'), count(*) FILTER (WHERE state = 'running'),
       count(*) FILTER (WHERE state = 'done'), count(*) FILTER (WHERE state = 'failed'),
       count(DISTINCT worker) FILTER (WHERE state = 'running' AND lease_until >= now()),
       count(*) FILTER (WHERE state = 'queued' AND EXISTS (SELECT FROM compilation c
                                                          WHERE c.job = job.id AND c.state = 'done')),
       (SELECT count(DISTINCT c.worker) FROM compilation c JOIN job j ON j.id = c.job
        WHERE c.state = 'running' AND c.lease_until >= now() AND j.state = 'queued'),
       coalesce((count(*) FILTER (WHERE state IN ('queued', 'running'))
                 * extract(epoch FROM now() - min(started_at) FILTER (WHERE ended_at > now() - interval '1 hour'))
                 / nullif(count(*) FILTER (WHERE ended_at > now() - interval '1 hour'), 0) * 1000)::bigint, -1)
FROM job;

-- name: evidence_counts
SELECT count(*), (SELECT count(*) FROM problem), (SELECT count(*) FROM device),
       pg_database_size(current_database()) FROM measurement;
