-- Version 8: rows that say what their interval added.

-- Samples stay cumulative. 0: the sample before it and what its interval added; 1: a total that the
-- agent told, on which nothing that arrives later for earlier intervals has an influence.
ALTER TABLE sample ADD COLUMN total INTEGER NOT NULL DEFAULT 1;
ALTER TABLE nat_sample ADD COLUMN total INTEGER NOT NULL DEFAULT 1;

-- 1: its earlier samples were evicted before it was told of again, and its first ones begin at zero
-- until its agent tells a total.
ALTER TABLE subject ADD COLUMN cut INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nat ADD COLUMN cut INTEGER NOT NULL DEFAULT 0;
