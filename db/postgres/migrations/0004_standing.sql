-- What lookups read instead of ranking anew: db/migrations/0003_standing.sql says what this is and when it is
-- true. Here it is filled in by refresh_standings, which the writers call.

SET LOCAL search_path = triage;
INSERT INTO schema_version (version, oldest_reader) VALUES (4, 1);

CREATE TABLE standing (
    problem bigint NOT NULL REFERENCES problem (id),
    device bigint NOT NULL REFERENCES device (id),
    family text COLLATE "C" NOT NULL, -- the words of the problem's key before " m="; all of it if it has none
    m bigint NOT NULL, -- as in the key, 0 if it has none
    n bigint NOT NULL,
    k bigint NOT NULL,
    tuned boolean NOT NULL, -- is there a right row?
    ranking bigint[], -- of measurement.seq, the winner first; NULL: not known
    winner bigint, -- the first of them, if it may win
    winner_candidate bigint, -- its candidate and median, which spare a look at it
    winner_ns double precision,
    drifted bigint, -- measurement.seq of what was clearly slower than the older row before it, and
    drifted_from bigint, -- that row, with which its candidate would win: see "ranking" in db/queries.sql
    PRIMARY KEY (problem, device)
);
CREATE INDEX standing_near ON standing (device, family, m, k, n) INCLUDE (problem) WHERE tuned;
CREATE INDEX standing_unknown ON standing (problem, device) WHERE ranking IS NULL;
CREATE INDEX standing_drifted ON standing (problem, device) WHERE drifted IS NOT NULL;
CREATE INDEX candidate_config ON candidate (config);

CREATE VIEW place AS
SELECT id AS problem, split_part(key, ' m=', 1) COLLATE "C" AS family,
       coalesce(substring(key FROM ' m=(\d{1,15})')::bigint, 0) AS m,
       coalesce(substring(key FROM ' n=(\d{1,15})')::bigint, 0) AS n,
       coalesce(substring(key FROM ' k=(\d{1,15})')::bigint, 0) AS k
FROM problem;

-- One look into the index for each pair, however many rows it has.
INSERT INTO standing (problem, device, family, m, n, k, tuned)
SELECT p.problem, d.id, p.family, p.m, p.n, p.k,
       EXISTS (SELECT FROM measurement m WHERE m.problem = p.problem AND m.device = d.id AND m.outcome = 'right')
FROM place p CROSS JOIN device d
CROSS JOIN LATERAL (SELECT FROM measurement m WHERE m.problem = p.problem AND m.device = d.id LIMIT 1) one;

-- In one order, as all who lock several.
CREATE FUNCTION mark_standings() RETURNS trigger LANGUAGE plpgsql SET search_path = triage, pg_temp AS $$
BEGIN
    INSERT INTO standing AS s (problem, device, family, m, n, k, tuned)
    SELECT p.problem, a.device, p.family, p.m, p.n, p.k, a.tuned
    FROM (SELECT problem, device, bool_or(outcome = 'right') AS tuned FROM added GROUP BY problem, device) a
    JOIN place p ON p.problem = a.problem
    ORDER BY p.problem, a.device
    ON CONFLICT (problem, device) DO UPDATE
    SET tuned = s.tuned OR excluded.tuned, ranking = NULL, winner = NULL, winner_candidate = NULL, winner_ns = NULL,
        drifted = NULL, drifted_from = NULL
    WHERE s.ranking IS NOT NULL OR s.tuned < excluded.tuned;
    RETURN NULL;
END $$;
CREATE TRIGGER standing AFTER INSERT ON measurement REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION mark_standings();

