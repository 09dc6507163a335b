-- Batches as they came, for outputs that have not sent them yet; positions follow each other without
-- gaps. `total` adds up the bytes of all rows up to this one since the outbox was empty.
CREATE TABLE outbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    received_ms INTEGER NOT NULL,
    total INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;

-- How far each output is: `first` was the newest position when it was configured, everything up to
-- `position` was sent, refused by the other side, or dropped because the outbox was full.
CREATE TABLE output (
    name TEXT PRIMARY KEY,
    first INTEGER NOT NULL,
    position INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    dropped INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
