-- Three roles without a login: grant one of them to each person or machine (docs/fleet.md). Run by
-- `triage_db setup`, or with psql, by whoever owns the schema and may create roles; as often as one likes.
--
--   triage_reader       reads evidence and jobs
--   triage_contributor  adds evidence (through add_evidence only: nothing can be changed or removed), makes and
--                       works on jobs
--   triage_admin        as a contributor, and removes jobs. Migrations are the owner's.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['triage_reader', 'triage_contributor', 'triage_admin'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        END IF;
    END LOOP;
END $$;

GRANT USAGE ON SCHEMA triage TO triage_reader, triage_contributor, triage_admin;
GRANT SELECT ON ALL TABLES IN SCHEMA triage TO triage_reader, triage_contributor, triage_admin;
GRANT EXECUTE ON FUNCTION triage.add_evidence (jsonb) TO triage_contributor, triage_admin;
GRANT EXECUTE ON FUNCTION triage.claim_compilation (text, text, interval, integer) TO triage_contributor, triage_admin;
GRANT INSERT, UPDATE ON triage.job, triage.compilation TO triage_contributor, triage_admin;
GRANT INSERT ON triage.known_device TO triage_contributor, triage_admin;
GRANT EXECUTE ON FUNCTION triage.refresh_standings (integer) TO triage_contributor, triage_admin;
GRANT DELETE ON triage.job TO triage_admin;
