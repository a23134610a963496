-- Machines without a GPU that compile ahead for those with one; how far a job is; failed jobs queued again.

SET LOCAL search_path = triage;
INSERT INTO schema_version (version, oldest_reader) VALUES (3, 1);

ALTER TABLE job
    ADD tried bigint NOT NULL DEFAULT 0,      -- candidates, of the newest attempt
    ADD candidates bigint NOT NULL DEFAULT 0, -- of the space or the budget; 0: not known yet
    ADD forgiven integer NOT NULL DEFAULT 0;  -- claims before it was last queued again

-- The devices that evidence is wanted for: those whose workers were here, and those of the evidence.
CREATE TABLE known_device (
    key text COLLATE "C" PRIMARY KEY CHECK (octet_length(key) <= 512),
    name text COLLATE "C" NOT NULL CHECK (octet_length(name) <= 128)
);

-- One job compiled ahead for one device, while it waits. No part of the job itself: whoever times it starts
-- when it likes, and finds in the evidence what does not compile. A lease, as a job has.
CREATE TABLE compilation (
    job bigint NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    device text COLLATE "C" NOT NULL REFERENCES known_device (key),
    state text COLLATE "C" NOT NULL DEFAULT 'running' CHECK (state IN ('queued', 'running', 'done', 'failed')),
    attempt integer NOT NULL DEFAULT 1,
    worker text COLLATE "C" NOT NULL CHECK (octet_length(worker) <= 128),
    note text COLLATE "C" NOT NULL DEFAULT '' CHECK (octet_length(note) <= 1024),
    tried bigint NOT NULL DEFAULT 0,
    candidates bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(), -- of the newest attempt
    lease_until timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (job, device)
);

-- The oldest waiting job that nobody compiles or has compiled for a device of this architecture. One claim at a
-- time: two compile workers never do the same work. A job's row is not locked, so that one who comes to time
-- it finds it free.
CREATE FUNCTION claim_compilation(by_worker text, for_target text, lease interval, most integer)
RETURNS TABLE (job_id bigint, claim integer, job_spec text, device_key text, device_name text)
LANGUAGE plpgsql SET search_path = triage, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1414678849, 2);
    RETURN QUERY
    INSERT INTO compilation AS c (job, device, worker, lease_until)
    SELECT j.id, d.key, by_worker, clock_timestamp() + lease
    FROM job j
    JOIN known_device d ON split_part(d.key, ' ', 2) = for_target
                       AND strpos(lower(d.name || ' ' || d.key), lower(j.device_class)) > 0
    LEFT JOIN compilation o ON o.job = j.id AND o.device = d.key
    WHERE j.state = 'queued'
      AND (o.job IS NULL OR o.state = 'queued'
           OR (o.state = 'running' AND o.lease_until < clock_timestamp() AND o.attempt < most))
    ORDER BY j.id, d.key LIMIT 1
    ON CONFLICT (job, device) DO UPDATE
    SET state = 'running', attempt = c.attempt + 1, worker = excluded.worker, lease_until = excluded.lease_until,
        started_at = clock_timestamp(), tried = 0, candidates = 0
    RETURNING c.job, c.attempt, (SELECT j.spec FROM job j WHERE j.id = c.job), c.device,
              (SELECT d.name FROM known_device d WHERE d.key = c.device);
END $$;
REVOKE EXECUTE ON FUNCTION claim_compilation (text, text, interval, integer) FROM PUBLIC;
