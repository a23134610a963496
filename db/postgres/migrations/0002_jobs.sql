-- Problems that a fleet is to tune. A job is no evidence: it may be changed, and removed by an administrator.
-- Who holds a lease works on it; a lease that was not renewed in time is anybody's. attempt tells the holder from
-- those who held it before, so that a job ends once.

SET LOCAL search_path = triage;
INSERT INTO schema_version (version, oldest_reader) VALUES (2, 1);

CREATE TABLE job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    spec text COLLATE "C" NOT NULL CHECK (octet_length(spec) <= 1024), -- JSON object: options of triage_tune
    device_class text COLLATE "C" NOT NULL CHECK (octet_length(device_class) <= 128), -- part of a name; "" any
    state text COLLATE "C" NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'failed')),
    attempt integer NOT NULL DEFAULT 0, -- claims so far
    ends integer NOT NULL DEFAULT 0 CHECK (ends <= 1), -- how often it ended: never twice
    worker text COLLATE "C" NOT NULL DEFAULT '' CHECK (octet_length(worker) <= 128),
    note text COLLATE "C" NOT NULL DEFAULT '' CHECK (octet_length(note) <= 1024), -- the winner, or what failed
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz, -- of the newest attempt
    lease_until timestamptz,
    ended_at timestamptz,
    CHECK ((state IN ('done', 'failed')) = (ends = 1))
);
-- The same work is not queued twice; when it is done it may be asked for again.
CREATE UNIQUE INDEX job_open ON job (spec, device_class) WHERE state IN ('queued', 'running');
CREATE INDEX job_next ON job (id) WHERE state IN ('queued', 'running');
