-- Version 3: what the fleet is told, and by whose word exports are taken.

-- Every version, as it was signed; only the newest one counts.
CREATE TABLE orders (
    version   INTEGER PRIMARY KEY,
    made_ms   INTEGER NOT NULL,
    body      TEXT NOT NULL,
    signature BLOB NOT NULL CHECK (length(signature) = 64)
) STRICT;

-- The key by which a host's exports are signed, as it was first seen.
CREATE TABLE exporter (
    host       BLOB PRIMARY KEY CHECK (length(host) = 16),
    key        BLOB NOT NULL CHECK (length(key) = 32),
    trusted_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
