-- How far this database and a server know each other (src/store/sync.c). No evidence: it may be lost, and costs
-- one full comparison then.

CREATE TABLE server (
    id TEXT PRIMARY KEY, -- the server's own, not its address
    pulled INTEGER NOT NULL CHECK (pulled >= 0), -- every row of the server up to this number is here
    pushed INTEGER NOT NULL CHECK (pushed >= 0) -- every row of this file up to this number is there
) STRICT;

PRAGMA user_version = 2;
