-- Version 1. Times are Unix milliseconds unless the name says otherwise; ids are 16 random bytes.
--
-- Samples are cumulative per subject (a flow and the moment its counters began at zero), so what
-- happened in a window is a difference of two samples.

CREATE TABLE host (
    id              INTEGER PRIMARY KEY,
    host            BLOB NOT NULL UNIQUE CHECK (length(host) = 16),
    -- Arrival of the first and of the last batch, by this collector's clock.
    first_seen_ms   INTEGER NOT NULL,
    last_seen_ms    INTEGER NOT NULL,
    -- The newest host row, by end and number of its batch; JSON.
    report_end_ms   INTEGER NOT NULL DEFAULT -1,
    report_sequence INTEGER NOT NULL DEFAULT -1,
    report_boot_id  INTEGER,
    hostname        TEXT NOT NULL DEFAULT '',
    report          TEXT NOT NULL DEFAULT ''
) STRICT;

-- A run of an agent.
CREATE TABLE boot (
    id            INTEGER PRIMARY KEY,
    host_id       INTEGER NOT NULL,
    boot          BLOB NOT NULL CHECK (length(boot) = 16),
    first_ms      INTEGER NOT NULL,
    last_ms       INTEGER NOT NULL,
    -- Batches received and the highest number: the difference is still spooled, or was evicted.
    batches       INTEGER NOT NULL,
    last_sequence INTEGER NOT NULL,
    -- Subtracted from the times of a host whose clock is ahead.
    ahead_ms      INTEGER NOT NULL DEFAULT 0,
    UNIQUE (host_id, boot)
) STRICT;
CREATE INDEX boot_last ON boot (last_ms);

-- What was stored: makes a repetition a repetition.
CREATE TABLE batch (
    boot_id     INTEGER NOT NULL,
    sequence    INTEGER NOT NULL,
    digest      BLOB NOT NULL CHECK (length(digest) = 32),
    end_ms      INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    bytes       INTEGER NOT NULL,
    row_count   INTEGER NOT NULL,
    PRIMARY KEY (boot_id, sequence)
) STRICT, WITHOUT ROWID;
CREATE INDEX batch_received ON batch (received_ms);

CREATE TABLE process (
    boot_id    INTEGER NOT NULL,
    process_id INTEGER NOT NULL,
    -- Order of the reports: the newest one stays.
    last_ms    INTEGER NOT NULL,
    sequence   INTEGER NOT NULL,
    tgid       INTEGER NOT NULL,
    started_ms INTEGER NOT NULL,
    comm       TEXT NOT NULL,
    exe        TEXT NOT NULL,
    cgroup     TEXT NOT NULL,
    container  TEXT NOT NULL,
    unit       TEXT NOT NULL,
    service    TEXT NOT NULL,
    -- JSON list of pairs.
    tags       TEXT NOT NULL,
    PRIMARY KEY (boot_id, process_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX process_last ON process (last_ms);

-- The connections of one process identity with one remote service, in one direction.
CREATE TABLE flow (
    id          INTEGER PRIMARY KEY,
    boot_id     INTEGER NOT NULL,
    process_id  INTEGER NOT NULL,
    -- 0 client, 1 server.
    role        INTEGER NOT NULL,
    netns       INTEGER NOT NULL,
    local_addr  BLOB NOT NULL CHECK (length(local_addr) = 16),
    local_port  INTEGER NOT NULL,
    remote_addr BLOB NOT NULL CHECK (length(remote_addr) = 16),
    remote_port INTEGER NOT NULL,
    UNIQUE (boot_id, process_id, role, netns, local_addr, local_port, remote_addr, remote_port)
) STRICT;

CREATE TABLE subject (
    id       INTEGER PRIMARY KEY,
    flow_id  INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    -- The newest sample, and the connections open at it.
    last_ms  INTEGER NOT NULL,
    open     INTEGER NOT NULL,
    UNIQUE (flow_id, since_ms)
) STRICT;
CREATE INDEX subject_last ON subject (last_ms);
-- Connections that are open but silent make no samples and belong to the picture all the same.
CREATE INDEX subject_open ON subject (last_ms) WHERE open > 0;

CREATE TABLE sample (
    subject_id        INTEGER NOT NULL,
    end_ms            INTEGER NOT NULL,
    sequence          INTEGER NOT NULL,
    opened            INTEGER NOT NULL,
    closed            INTEGER NOT NULL,
    failed            INTEGER NOT NULL,
    refused           INTEGER NOT NULL,
    reset_local       INTEGER NOT NULL,
    reset_remote      INTEGER NOT NULL,
    bytes_sent        INTEGER NOT NULL,
    bytes_received    INTEGER NOT NULL,
    segments_sent     INTEGER NOT NULL,
    segments_received INTEGER NOT NULL,
    retransmits       INTEGER NOT NULL,
    out_of_order      INTEGER NOT NULL,
    zero_windows      INTEGER NOT NULL,
    -- Histograms: 33 LEB128 numbers (the sum, then the buckets), zeros at the end left out.
    connect_latency   BLOB NOT NULL,
    rtt               BLOB NOT NULL,
    PRIMARY KEY (subject_id, end_ms)
) STRICT, WITHOUT ROWID;
CREATE INDEX sample_end ON sample (end_ms);

CREATE TABLE sighting (
    -- The token's bits as a signed number.
    token        INTEGER NOT NULL,
    flow_id      INTEGER NOT NULL,
    -- 0 wrote, 1 read.
    part         INTEGER NOT NULL,
    -- The port the flow does not hold: a client's local, a server's remote one.
    port         INTEGER NOT NULL,
    answer       INTEGER NOT NULL,
    kept         INTEGER NOT NULL,
    sample_level INTEGER NOT NULL,
    start_us     INTEGER NOT NULL,
    first_ms     INTEGER NOT NULL,
    last_ms      INTEGER NOT NULL,
    PRIMARY KEY (token, flow_id, part, port)
) STRICT, WITHOUT ROWID;
CREATE INDEX sighting_last ON sighting (last_ms);
CREATE INDEX sighting_flow ON sighting (flow_id, last_ms);

CREATE TABLE event (
    id             INTEGER PRIMARY KEY,
    flow_id        INTEGER NOT NULL,
    kind           INTEGER NOT NULL,
    end_ms         INTEGER NOT NULL,
    time_us        INTEGER NOT NULL,
    port           INTEGER NOT NULL,
    token          INTEGER NOT NULL,
    errno          INTEGER NOT NULL,
    duration_us    INTEGER NOT NULL,
    bytes_sent     INTEGER NOT NULL,
    bytes_received INTEGER NOT NULL,
    retransmits    INTEGER NOT NULL
) STRICT;
CREATE INDEX event_end ON event (end_ms);
CREATE INDEX event_flow ON event (flow_id);
