-- Times that were taken while other programs computed on the device rank below quiet ones: see db/migrations/0005_busy.sql.

SET LOCAL search_path = triage;
INSERT INTO schema_version (version, oldest_reader) VALUES (5, 1);

CREATE INDEX measurement_busy ON measurement (problem, device) INCLUDE (seq)
WHERE circumstances ~ 'processes":([2-9]|[1-9][0-9])';

-- "ranking" of db/postgres/queries.sql, by numbers.
CREATE OR REPLACE FUNCTION ranking_of(of_problem bigint, of_device bigint)
RETURNS TABLE (place bigint, seq bigint, older bigint, older_score double precision)
LANGUAGE sql STABLE SET search_path = triage, pg_temp AS $$
WITH failed AS (
    SELECT candidate, max(measured_at_ms) AS last_ms FROM measurement
    WHERE problem = of_problem
      AND device = of_device
      AND outcome IN ('wrong', 'crashed', 'timed_out', 'launch_failed')
    GROUP BY candidate
), verified AS (
    SELECT seq, id, candidate, outcome = 'right' AS is_right, stage = 'race' AS is_race, cold_l2, measured_at_ms,
           seq IN (SELECT seq FROM measurement WHERE problem = of_problem AND device = of_device
                   AND circumstances ~ 'processes":([2-9]|[1-9][0-9])') AS is_busy,
           median_ns, low_ns, high_ns
    FROM measurement LEFT JOIN failed USING (candidate)
    WHERE problem = of_problem
      AND device = of_device
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
SELECT r.place, r.seq, r.older, r.older_score FROM ranked r
$$;

UPDATE standing
SET ranking = NULL, winner = NULL, winner_candidate = NULL, winner_ns = NULL, drifted = NULL, drifted_from = NULL;
