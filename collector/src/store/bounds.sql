-- Version 5: bounds by size and by the number of hosts.

-- Retention walks subjects one after the other, and nothing else asks for samples by their time.
DROP INDEX sample_end;
DROP INDEX nat_sample_end;

-- What is oldest.
CREATE INDEX batch_end ON batch (end_ms);

-- Hosts in the order in which they are listed.
CREATE INDEX host_name ON host (hostname, host);
-- A host that made room for another one, and whose rows are being deleted.
ALTER TABLE host ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
CREATE INDEX host_known ON host (last_seen_ms) WHERE forgotten = 0;
CREATE INDEX host_forgotten ON host (id) WHERE forgotten = 1;
-- Longer than any host row may be now; an agent sends the next one within minutes.
UPDATE host SET report = '' WHERE length(report) > 2097152;
UPDATE host SET hostname = substr(hostname, 1, 63) WHERE length(hostname) > 63;

-- What was deleted because the store was full: everything up to `before_ms` may be missing.
CREATE TABLE evicted (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    before_ms INTEGER NOT NULL,
    -- The last time that something was evicted, by this collector's clock.
    at_ms     INTEGER NOT NULL,
    rows      INTEGER NOT NULL
) STRICT;
