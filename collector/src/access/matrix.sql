-- Version 4: the declared communication matrix, each version of it as it was given.
CREATE TABLE matrix (
    version INTEGER PRIMARY KEY,
    at_ms   INTEGER NOT NULL,
    -- Who declared it, and what they said of it.
    actor   TEXT NOT NULL,
    note    TEXT NOT NULL,
    flows   INTEGER NOT NULL,
    -- The file, packed by zstd.
    file    BLOB NOT NULL
) STRICT;
