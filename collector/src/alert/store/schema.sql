-- Version 1: alerts, what became of them, and what is not to be told.

-- Up to when was judged; one row.
CREATE TABLE judged (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    through_ms INTEGER NOT NULL
) STRICT;

-- One rule and one subject.
CREATE TABLE alert (
    -- 'a-' and 16 hex digits.
    id         TEXT PRIMARY KEY,
    rule       TEXT NOT NULL,
    -- 0 firing, 1 pending, 2 resolved: the order of lists.
    phase      INTEGER NOT NULL CHECK (phase IN (0, 1, 2)),
    -- 0 critical, 1 warning.
    severity   INTEGER NOT NULL CHECK (severity IN (0, 1)),
    -- The time of its phase, Unix milliseconds, negated: the latest first.
    before_ms  INTEGER NOT NULL,
    -- True while the life of it goes on: it is read at the next start.
    is_alive   INTEGER NOT NULL CHECK (is_alive IN (0, 1)),
    -- The alert as JSON.
    body       TEXT NOT NULL,
    group_id   TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX alert_order ON alert (phase, severity, before_ms, id);

-- By what alerts are found.
CREATE TABLE label (
    alert TEXT NOT NULL REFERENCES alert (id) ON DELETE CASCADE,
    name  TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (alert, name, value)
) STRICT, WITHOUT ROWID;

-- What became of them.
CREATE TABLE transition (
    id       INTEGER PRIMARY KEY,
    alert    TEXT NOT NULL REFERENCES alert (id) ON DELETE CASCADE,
    at_ms    INTEGER NOT NULL,
    what     TEXT NOT NULL,
    value    REAL NOT NULL,
    severity TEXT NOT NULL,
    why      TEXT
) STRICT;
CREATE INDEX transition_alert ON transition (alert, id);
CREATE INDEX transition_at ON transition (at_ms);

-- Groups of those that fire, as JSON.
CREATE TABLE grouped (
    id   TEXT PRIMARY KEY,
    -- Place in the list.
    place INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Who knows of an alert, of the time that began then.
CREATE TABLE acknowledged (
    alert    TEXT PRIMARY KEY REFERENCES alert (id) ON DELETE CASCADE,
    began_ms INTEGER NOT NULL,
    who      TEXT NOT NULL,
    why      TEXT NOT NULL,
    at_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Alerts that are not told for a while.
CREATE TABLE silence (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    until_ms INTEGER NOT NULL,
    body     TEXT NOT NULL
) STRICT;

-- Times of every week in which alerts are not told.
CREATE TABLE maintenance (
    id   INTEGER PRIMARY KEY AUTOINCREMENT,
    body TEXT NOT NULL
) STRICT;

-- What was told of an alert, and when of a group.
CREATE TABLE told (
    alert    TEXT PRIMARY KEY,
    began_ms INTEGER NOT NULL,
    severity TEXT NOT NULL,
    group_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE group_told (
    group_id TEXT PRIMARY KEY,
    at_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What waits to be sent, by output.
CREATE TABLE notice (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    output TEXT NOT NULL,
    at_ms  INTEGER NOT NULL,
    body   TEXT NOT NULL
) STRICT;
CREATE INDEX notice_output ON notice (output, id);
