-- Version 2: hosts that are enrolled.

-- What a host shows once, to get its first certificate.
CREATE TABLE enrol_token (
    -- SHA-256 of the token.
    id         BLOB PRIMARY KEY CHECK (length(id) = 32),
    -- The name that its certificate will have.
    name       TEXT NOT NULL,
    uses_left  INTEGER NOT NULL CHECK (uses_left >= 0),
    made_ms    INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    -- Who made it.
    actor      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX enrol_token_name ON enrol_token (name);

-- Certificates that the collector's own authority has signed; others of it are not taken.
CREATE TABLE enrolled (
    -- SHA-256 of the certificate.
    id         BLOB PRIMARY KEY CHECK (length(id) = 32),
    name       TEXT NOT NULL,
    issued_ms  INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    -- Whether a valid certificate asked for it, and not a token.
    is_renewal INTEGER NOT NULL CHECK (is_renewal IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX enrolled_name ON enrolled (name);
CREATE INDEX enrolled_expires ON enrolled (expires_ms);