-- "ranking" of db/postgres/queries.sql, by numbers.
CREATE FUNCTION ranking_of(of_problem bigint, of_device bigint)
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
           median_ns, low_ns, high_ns
    FROM measurement LEFT JOIN failed USING (candidate)
    WHERE problem = of_problem
      AND device = of_device
      AND outcome IN ('right', 'slow') AND measured_at_ms > coalesce(failed.last_ms, -1)
), ordered AS (
    SELECT *, row_number() OVER candidates AS turn,
           lag(is_race) OVER candidates AS lag_is_race,
           lead(seq) OVER candidates AS lead_seq, lead(is_race) OVER candidates AS lead_is_race,
           lead(is_right) OVER candidates AS lead_is_right, lead(median_ns) OVER candidates AS lead_median_ns,
           lead(high_ns) OVER candidates AS lead_high_ns,
           first_value(seq) OVER candidates AS first_seq, first_value(is_right) OVER candidates AS first_is_right,
           first_value(measured_at_ms) OVER candidates AS first_at,
           first_value(median_ns) OVER candidates AS first_median_ns,
           first_value(high_ns) OVER candidates AS first_high_ns
    FROM verified WHERE cold_l2 = (SELECT cold_l2 FROM verified ORDER BY is_right DESC, cold_l2 DESC LIMIT 1)
    WINDOW candidates AS (PARTITION BY candidate ORDER BY is_race DESC, measured_at_ms DESC, median_ns, high_ns,
                          low_ns, id)
), charge AS (
    SELECT greatest(1.0::float8, race.median_ns / search.median_ns) AS factor
    FROM ordered race JOIN ordered search USING (candidate)
    WHERE race.turn = 1 AND race.is_race AND race.is_right AND NOT search.is_race AND search.is_right
    ORDER BY race.median_ns, search.turn, search.median_ns LIMIT 1
), doubt AS (
    SELECT candidate, turn FROM ordered
    WHERE NOT is_race AND lag_is_race AND measured_at_ms > first_at
      AND low_ns > first_high_ns AND median_ns > 1.02::float8 * first_median_ns
), scored AS (
    SELECT o.*, doubt.turn IS NOT NULL AS is_doubt,
           o.median_ns * CASE WHEN o.is_race THEN 1.0::float8
                              ELSE coalesce((SELECT factor FROM charge), 1.0::float8) END AS score
    FROM ordered o LEFT JOIN doubt USING (candidate) WHERE o.turn = coalesce(doubt.turn, 1)
), best AS (
    SELECT low_ns, high_ns, score FROM scored WHERE is_right ORDER BY score, median_ns, high_ns, low_ns LIMIT 1
), compared AS (
    SELECT *, CASE WHEN is_doubt THEN first_seq ELSE lead_seq END AS older_seq,
           CASE WHEN is_doubt THEN first_median_ns ELSE lead_median_ns * score / median_ns END AS older_score,
           CASE WHEN is_doubt THEN first_is_right
                ELSE lead_is_right AND lead_is_race = is_race AND low_ns > lead_high_ns
                     AND median_ns > 1.02::float8 * lead_median_ns END AS is_slower
    FROM scored
), ranked AS (
    SELECT s.seq,
           CASE WHEN s.is_slower AND s.older_score <= coalesce(best.score, s.older_score)
                THEN s.older_seq END AS older,
           s.older_score, row_number() OVER (
        ORDER BY s.is_right DESC, s.low_ns <= best.high_ns AND best.low_ns <= s.high_ns DESC, s.score,
                 c.config, c.source_hash, c.kernel) AS place
    FROM compared s JOIN candidate c ON c.id = s.candidate LEFT JOIN best ON true
)
SELECT r.place, r.seq, r.older, r.older_score FROM ranked r
$$;

-- Fills in up to so many standings; returns how many. With the lock of the writers: no row can arrive between the
-- ranking and its storing.
CREATE FUNCTION refresh_standings(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = triage, pg_temp AS $$
DECLARE
    pair record;
    done bigint := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM standing WHERE ranking IS NULL) THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(1414678849, 1);
    FOR pair IN SELECT problem, device FROM standing WHERE ranking IS NULL LIMIT most LOOP
        UPDATE standing s SET ranking = r.rows, drifted = r.drifted, drifted_from = r.drifted_from,
                              winner = w.seq, winner_candidate = w.candidate, winner_ns = w.median_ns
        FROM (SELECT coalesce(array_agg(seq ORDER BY place), '{}') AS rows,
                     (array_agg(seq ORDER BY older_score, place) FILTER (WHERE older IS NOT NULL))[1] AS drifted,
                     (array_agg(older ORDER BY older_score, place) FILTER (WHERE older IS NOT NULL))[1]
                         AS drifted_from
              FROM ranking_of(pair.problem, pair.device)) r
        LEFT JOIN measurement w ON w.seq = r.rows[1] AND w.outcome = 'right'
        WHERE s.problem = pair.problem AND s.device = pair.device;
        done := done + 1;
    END LOOP;
    RETURN done;
END $$;
REVOKE EXECUTE ON FUNCTION refresh_standings (integer) FROM PUBLIC;

-- Roles that are there already (db/postgres/roles.sql says the same for those to come).
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'triage_reader') THEN
        GRANT SELECT ON standing TO triage_reader, triage_contributor, triage_admin;
        GRANT EXECUTE ON FUNCTION refresh_standings (integer) TO triage_contributor, triage_admin;
    END IF;
END $$;
