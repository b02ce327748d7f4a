-- How often the lease of a session was renewed. Nodes watch this number of the
-- sessions that they do not have: no clock of one machine is compared with
-- that of another.
ALTER TABLE sessions ADD COLUMN renewals BIGINT NOT NULL DEFAULT 0;
