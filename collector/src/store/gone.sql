-- Version 13: from when answers are whole.

-- Rows that ended up to `rows_ms` may be gone, and so may all slices that began before `slices_ms`;
-- NULL while none was deleted.
CREATE TABLE gone (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    rows_ms   INTEGER,
    slices_ms INTEGER
) STRICT;
-- Of an older store it is not known: rows from before its oldest batch may have been deleted.
INSERT INTO gone (id, rows_ms) SELECT 1, end_ms - 1 FROM batch ORDER BY end_ms LIMIT 1;
