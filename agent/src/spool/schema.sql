-- Schema 1 of the spool. The payload has a table of its own, so that listing, counting and the
-- search for the next or the oldest batch read a few small pages whatever the payload's size.
CREATE TABLE batch (
    -- Order of arrival. Not the time of sealing: clocks jump.
    id        INTEGER PRIMARY KEY,
    boot      BLOB    NOT NULL CHECK (length(boot) = 16),
    sequence  INTEGER NOT NULL,
    host      BLOB    NOT NULL CHECK (length(host) = 16),
    sealed_ms INTEGER NOT NULL,
    rows      INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    -- 0 stored, 1 leased. An acknowledged batch has no row.
    state     INTEGER NOT NULL DEFAULT 0 CHECK (state IN (0, 1)),
    -- Leases so far.
    attempts  INTEGER NOT NULL DEFAULT 0,
    -- Attempts that failed because of this very batch. Those with fewer go first, so that one
    -- batch the collector chokes on does not keep all others waiting.
    faults    INTEGER NOT NULL DEFAULT 0,
    -- Also keeps a batch from being stored twice.
    UNIQUE (boot, sequence)
) STRICT;

-- Whose turn it is.
CREATE INDEX batch_turn ON batch (state, faults, id);

CREATE TABLE payload (
    id   INTEGER PRIMARY KEY REFERENCES batch (id),
    body BLOB NOT NULL
) STRICT;
