-- Revocations in the order in which they were made: a node reads those after
-- the last that it knows. The row of revocation_seq is locked by each until it
-- is committed, so that none is seen before an earlier one.
ALTER TABLE revocations ADD COLUMN seq BIGINT NOT NULL DEFAULT 0;
CREATE INDEX revocations_by_seq ON revocations (seq);
CREATE TABLE revocation_seq (
	last BIGINT NOT NULL, -- the highest given so far
	kept BIGINT NOT NULL  -- how many revocations there are, or more: those of deleted channels are taken off later
);
INSERT INTO revocation_seq (last, kept) SELECT 0, COUNT(*) FROM revocations;

-- Single-use playback tokens that have started playback. A row is deleted when
-- no token with its id can be valid.
CREATE TABLE used_tokens (
	id      TEXT PRIMARY KEY, -- digest of the channel and the token's aws:single-use-uuid
	expires BIGINT NOT NULL
);
CREATE INDEX used_tokens_by_expiry ON used_tokens (expires);
