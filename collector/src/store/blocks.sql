-- Version 10: what edges counted, and connections that live within an interval, a block for each
-- batch.

-- Rows of one kind of one batch, packed (`block/`). A block that is long is in pieces that follow
-- each other, so that pages are full: the first one says how many, the others hold bytes alone.
CREATE TABLE block (
    -- In the order of arrival.
    id          INTEGER PRIMARY KEY,
    boot_id     INTEGER NOT NULL,
    sequence    INTEGER NOT NULL,
    -- 0 edges, 1 sightings.
    kind        INTEGER NOT NULL,
    start_ms    INTEGER NOT NULL,
    end_ms      INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    row_count   INTEGER NOT NULL,
    pieces      INTEGER NOT NULL,
    bytes       BLOB NOT NULL
) STRICT;
CREATE INDEX block_end ON block (end_ms, kind, start_ms) WHERE pieces > 0;

-- Its blocks: the first piece of all, and the last one. NULL where it has none.
ALTER TABLE batch ADD COLUMN first_block INTEGER;
ALTER TABLE batch ADD COLUMN last_block INTEGER;

-- The newest batch whose rows are in `subject.known` and in `last_ms` of subjects and flows: what
-- came since is in blocks.
ALTER TABLE boot ADD COLUMN flushed INTEGER NOT NULL DEFAULT 0;
-- What was counted since `since_ms` (`block/number.rs`), and which columns mean nothing.
ALTER TABLE subject ADD COLUMN known BLOB NOT NULL DEFAULT x'';
ALTER TABLE subject ADD COLUMN absent INTEGER NOT NULL DEFAULT 0;
-- Of sightings in blocks.
ALTER TABLE flow ADD COLUMN last_ms INTEGER NOT NULL DEFAULT 0;

-- Each of these was a page for each batch. Runs are few, and so are batches that came late.
DROP INDEX boot_last;
DROP INDEX batch_received;
DROP INDEX subject_last;
DROP INDEX subject_open;
DROP INDEX host_known;

-- Samples become blocks, run by run (`convert.rs`): the run at hand, and up to when it is done.
CREATE TABLE converting (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    boot_id INTEGER NOT NULL,
    upto_ms INTEGER NOT NULL
) STRICT;
INSERT INTO converting VALUES (1, 0, 0);
