-- What lookups read instead of ranking anew: for each problem on each device the order of its candidates, and
-- where it lies among the others. Derived from measurement and from nothing else: it may be emptied at any time
-- (UPDATE standing SET ranking = NULL), and is no part of what is merged, exported or hashed.
--
-- A row of evidence makes the standing that it belongs to unknown, in its own transaction (the trigger below):
-- a ranking that is there is always that of all rows. Who writes fills it in again (src/store/standing.c) with
-- what "ranking" in db/queries.sql says; who reads and finds none asks "ranking" itself. A change of that
-- statement needs a migration that empties this table's rankings.

CREATE TABLE schema_version (
    oldest_reader INTEGER NOT NULL -- schema of the oldest triage that can still read this file
) STRICT;
INSERT INTO schema_version (oldest_reader) VALUES (3);

CREATE TABLE standing (
    problem INTEGER NOT NULL REFERENCES problem (id),
    device INTEGER NOT NULL REFERENCES device (id),
    family TEXT NOT NULL, -- the words of the problem's key before " m="; all of it if it has none
    m INTEGER NOT NULL, -- as in the key, 0 if it has none
    n INTEGER NOT NULL,
    k INTEGER NOT NULL,
    tuned INTEGER NOT NULL, -- is there a right row?
    ranking TEXT, -- JSON array of measurement.row, the winner first; NULL: not known
    winner INTEGER, -- the first of them, if it may win
    winner_candidate INTEGER, -- its candidate and median, which spare a look at it
    winner_ns REAL,
    drifted INTEGER, -- measurement.row that was clearly slower than the older row before it, and
    drifted_from INTEGER, -- that row, with which its candidate would win: see "ranking"
    PRIMARY KEY (problem, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX standing_near ON standing (device, family, m, k, n) WHERE tuned;
CREATE INDEX standing_unknown ON standing (problem, device) WHERE ranking IS NULL;
CREATE INDEX standing_drifted ON standing (problem, device) WHERE drifted IS NOT NULL;
CREATE INDEX candidate_config ON candidate (config);

-- CAST reads the digits that a text begins with.
CREATE VIEW place AS
SELECT id AS problem,
       iif(instr(key, ' m='), substr(key, 1, instr(key, ' m=') - 1), key) AS family,
       iif(instr(key, ' m='), CAST(substr(key, instr(key, ' m=') + 3, 15) AS INTEGER), 0) AS m,
       iif(instr(key, ' n='), CAST(substr(key, instr(key, ' n=') + 3, 15) AS INTEGER), 0) AS n,
       iif(instr(key, ' k='), CAST(substr(key, instr(key, ' k=') + 3, 15) AS INTEGER), 0) AS k
FROM problem;

-- A look into the index for each pair, however many rows it has.
INSERT INTO standing (problem, device, family, m, n, k, tuned)
SELECT p.problem, d.id, p.family, p.m, p.n, p.k,
       EXISTS (SELECT 1 FROM measurement m WHERE m.problem = p.problem AND m.device = d.id AND m.outcome = 'right')
FROM place p CROSS JOIN device d
WHERE EXISTS (SELECT 1 FROM measurement m WHERE m.problem = p.problem AND m.device = d.id);

CREATE TRIGGER measurement_standing AFTER INSERT ON measurement
BEGIN
    INSERT INTO standing (problem, device, family, m, n, k, tuned)
    SELECT p.problem, new.device, p.family, p.m, p.n, p.k, new.outcome = 'right'
    FROM place p WHERE p.problem = new.problem
    ON CONFLICT (problem, device) DO UPDATE
    SET tuned = max(tuned, excluded.tuned), ranking = NULL, winner = NULL, winner_candidate = NULL, winner_ns = NULL,
        drifted = NULL, drifted_from = NULL
    WHERE ranking IS NOT NULL OR tuned < excluded.tuned;
END;

PRAGMA user_version = 3;
