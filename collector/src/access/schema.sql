-- Version 1: who may not any more, and what was changed by whom.

-- Credentials that are refused, whatever else holds them for valid.
CREATE TABLE revoked (
    -- The first 8 bytes of the SHA-256 of a token or certificate: what names it everywhere.
    id     BLOB PRIMARY KEY CHECK (length(id) = 8),
    at_ms  INTEGER NOT NULL,
    -- Who did it, and why.
    actor  TEXT NOT NULL,
    why    TEXT NOT NULL,
    -- The host it spoke for or the name it was enrolled for, where that was known.
    spoke_for TEXT
) STRICT, WITHOUT ROWID;

-- Every change, and every attempt to log in.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,
    at_ms   INTEGER NOT NULL,
    -- Who, and from where: an address, or "command".
    actor   TEXT NOT NULL,
    source  TEXT NOT NULL,
    -- What was done, in a word of a fixed list, and to what.
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- How it was, and how it is: JSON, where there is something to say.
    before  TEXT,
    after   TEXT
) STRICT;
CREATE INDEX audit_at ON audit (at_ms);
