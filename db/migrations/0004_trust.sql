-- Where each row came from: a fact of this file, noted by who put the row in and never by the row (docs/trust.md).
-- It is no part of what is merged, exported or hashed: elsewhere the same row has another origin.

CREATE TABLE source (
    id INTEGER PRIMARY KEY,
    tier INTEGER NOT NULL CHECK (tier IN (0, 1, 2)), -- 0 measured through this file, 1 a trusted peer, 2 unknown
    name TEXT NOT NULL, -- of a peer: "key ..." or "server ..."; else ''
    UNIQUE (tier, name)
) STRICT;
INSERT INTO source (tier, name) VALUES (0, '');

-- A row without one is of before this table, or from a stranger: of tier 2.
CREATE TABLE arrival (
    row INTEGER PRIMARY KEY REFERENCES measurement (row),
    source INTEGER NOT NULL REFERENCES source (id)
) STRICT;

-- A row may come again from somebody who is trusted more: then its problem is ranked anew.
CREATE TRIGGER arrival_insert AFTER INSERT ON arrival
BEGIN
    UPDATE standing
    SET ranking = NULL, winner = NULL, winner_candidate = NULL, winner_ns = NULL, drifted = NULL, drifted_from = NULL
    WHERE (problem, device) = (SELECT problem, device FROM measurement WHERE row = new.row) AND ranking IS NOT NULL;
END;
CREATE TRIGGER arrival_update AFTER UPDATE ON arrival
BEGIN
    UPDATE standing
    SET ranking = NULL, winner = NULL, winner_candidate = NULL, winner_ns = NULL, drifted = NULL, drifted_from = NULL
    WHERE (problem, device) = (SELECT problem, device FROM measurement WHERE row = new.row) AND ranking IS NOT NULL;
END;

-- "ranking" in db/queries.sql has changed.
UPDATE standing
SET ranking = NULL, winner = NULL, winner_candidate = NULL, winner_ns = NULL, drifted = NULL, drifted_from = NULL;

PRAGMA user_version = 4;
