-- A node is a server process that uses this database. A start under its name
-- makes the next epoch, which fences what an earlier one writes.
CREATE TABLE nodes (
	name         TEXT PRIMARY KEY,
	place        TEXT NOT NULL,   -- which data folder, on which machine
	host         TEXT NOT NULL,
	epoch        BIGINT NOT NULL, -- counts the starts
	heartbeat_at BIGINT NOT NULL  -- by the database's clock; 0 when the node has stopped
);
