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

-- db/queries.sql says what this means. Whole rows: one journey instead of one for each.
-- name: ranking
WITH failed AS (
    SELECT candidate, max(measured_at_ms) AS last_ms FROM measurement
    WHERE problem = (SELECT id FROM problem WHERE key = :problem)
      AND device = (SELECT id FROM device WHERE key = :device)
      AND outcome IN ('wrong', 'crashed', 'timed_out', 'launch_failed')
    GROUP BY candidate
), verified AS (
    SELECT id, candidate, outcome = 'right' AS is_right, stage = 'race' AS is_race, cold_l2, measured_at_ms,
           median_ns, low_ns, high_ns
    FROM measurement LEFT JOIN failed USING (candidate)
    WHERE problem = (SELECT id FROM problem WHERE key = :problem)
      AND device = (SELECT id FROM device WHERE key = :device)
      AND outcome IN ('right', 'slow') AND measured_at_ms > coalesce(failed.last_ms, -1)
), ordered AS (
    SELECT *, row_number() OVER (PARTITION BY candidate ORDER BY is_race DESC, measured_at_ms DESC, median_ns,
                                 high_ns, low_ns, id) AS turn
    FROM verified WHERE cold_l2 = (SELECT cold_l2 FROM verified ORDER BY is_right DESC, cold_l2 DESC LIMIT 1)
), charge AS (
    SELECT greatest(1.0::float8, race.median_ns / search.median_ns) AS factor
    FROM ordered race JOIN ordered search USING (candidate)
    WHERE race.turn = 1 AND race.is_race AND race.is_right AND NOT search.is_race AND search.is_right
    ORDER BY race.median_ns, search.turn, search.median_ns LIMIT 1
), scored AS (
    SELECT *, median_ns * CASE WHEN is_race THEN 1.0::float8
                               ELSE coalesce((SELECT factor FROM charge), 1.0::float8) END AS score
    FROM ordered WHERE turn = 1
), best AS (
    SELECT low_ns, high_ns FROM scored WHERE is_right ORDER BY score, median_ns, high_ns, low_ns LIMIT 1
), ranked AS (
    SELECT s.id, row_number() OVER (
        ORDER BY s.is_right DESC, s.low_ns <= best.high_ns AND best.low_ns <= s.high_ns DESC, s.score,
                 c.config, c.source_hash, c.kernel) AS place
    FROM scored s JOIN candidate c ON c.id = s.candidate LEFT JOIN best ON true
)
SELECT e.* FROM (SELECT * FROM ranked ORDER BY place LIMIT :limit::bigint) r
CROSS JOIN LATERAL (SELECT * FROM evidence WHERE id = r.id) e ORDER BY r.place;

-- name: measurement
SELECT e.* FROM evidence e WHERE e.id = :id;

-- LIMIT 1: one look into the index for each problem, where EXISTS may become a join with all measurements.
-- name: tuned
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
SELECT e.* FROM candidate c
JOIN measurement m ON m.candidate = c.id
JOIN evidence e ON e.id = m.id
WHERE c.source_hash = :source_hash
  AND m.problem = (SELECT id FROM problem WHERE key = :problem)
  AND m.device = (SELECT id FROM device WHERE key = :device)
  AND (:compiler::text IS NULL OR e.compiler = :compiler)
ORDER BY m.measured_at_ms DESC, m.stage, m.id
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
