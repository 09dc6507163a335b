-- Version 6: whether a connection that was sighted goes on.

-- NULL where its agent does not say it; 2^63-1 while it is open; else the end of the interval in
-- which it ended. `first_ms` and `last_ms` are those of the interval that told of it first.
ALTER TABLE sighting ADD COLUMN ended_ms INTEGER;
-- What outlived the interval that told of it: of these a window asks which were open at its begin.
CREATE INDEX sighting_open ON sighting (flow_id, ended_ms) WHERE ended_ms > last_ms;
