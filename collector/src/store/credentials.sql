-- Version 4: which host each credential speaks for.

-- A row for each credential that was used and is of one host: as many as an operator and its CA
-- have given out.
CREATE TABLE credential (
    -- SHA-256 of the token or of the certificate.
    id           BLOB PRIMARY KEY CHECK (length(id) = 32),
    -- The host of the first batch that was taken under it.
    host         BLOB NOT NULL CHECK (length(host) = 16),
    bound_ms     INTEGER NOT NULL,
    -- Batches of other hosts that were refused under it, and the last one of them.
    refused      INTEGER NOT NULL DEFAULT 0,
    refused_host BLOB CHECK (length(refused_host) = 16),
    refused_ms   INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX credential_refused ON credential (refused_ms) WHERE refused > 0;
