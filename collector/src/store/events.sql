-- Version 15: events are in blocks as well, whose kind is 16 + `described.id`.

-- The end of the newest interval that told of an event of a table.
CREATE TABLE event_last (
    table_id INTEGER PRIMARY KEY,
    last_ms  INTEGER NOT NULL
) STRICT;
INSERT INTO event_last SELECT table_id, max(end_ms) FROM event GROUP BY table_id;

-- The rows of `event` become blocks batch by batch (`convert_events.rs`), and then the table goes:
-- nothing asks for them by time until then.
DROP INDEX event_end;
DROP INDEX event_table;
