-- Evidence on a server: the same tables, columns and meaning as db/migrations, so that the two take each
-- other's rows. Text is compared by bytes (COLLATE "C"), as SQLite does, so that equal evidence gives an equal
-- ranking everywhere. Run within a transaction, by src/store/postgres.c.

CREATE SCHEMA IF NOT EXISTS triage;
SET LOCAL search_path = triage;

CREATE TABLE schema_version (
    version integer PRIMARY KEY,
    oldest_reader integer NOT NULL, -- schema of the oldest triage that can still read this one
    applied_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO schema_version (version, oldest_reader) VALUES (1, 1);

-- Who this server is to the local databases that remember how far they have read it. After restoring a backup:
-- UPDATE triage.server SET id = gen_random_uuid();
CREATE TABLE server (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    id uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO server DEFAULT VALUES;

CREATE TABLE problem (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text COLLATE "C" NOT NULL UNIQUE CHECK (octet_length(key) <= 512)
);

CREATE TABLE device (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text COLLATE "C" NOT NULL UNIQUE CHECK (octet_length(key) <= 512)
);

CREATE TABLE candidate (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_hash text COLLATE "C" NOT NULL CHECK (octet_length(source_hash) = 32),
    config text COLLATE "C" NOT NULL CHECK (octet_length(config) <= 512),
    kernel text COLLATE "C" NOT NULL CHECK (octet_length(kernel) <= 64),
    UNIQUE (source_hash, config, kernel)
);

CREATE TABLE origin (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host text COLLATE "C" NOT NULL CHECK (octet_length(host) <= 64), -- hash of the machine's id
    device_name text COLLATE "C" NOT NULL CHECK (octet_length(device_name) <= 128),
    compiler text COLLATE "C" NOT NULL CHECK (octet_length(compiler) <= 128),
    version text COLLATE "C" NOT NULL CHECK (octet_length(version) <= 32), -- of triage
    UNIQUE (host, device_name, compiler, version)
);

CREATE TABLE measurement (
    -- In the order in which rows became visible (add_evidence): who has read up to one has missed none before.
    seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE CHECK (octet_length(id) = 32),
    problem bigint NOT NULL REFERENCES problem (id),
    device bigint NOT NULL REFERENCES device (id),
    candidate bigint NOT NULL REFERENCES candidate (id),
    origin bigint NOT NULL REFERENCES origin (id),
    stage text COLLATE "C" NOT NULL CHECK (stage IN ('search', 'race')),
    outcome text COLLATE "C" NOT NULL
        CHECK (outcome IN ('right', 'slow', 'not_compiled', 'spilled', 'too_large', 'wrong', 'crashed',
                           'timed_out', 'launch_failed')),
    reason text COLLATE "C" NOT NULL CHECK (octet_length(reason) <= 1024),
    median_ns double precision NOT NULL,
    low_ns double precision NOT NULL, -- the median's 95 % interval
    high_ns double precision NOT NULL,
    min_ns double precision NOT NULL,
    samples bigint NOT NULL CHECK (samples >= 0),
    cold_l2 boolean NOT NULL,
    row_error double precision NOT NULL CHECK (row_error >= 0), -- |result - float64| / |float64|, worst row
    row_error_limit double precision NOT NULL CHECK (row_error_limit >= 0),
    registers bigint NOT NULL, -- per thread; -1 unknown
    spill_bytes bigint NOT NULL,
    smem_bytes bigint NOT NULL,
    seed bigint NOT NULL,
    measured_at_ms bigint NOT NULL CHECK (measured_at_ms >= 0), -- Unix time
    circumstances text COLLATE "C" NOT NULL CHECK (octet_length(circumstances) <= 16384), -- JSON object

    -- No time without a right result, no right result without a time. NaN is above every number here.
    CHECK (CASE WHEN outcome IN ('right', 'slow')
        THEN 0 < min_ns AND min_ns <= median_ns AND 0 <= low_ns AND low_ns <= median_ns
             AND median_ns <= high_ns AND high_ns < 1e16 AND row_error <= row_error_limit
        ELSE median_ns = 0 AND low_ns = 0 AND high_ns = 0 AND min_ns = 0 END)
);

-- Everything that ranks the candidates of a problem on a device, so that the wide rows stay unread.
CREATE INDEX measurement_ranking ON measurement (problem, device, outcome, candidate, measured_at_ms)
    INCLUDE (stage, cold_l2, median_ns, low_ns, high_ns, id);
CREATE INDEX measurement_candidate ON measurement (candidate, problem, device, measured_at_ms);

-- One row with its names: the fields of a measurement, in their order (src/store/measurement.c).
CREATE VIEW evidence AS
SELECT m.id, p.key AS problem, d.key AS device, o.device_name, c.kernel, c.config, c.source_hash, o.compiler,
       m.stage, m.outcome, m.reason, m.median_ns, m.low_ns, m.high_ns, m.min_ns, m.samples, m.cold_l2,
       m.row_error, m.row_error_limit, m.registers, m.spill_bytes, m.smem_bytes, m.seed, m.measured_at_ms,
       o.host, o.version, m.circumstances, m.seq
FROM measurement m
JOIN problem p ON p.id = m.problem
JOIN device d ON d.id = m.device
JOIN candidate c ON c.id = m.candidate
JOIN origin o ON o.id = m.origin;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'evidence is append-only' USING ERRCODE = 'insufficient_privilege'; END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON measurement EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON problem EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON device EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON candidate EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON origin EXECUTE FUNCTION refuse_change();

CREATE TYPE incoming AS (
    id text, problem text, device text, device_name text, kernel text, config text, source_hash text,
    compiler text, stage text, outcome text, reason text, median_ns double precision,
    low_ns double precision, high_ns double precision, min_ns double precision, samples bigint,
    cold_l2 boolean, row_error double precision, row_error_limit double precision, registers bigint,
    spill_bytes bigint, smem_bytes bigint, seed bigint, measured_at_ms bigint, host text, version text,
    circumstances text
);

-- Adds the rows of a JSON array (as in an export) that are not there; returns how many. The only way in: one
-- journey a batch, and one writer at a time, which makes seq the order of commits and a deadlock between
-- writers of the same new keys impossible. The lock is asked for after the slow part, the parsing.
CREATE FUNCTION add_evidence(lines jsonb) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = triage, pg_temp AS $$
DECLARE
    batch incoming[];
    added bigint;
BEGIN
    batch := ARRAY(SELECT i FROM jsonb_populate_recordset(NULL::incoming, lines) i
                   WHERE NOT EXISTS (SELECT FROM measurement m WHERE m.id = i.id));
    IF cardinality(batch) = 0 THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(1414678849, 1);
    INSERT INTO problem (key)
    SELECT DISTINCT b.problem FROM unnest(batch) b
    WHERE NOT EXISTS (SELECT FROM problem p WHERE p.key = b.problem);
    INSERT INTO device (key)
    SELECT DISTINCT b.device FROM unnest(batch) b
    WHERE NOT EXISTS (SELECT FROM device d WHERE d.key = b.device);
    INSERT INTO candidate (source_hash, config, kernel)
    SELECT DISTINCT b.source_hash, b.config, b.kernel FROM unnest(batch) b
    WHERE NOT EXISTS (SELECT FROM candidate c
                      WHERE c.source_hash = b.source_hash AND c.config = b.config AND c.kernel = b.kernel);
    INSERT INTO origin (host, device_name, compiler, version)
    SELECT DISTINCT b.host, b.device_name, b.compiler, b.version FROM unnest(batch) b
    WHERE NOT EXISTS (SELECT FROM origin o
                      WHERE o.host = b.host AND o.device_name = b.device_name AND o.compiler = b.compiler
                        AND o.version = b.version);
    INSERT INTO measurement (id, problem, device, candidate, origin, stage, outcome, reason, median_ns, low_ns,
                             high_ns, min_ns, samples, cold_l2, row_error, row_error_limit, registers,
                             spill_bytes, smem_bytes, seed, measured_at_ms, circumstances)
    SELECT b.id, p.id, d.id, c.id, o.id, b.stage, b.outcome, b.reason, b.median_ns, b.low_ns, b.high_ns,
           b.min_ns, b.samples, b.cold_l2, b.row_error, b.row_error_limit, b.registers, b.spill_bytes,
           b.smem_bytes, b.seed, b.measured_at_ms, b.circumstances
    FROM unnest(batch) b
    LEFT JOIN problem p ON p.key = b.problem
    LEFT JOIN device d ON d.key = b.device
    LEFT JOIN candidate c ON c.source_hash = b.source_hash AND c.config = b.config AND c.kernel = b.kernel
    LEFT JOIN origin o ON o.host = b.host AND o.device_name = b.device_name AND o.compiler = b.compiler
                      AND o.version = b.version
    ON CONFLICT (id) DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    RETURN added;
END $$;
REVOKE EXECUTE ON FUNCTION add_evidence (jsonb) FROM PUBLIC;
