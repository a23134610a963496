-- Evidence. Rows are added and never changed: what is known of a kernel is what its rows say together, and
-- two databases merge by taking the rows of both. Which kernel wins is no part of the schema: see
-- "ranking" in db/queries.sql.

PRAGMA application_id = 1414678849; -- "TRIA"

CREATE TABLE problem (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE device (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE candidate (
    id INTEGER PRIMARY KEY,
    source_hash TEXT NOT NULL,
    config TEXT NOT NULL,
    kernel TEXT NOT NULL,
    UNIQUE (source_hash, config, kernel)
) STRICT;

-- What made a row, and where.
CREATE TABLE origin (
    id INTEGER PRIMARY KEY,
    host TEXT NOT NULL, -- hash of the machine's id
    device_name TEXT NOT NULL,
    compiler TEXT NOT NULL,
    version TEXT NOT NULL, -- of triage
    UNIQUE (host, device_name, compiler, version)
) STRICT;

CREATE TABLE measurement (
    row INTEGER PRIMARY KEY, -- in this file only; the identity is id
    id TEXT NOT NULL UNIQUE CHECK (length(id) = 32), -- hash of all that follows, names for numbers
    problem INTEGER NOT NULL REFERENCES problem (id),
    device INTEGER NOT NULL REFERENCES device (id),
    candidate INTEGER NOT NULL REFERENCES candidate (id),
    origin INTEGER NOT NULL REFERENCES origin (id),
    stage TEXT NOT NULL CHECK (stage IN ('search', 'race')),
    outcome TEXT NOT NULL CHECK (outcome IN ('right', 'slow', 'not_compiled', 'spilled', 'too_large', 'wrong',
                                             'crashed', 'timed_out', 'launch_failed')),
    reason TEXT NOT NULL,
    median_ns REAL NOT NULL,
    low_ns REAL NOT NULL, -- the median's 95 % interval
    high_ns REAL NOT NULL,
    min_ns REAL NOT NULL,
    samples INTEGER NOT NULL CHECK (samples >= 0),
    cold_l2 INTEGER NOT NULL CHECK (cold_l2 IN (0, 1)),
    row_error REAL NOT NULL CHECK (row_error >= 0), -- |result - float64| / |float64|, worst checked row
    row_error_limit REAL NOT NULL CHECK (row_error_limit >= 0),
    registers INTEGER NOT NULL, -- per thread; -1 unknown
    spill_bytes INTEGER NOT NULL,
    smem_bytes INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    measured_at_ms INTEGER NOT NULL CHECK (measured_at_ms >= 0), -- Unix time
    circumstances TEXT NOT NULL, -- JSON object

    -- No time without a right result, no right result without a time.
    CHECK (CASE WHEN outcome IN ('right', 'slow')
        THEN 0 < min_ns AND min_ns <= median_ns AND 0 <= low_ns AND low_ns <= median_ns
             AND median_ns <= high_ns AND high_ns < 1e16 AND row_error <= row_error_limit
        ELSE median_ns = 0 AND low_ns = 0 AND high_ns = 0 AND min_ns = 0 END)
) STRICT;

-- Everything that ranks the candidates of a problem on a device, so that the wide rows stay unread.
CREATE INDEX measurement_ranking ON measurement (
    problem, device, outcome, candidate, measured_at_ms, stage, cold_l2, median_ns, low_ns, high_ns,
    id);
CREATE INDEX measurement_candidate ON measurement (candidate, problem, device, measured_at_ms);

-- One row with its names: the fields of a measurement, in their order (src/store/measurement.c).
CREATE VIEW evidence AS
SELECT m.id, p.key AS problem, d.key AS device, o.device_name, c.kernel, c.config, c.source_hash, o.compiler,
       m.stage, m.outcome, m.reason, m.median_ns, m.low_ns, m.high_ns, m.min_ns, m.samples, m.cold_l2,
       m.row_error, m.row_error_limit, m.registers, m.spill_bytes, m.smem_bytes, m.seed, m.measured_at_ms,
       o.host, o.version, m.circumstances
FROM measurement m
JOIN problem p ON p.id = m.problem
JOIN device d ON d.id = m.device
JOIN candidate c ON c.id = m.candidate
JOIN origin o ON o.id = m.origin;

CREATE TRIGGER measurement_update BEFORE UPDATE ON measurement
BEGIN SELECT raise(ABORT, 'evidence is append-only'); END;
CREATE TRIGGER measurement_delete BEFORE DELETE ON measurement
BEGIN SELECT raise(ABORT, 'evidence is append-only'); END;
CREATE TRIGGER problem_update BEFORE UPDATE ON problem
BEGIN SELECT raise(ABORT, 'evidence is append-only'); END;
CREATE TRIGGER problem_delete BEFORE DELETE ON problem
BEGIN SELECT raise(ABORT, 'evidence is append-only'); END;
CREATE TRIGGER device_update BEFORE UPDATE ON device
BEGIN SELECT raise(ABORT, 'evidence is append-only'); END;
CREATE TRIGGER device_delete BEFORE DELETE ON device
BEGIN SELECT raise(ABORT, 'evidence is append-only'); END;
CREATE TRIGGER candidate_update BEFORE UPDATE ON candidate
BEGIN SELECT raise(ABORT, 'evidence is append-only'); END;
CREATE TRIGGER candidate_delete BEFORE DELETE ON candidate
BEGIN SELECT raise(ABORT, 'evidence is append-only'); END;
CREATE TRIGGER origin_update BEFORE UPDATE ON origin
BEGIN SELECT raise(ABORT, 'evidence is append-only'); END;
CREATE TRIGGER origin_delete BEFORE DELETE ON origin
BEGIN SELECT raise(ABORT, 'evidence is append-only'); END;

PRAGMA user_version = 1;
