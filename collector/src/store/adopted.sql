-- Version 7: connections that are older than the run of the agent that counts them.

-- Part of what was open: an earlier run may have counted it as opened.
ALTER TABLE sample ADD COLUMN adopted INTEGER NOT NULL DEFAULT 0;
