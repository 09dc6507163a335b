-- Schema 2: when a batch was last written into a file for somebody to carry, Unix milliseconds; 0
-- for never.
ALTER TABLE batch ADD COLUMN exported_ms INTEGER NOT NULL DEFAULT 0;
