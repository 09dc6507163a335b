-- Version 3: what the fleet is told.

-- Every version, as it was signed; only the newest one counts.
CREATE TABLE orders (
    version   INTEGER PRIMARY KEY,
    made_ms   INTEGER NOT NULL,
    body      TEXT NOT NULL,
    signature BLOB NOT NULL CHECK (length(signature) = 64)
) STRICT;
