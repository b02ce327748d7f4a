-- A node of a cluster has a URL at which the others reach it. They watch its
-- number of heartbeats: no clock of one machine is compared with that of another.
ALTER TABLE nodes ADD COLUMN url TEXT NOT NULL DEFAULT ''; -- empty: the node is in no cluster
ALTER TABLE nodes ADD COLUMN version TEXT NOT NULL DEFAULT '';
ALTER TABLE nodes ADD COLUMN protocol BIGINT NOT NULL DEFAULT 0; -- between nodes
ALTER TABLE nodes ADD COLUMN capacity BIGINT NOT NULL DEFAULT 0; -- streams
ALTER TABLE nodes ADD COLUMN streams BIGINT NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN viewers BIGINT NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN draining BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE nodes ADD COLUMN heartbeats BIGINT NOT NULL DEFAULT 0;

-- What all nodes must know and nobody else. After a rotation the previous value
-- is accepted for some time.
CREATE TABLE secrets (
	name       TEXT PRIMARY KEY,
	value      TEXT NOT NULL,
	previous   TEXT NOT NULL,  -- empty before the first rotation
	rotated_at BIGINT NOT NULL -- by the database's clock; 0 before the first rotation
);

-- The lowest schema version that a program must know to work with this database.
-- A migration that only adds leaves it as it is, so that the version before can
-- still be started: nodes are upgraded one after the other.
INSERT INTO settings (name, value) VALUES ('schema_minimum', '14');
