-- Version 12: what was joined, by slices of time.

-- A slice holds what ended after `start_ms` and up to `start_ms` + `length_ms`. Each one that has
-- rows is here, and so is the longer one that it is part of.
CREATE TABLE slice (
    length_ms  INTEGER NOT NULL,
    start_ms   INTEGER NOT NULL,
    -- Grows with every batch that changes what it shows.
    generation INTEGER NOT NULL,
    -- The generation that was joined; 0 while none was.
    joined     INTEGER NOT NULL DEFAULT 0,
    -- The generation that was too large to be joined.
    too_large  INTEGER NOT NULL DEFAULT 0,
    -- When `generation` and `joined` changed last, by this collector's clock.
    marked_ms  INTEGER NOT NULL,
    joined_ms  INTEGER NOT NULL DEFAULT 0,
    edges      INTEGER NOT NULL DEFAULT 0,
    bytes      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (length_ms, start_ms)
) STRICT, WITHOUT ROWID;
CREATE INDEX slice_waiting ON slice (length_ms, start_ms) WHERE generation <> joined;

-- Its nodes and edges (`join/codec.rs`).
CREATE TABLE joined (
    length_ms INTEGER NOT NULL,
    start_ms  INTEGER NOT NULL,
    body      BLOB NOT NULL,
    PRIMARY KEY (length_ms, start_ms)
) STRICT;

-- Slices that began before then are not joined again: their rows may be gone.
CREATE TABLE slice_frozen (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    before_ms INTEGER NOT NULL
) STRICT;

-- What was stored before is joined little by little.
INSERT INTO slice (length_ms, start_ms, generation, marked_ms)
    SELECT DISTINCT length, (end_ms - 1) / length * length, 1, 0
    FROM (SELECT 60000 AS length UNION ALL SELECT 600000 UNION ALL SELECT 3600000)
    JOIN batch ON end_ms > 0;
