-- Version 2: what gateways translated, and what a host cannot measure.

-- Which columns of a sample mean nothing: the bits of `wire::Columns`.
ALTER TABLE sample ADD COLUMN absent INTEGER NOT NULL DEFAULT 0;

-- Connections that a gateway translated, all with the same addresses before and after.
CREATE TABLE nat (
    id           INTEGER PRIMARY KEY,
    boot_id      INTEGER NOT NULL,
    netns        INTEGER NOT NULL,
    client       BLOB NOT NULL CHECK (length(client) = 16),
    dialled_addr BLOB NOT NULL CHECK (length(dialled_addr) = 16),
    dialled_port INTEGER NOT NULL,
    source       BLOB NOT NULL CHECK (length(source) = 16),
    server_addr  BLOB NOT NULL CHECK (length(server_addr) = 16),
    server_port  INTEGER NOT NULL,
    since_ms     INTEGER NOT NULL,
    -- The newest sample.
    last_ms      INTEGER NOT NULL,
    UNIQUE (boot_id, netns, client, dialled_addr, dialled_port, source, server_addr, server_port,
        since_ms)
) STRICT;
CREATE INDEX nat_last ON nat (last_ms);

CREATE TABLE nat_sample (
    nat_id   INTEGER NOT NULL,
    end_ms   INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    opened   INTEGER NOT NULL,
    PRIMARY KEY (nat_id, end_ms)
) STRICT, WITHOUT ROWID;
CREATE INDEX nat_sample_end ON nat_sample (end_ms);
