-- Whoever adds evidence, and whoever takes a job to compile, does so alone. Until now an advisory lock said whose turn it is: anyone
-- who may connect can hold that, a reader too, and stop all others. A lock on a table needs the right to change it.

SET LOCAL search_path = triage;
INSERT INTO schema_version (version, oldest_reader) VALUES (6, 1);

-- It never has a row. Only functions of its owner lock it.
CREATE TABLE turn ();

-- Calls that are under way have read measurement and keep it locked for readers: none of them is left when we go on, and none
-- that takes its turn by the older lock comes beside one that takes it by the newer.
LOCK TABLE measurement, standing, compilation IN ACCESS EXCLUSIVE MODE;

DO $$
DECLARE
    change record;
BEGIN
    FOR change IN
        SELECT * FROM (VALUES
            ('add_evidence(jsonb)', 1, 'LOCK TABLE turn IN EXCLUSIVE MODE'),
            ('refresh_standings(integer)', 1, 'LOCK TABLE turn IN EXCLUSIVE MODE'),
            -- As whoever calls it, who may change compilation; it waits for no change of a row.
            ('claim_compilation(text, text, interval, integer)', 2,
             'LOCK TABLE compilation IN SHARE UPDATE EXCLUSIVE MODE')) v(name, number, instead)
    LOOP
        EXECUTE replace(pg_get_functiondef(change.name::regprocedure),
                        format('PERFORM pg_advisory_xact_lock(1414678849, %s)', change.number), change.instead);
    END LOOP;
    IF EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'triage'::regnamespace AND prosrc LIKE '%advisory%') THEN
        RAISE EXCEPTION 'a function of triage still takes its turn by an advisory lock';
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'triage_reader') THEN
        GRANT SELECT ON turn TO triage_reader, triage_contributor, triage_admin;
    END IF;
END $$;
