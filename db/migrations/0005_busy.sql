-- Times that were taken while other programs computed on the device rank below quiet ones: "ranking" in db/queries.sql
-- has changed. The index finds these rows without reading all circumstances; its condition is that of the statements.
-- An older triage reads this file as before.

CREATE INDEX IF NOT EXISTS measurement_busy ON measurement (problem, device)
WHERE circumstances GLOB '*processes":[2-9]*' OR circumstances GLOB '*processes":[1-9][0-9]*';

UPDATE standing
SET ranking = NULL, winner = NULL, winner_candidate = NULL, winner_ns = NULL, drifted = NULL, drifted_from = NULL;

PRAGMA user_version = 5;
