-- Version 14: what a row that arrives writes in other places than its own.

-- Nothing asks for these by their time: retention walks their keys, and a window the runs in it.
DROP INDEX process_last;
DROP INDEX nat_last;
-- One in the place of two: the newest ones of a flow that tell no end have NULL.
DROP INDEX sighting_open;
DROP INDEX sighting_flow;
CREATE INDEX sighting_flow ON sighting (flow_id, ended_ms, last_ms);
