-- Version 9: tables that are stored by their description.

CREATE TABLE described (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL,
    -- The host that told of it first; NULL for tables that come with this program.
    host_id     INTEGER,
    -- `wire::schema::Table` as JSON. A later version only adds columns, at the end.
    description TEXT NOT NULL
) STRICT;
CREATE INDEX described_name ON described (name);

-- All rows of a run with the same dimensions and the same begin.
CREATE TABLE series (
    id       INTEGER PRIMARY KEY,
    boot_id  INTEGER NOT NULL,
    table_id INTEGER NOT NULL,
    -- 0 where the table does not say when a series began.
    since_ms INTEGER NOT NULL,
    -- JSON list of the dimensions, without what is zero or empty at its end.
    key      TEXT NOT NULL,
    -- The newest sample.
    last_ms  INTEGER NOT NULL,
    -- As in `subject`.
    cut      INTEGER NOT NULL,
    UNIQUE (boot_id, table_id, since_ms, key)
) STRICT;
CREATE INDEX series_last ON series (table_id, last_ms);

CREATE TABLE series_sample (
    series_id INTEGER NOT NULL,
    end_ms    INTEGER NOT NULL,
    sequence  INTEGER NOT NULL,
    total     INTEGER NOT NULL,
    -- JSON list of the columns that are no dimensions (`described/cell.rs`); counters are cumulative.
    cells     TEXT NOT NULL,
    PRIMARY KEY (series_id, end_ms)
) STRICT, WITHOUT ROWID;

-- Rows of tables that are no series, those of abnormal connections among them.
ALTER TABLE event RENAME TO event_of_flow;
DROP INDEX event_end;
DROP INDEX event_flow;
CREATE TABLE event (
    boot_id  INTEGER NOT NULL,
    -- The batch, and the place in its table.
    sequence INTEGER NOT NULL,
    table_id INTEGER NOT NULL,
    place    INTEGER NOT NULL,
    end_ms   INTEGER NOT NULL,
    -- JSON list of all columns.
    cells    TEXT NOT NULL,
    PRIMARY KEY (boot_id, sequence, table_id, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_end ON event (end_ms);
CREATE INDEX event_table ON event (table_id, end_ms);

-- What was stored by version 1 to 8.
INSERT INTO described (id, name, description) SELECT 1, 'event', '{"name":"event","family":"connection","version":1,"shape":"events","help":"One abnormal connection with its full tuple and numbers.","columns":[
{"name":"kind","kind":"dimension","type":{"enum":["failed","refused","reset_local","reset_remote","retransmits","timed_out"]},"help":"What happened."},
{"name":"time_us","kind":"time","type":"u64","unit":"us","help":"When it ended."},
{"name":"role","kind":"dimension","type":{"enum":["client","server"]},"help":"Role of the process."},
{"name":"process_id","kind":"dimension","type":"u32","help":"Key of the process."},
{"name":"local_port","kind":"dimension","type":"u16","help":"Local end."},
{"name":"local_address","kind":"address","type":"address","help":"Local end."},
{"name":"remote_port","kind":"dimension","type":"u16","help":"Remote end."},
{"name":"remote_address","kind":"address","type":"address","help":"Remote end."},
{"name":"netns","kind":"dimension","type":"u32","help":"Network namespace inode number."},
{"name":"token","kind":"dimension","type":"u64","help":"The waybill''s token, 0 when the connection had none."},
{"name":"errno","kind":"dimension","type":"u32","help":"The socket''s errno at the end, 0 when none."},
{"name":"duration_us","kind":"gauge","type":"u64","unit":"us","help":"From the first segment to the end."},
{"name":"bytes_sent","kind":"gauge","type":"u64","unit":"By","help":"Payload bytes sent."},
{"name":"bytes_received","kind":"gauge","type":"u64","unit":"By","help":"Payload bytes received."},
{"name":"retransmits","kind":"gauge","type":"u64","unit":"{segment}","help":"Segments retransmitted."}]}'
    WHERE EXISTS (SELECT 1 FROM event_of_flow);
INSERT INTO event (boot_id, sequence, table_id, place, end_ms, cells)
    SELECT flow.boot_id, 0, 1, was.id, was.end_ms, json_array(was.kind, was.time_us, flow.role,
        flow.process_id, iif(flow.role = 0, was.port, flow.local_port), lower(hex(flow.local_addr)),
        iif(flow.role = 0, flow.remote_port, was.port), lower(hex(flow.remote_addr)), flow.netns,
        json(printf('%llu', was.token)), was.errno, was.duration_us, was.bytes_sent,
        was.bytes_received, was.retransmits)
    FROM event_of_flow AS was JOIN flow ON flow.id = was.flow_id;
DROP TABLE event_of_flow;
